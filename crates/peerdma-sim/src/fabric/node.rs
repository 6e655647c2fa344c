//! One function, decoded: what routing asks of it, kept in step with its configuration space.

use super::bus::BusPlace;
use super::config_space::Space;
use super::decode::Opening;
use super::layout::HeaderKind;
use super::{BusId, FunctionId, LinkId};
use peerdma::addr::Bdf;
use peerdma::pci::{AcsFlags, PortType};

/// One function.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) bdf: Bdf,
    /// The bus that it sits on.
    pub(super) bus: BusId,
    /// Where that bus is, as it says itself: asked at each hop, which would have to look there.
    pub(super) above: BusPlace,
    /// What it is to the bus below; nothing where it is no bridge.
    pub(super) below: Option<(Facing, BusId)>,
    pub(super) memory_enabled: bool,
    pub(super) bus_master: bool,
    /// It was taken out.
    pub(super) is_gone: bool,
    pub(super) secondary: u8,
    pub(super) subordinate: u8,
    pub(super) memory: Opening,
    pub(super) prefetchable: Opening,
    /// MPS and MRRS; nothing in a conventional function, which checks no sizes.
    pub(super) payload: Option<PayloadSizes>,
    pub(super) acs: Option<Controls>,
    /// Port Number, where there is a link.
    pub(super) port_number: Option<u8>,
    pub(super) ats_enabled: bool,
    /// Its memory BARs: where they are now; closed where there is none, or none was assigned.
    pub(super) bars: [Opening; 6],
    pub(super) physical_function: Option<FunctionId>,
}

/// What a bridge is to the bus below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Facing {
    /// A port with a link below: it checks what comes from there.
    Port(LinkId),
    /// The upstream port of a switch.
    Switch,
    /// A bridge to a conventional bus.
    Conventional,
}

/// What Device Control says of sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PayloadSizes {
    pub(super) max_payload_bytes: u16,
    pub(super) max_read_request_bytes: u16,
    pub(super) relaxed_ordering: bool,
}

/// The ACS registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Controls {
    pub(super) capable: AcsFlags,
    pub(super) control: AcsFlags,
    /// How many bits the egress control vector has; 0 where there is none.
    vector_bits: u16,
    vector: [u32; 8],
}

impl Controls {
    /// Is the direct way to `number` forbidden? So it is where no bit says anything.
    pub(super) fn forbids(&self, number: Option<u8>) -> bool {
        match number {
            Some(number) if u16::from(number) < self.vector_bits => {
                self.vector[usize::from(number >> 5)] >> (number & 31) & 1 != 0
            }
            _ => true,
        }
    }

    /// Is this bit switched on?
    pub(super) fn has(&self, flag: AcsFlags) -> bool {
        self.control.contains(flag)
    }

    /// Is it, or does the function, which cannot do it, always behave so (functions of a device of several)?
    pub(super) fn has_or_is_wired(&self, flag: AcsFlags) -> bool {
        self.control.contains(flag) || !self.capable.contains(flag)
    }
}

impl Node {
    /// Nothing decoded yet.
    pub(super) fn new(
        bdf: Bdf,
        (bus, above): (BusId, BusPlace),
        physical_function: Option<FunctionId>,
    ) -> Self {
        Self {
            bdf,
            bus,
            above,
            below: None,
            memory_enabled: false,
            bus_master: false,
            is_gone: false,
            secondary: 0,
            subordinate: 0,
            memory: Opening::CLOSED,
            prefetchable: Opening::CLOSED,
            payload: None,
            acs: None,
            port_number: None,
            ats_enabled: false,
            bars: [Opening::CLOSED; 6],
            physical_function,
        }
    }

    /// Reads anew what `space` says.
    pub(super) fn decode(&mut self, space: &Space) {
        let layout = space.layout;
        let command = space.get(0x04);
        self.memory_enabled = command & 0x2 != 0;
        self.bus_master = command & 0x4 != 0;
        if self.physical_function.is_none() {
            self.decode_bars(space);
        }
        if layout.header != HeaderKind::Function {
            self.secondary = (space.get(0x18) >> 8) as u8;
            self.subordinate = (space.get(0x18) >> 16) as u8;
        }
        if layout.header == HeaderKind::Bridge {
            self.memory = window(space.get(0x20), 0, 0);
            let prefetchable = space.get(0x24);
            let wide = |register: u32, upper: u16| match register & 0xf {
                1 => space.get(upper),
                _ => 0,
            };
            let upper = (wide(prefetchable, 0x28), wide(prefetchable >> 16, 0x2c));
            self.prefetchable = window(prefetchable, upper.0, upper.1);
        }
        if layout.express != 0 {
            let control = space.get(layout.express + 8);
            // Reserved codes cannot be written.
            let size_bytes = |code: u32| 128 << (code & 0x7).min(5);
            self.payload = Some(PayloadSizes {
                max_payload_bytes: size_bytes(control >> 5),
                max_read_request_bytes: size_bytes(control >> 12),
                relaxed_ordering: control & 0x10 != 0,
            });
            let link = space.get(layout.express + 0xc);
            let port_type = PortType((space.get(layout.express) >> 20 & 0xf) as u8);
            let has_link = link >> 4 & 0x3f != 0
                && !matches!(
                    port_type,
                    PortType::INTEGRATED_ENDPOINT | PortType::EVENT_COLLECTOR
                );
            self.port_number = has_link.then_some((link >> 24) as u8);
        }
        if layout.acs != 0 {
            let register = space.get(layout.acs + 4);
            let capable = AcsFlags::from_register(register as u16);
            let bits = register as u16 >> 8;
            let has_vector = capable.contains(AcsFlags::EGRESS_CONTROL);
            let mut vector = [0; 8];
            let vector_bits = match (has_vector, bits) {
                (false, _) => 0,
                (true, 0) => 256,
                (true, bits) => bits,
            };
            for (at, word) in (layout.acs + 8..).step_by(4).zip(&mut vector) {
                *word = space.get(at);
            }
            self.acs = Some(Controls {
                capable,
                control: AcsFlags::from_register((register >> 16) as u16),
                vector_bits,
                vector,
            });
        }
        self.ats_enabled = layout.ats != 0 && space.get(layout.ats + 4) >> 31 != 0;
    }

    fn decode_bars(&mut self, space: &Space) {
        self.bars = [Opening::CLOSED; 6];
        for index in 0..6u8 {
            if let Some((address, size_bytes)) = space.memory_bar(index)
                // 0 means that no address was assigned.
                && address != 0
                && let Some(last) = address.checked_add(size_bytes - 1)
            {
                self.bars[usize::from(index)] = Opening::new(address, last);
            }
        }
    }

    /// Does `address` lie in a window of it, and for how many bytes is that so?
    pub(super) fn look_in_windows(&self, address: u64) -> (bool, u64) {
        let (memory, memory_bytes) = self.memory.look(address);
        let (prefetchable, prefetchable_bytes) = self.prefetchable.look(address);
        match (memory, prefetchable) {
            (true, false) => (true, memory_bytes),
            (false, true) => (true, prefetchable_bytes),
            (inside, _) => (inside, memory_bytes.min(prefetchable_bytes)),
        }
    }

    /// Does bus `number` lie below it?
    pub(super) fn leads_to(&self, number: u8) -> bool {
        self.secondary <= number && number <= self.subordinate
    }

    /// MPS; nothing where sizes are not checked.
    pub(super) fn max_payload_bytes(&self) -> Option<u32> {
        self.payload.map(|payload| payload.max_payload_bytes.into())
    }
}

/// A memory window: the registers of base and limit have bits 20 to 31 of the addresses in their upper 12 bits.
fn window(registers: u32, base_upper: u32, limit_upper: u32) -> Opening {
    let first = u64::from(base_upper) << 32 | u64::from(registers & 0xfff0) << 16;
    let last = u64::from(limit_upper) << 32 | u64::from(registers & 0xfff0_0000) | 0xf_ffff;
    Opening::new(first, last)
}
