//! The device and function numbers of one bus.

use crate::file::{At, MachineError, Slot, Wrong};
use peerdma::addr::Bdf;

/// Where functions can go on a bus.
pub(super) struct Slots {
    used: [u8; 32],
    kind: BusKind,
    domain: u32,
    bus: u8,
}

/// What a bus offers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum BusKind {
    /// Device 0 only: a link.
    Link,
    /// 32 devices.
    Wide,
}

impl Slots {
    pub(super) fn new(kind: BusKind, domain: u32, bus: u8) -> Self {
        Self {
            used: [0; 32],
            kind,
            domain,
            bus,
        }
    }

    pub(super) fn at(&self, slot: Slot) -> Bdf {
        Bdf::from_devfn(self.domain, self.bus, (slot.device & 31) << 3 | slot.function & 7)
    }

    /// The next device, on a link the next function.
    pub(super) fn next(&mut self, at: At) -> Result<Bdf, MachineError> {
        let free = match self.kind {
            BusKind::Link => (0..8)
                .find(|function| self.used[0] >> function & 1 == 0)
                .map(|function| Slot { device: 0, function }),
            BusKind::Wide => (0..32)
                .find(|&device| self.used[usize::from(device)] == 0)
                .map(|device| Slot { device, function: 0 }),
        };
        let slot = free.ok_or_else(|| {
            let (what, instead) = match self.kind {
                BusKind::Link => (
                    "a device has at most 8 functions",
                    "put the others below another port, or behind a switch",
                ),
                BusKind::Wide => (
                    "a bus has at most 32 devices",
                    "put the others behind a switch or on another host bridge, or make them functions of one device \
                     (`slot`)",
                ),
            };
            let what = what.into();
            Wrong::NoSlot { what, instead }.at(at)
        })?;
        self.reserve(slot, at)?;
        Ok(self.at(slot))
    }

    pub(super) fn reserve(&mut self, slot: Slot, at: At) -> Result<(), MachineError> {
        let Slot { device, function } = slot;
        let wrong = |what: String, instead| Wrong::NoSlot { what, instead }.at(at);
        let is_link = self.kind == BusKind::Link;
        let Some(used) = self.used.get_mut(usize::from(device)).filter(|_| function < 8) else {
            return Err(wrong(
                format!("there is no slot {device}.{function}"),
                "device up to 31, function up to 7",
            ));
        };
        if is_link && device != 0 {
            let what =
                format!("slot {device}.{function} does not exist below a port: a link leads to device 0");
            return Err(wrong(what, "write `slot = \"0.N\"`, or leave it out"));
        }
        if *used >> function & 1 != 0 {
            return Err(wrong(
                format!("slot {device}.{function} is taken"),
                "leave out `slot`, or choose another",
            ));
        }
        *used |= 1 << function;
        Ok(())
    }

    /// Software looks for further functions only where it finds function 0.
    pub(super) fn check(&self, at: At) -> Result<(), MachineError> {
        let Some(device) = self.used.iter().position(|used| *used != 0 && used & 1 == 0) else {
            return Ok(());
        };
        let what = format!("device {device} has functions but no function 0, so nobody would find it");
        let instead = "give one of its functions `slot = \"DEVICE.0\"`";
        Err(Wrong::NoSlot { what, instead }.at(at))
    }
}
