//! Base address registers (PCI Local Bus 6.2.5, PCIe Base 7.5.1.2.1).

use super::emit::Image;
use super::{ConfigView, EmitError, Header};
use crate::addr::{Address, BusAddr};
use crate::fact::Fact;
use alloc::vec::Vec;

/// What one base address register, or one pair of them, says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Bar {
    /// Number of the (first) register, 0 to 5.
    pub index: u8,
    /// Which space it decodes, and how wide it is.
    pub kind: BarKind,
    /// Is the memory free of side effects on reading?
    pub prefetchable: bool,
    /// The address as it travels on the bus. 0 means that none was assigned.
    pub address: BusAddr,
}

/// Which space a base address register decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum BarKind {
    /// I/O ports: never a target of peer-to-peer memory requests.
    Io,
    /// Memory with a 32-bit address.
    Memory32,
    /// Memory with a 64-bit address, in two registers.
    Memory64,
}

impl BarKind {
    /// Does it decode memory?
    pub const fn is_memory(self) -> bool {
        !matches!(self, BarKind::Io)
    }
}

impl Bar {
    /// The first register.
    const REGISTERS: u16 = 0x10;
    const IO: u32 = 0x1;
    const TYPE_MASK: u32 = 0x6;
    const TYPE_64: u32 = 0x4;
    const PREFETCHABLE: u32 = 0x8;

    /// The registers of a header.
    ///
    /// A register that reads 0 is left out: whether it is implemented shows only when it is written
    /// to. So is one that reads all ones, as in Linux (`__pci_read_base`, drivers/pci/probe.c). The
    /// 64-bit type in the last register, which has no upper half, counts as 32-bit.
    pub(super) fn parse(view: ConfigView<'_>, header: Header) -> Fact<Vec<Self>> {
        let count = header.bar_count();
        let mut bars = Vec::with_capacity(usize::from(count));
        let mut index = 0;
        while index < count {
            let offset = Self::REGISTERS + u16::from(index) * 4;
            let Some(low) = view.u32(offset) else {
                return view.cut();
            };
            let wide = low & (Self::IO | Self::TYPE_MASK) == Self::TYPE_64 && index + 1 < count;
            let high = match wide {
                false => 0,
                true => match view.u32(offset + 4) {
                    Some(high) => high,
                    None => return view.cut(),
                },
            };
            if low != 0 && low != u32::MAX {
                bars.push(Self::from_registers(index, low, wide.then_some(high)));
            }
            index += if wide { 2 } else { 1 };
        }
        Fact::Known(bars)
    }

    fn from_registers(index: u8, low: u32, high: Option<u32>) -> Self {
        let (kind, mask) = match (low & Self::IO, high) {
            (0, Some(_)) => (BarKind::Memory64, !0xf),
            (0, None) => (BarKind::Memory32, !0xf),
            _ => (BarKind::Io, !0x3),
        };
        let address = u64::from(high.unwrap_or(0)) << 32 | u64::from(low & mask);
        Self {
            index,
            kind,
            prefetchable: kind.is_memory() && low & Self::PREFETCHABLE != 0,
            address: BusAddr::from_u64(address),
        }
    }

    /// Writes the registers of `bars`, which must be in ascending order.
    pub(super) fn emit(bars: &[Self], header: Header, image: &mut Image) -> Result<(), EmitError> {
        let mut free = 0;
        for bar in bars {
            let next = bar.index.saturating_add(bar.register_count());
            if bar.index < free || next > header.bar_count() {
                return Err(EmitError::BarPlace { index: bar.index });
            }
            free = next;
            let (low, high) = bar.to_registers().ok_or(EmitError::Unwritable {
                fact: "a base address",
                value: bar.address.to_u64(),
            })?;
            let offset = Self::REGISTERS + u16::from(bar.index) * 4;
            image.put_u32(offset, low);
            if let Some(high) = high {
                image.put_u32(offset + 4, high);
            }
        }
        Ok(())
    }

    const fn register_count(self) -> u8 {
        match self.kind {
            BarKind::Io | BarKind::Memory32 => 1,
            BarKind::Memory64 => 2,
        }
    }

    /// The registers; nothing where they would read as something else: an address that is too large
    /// or not aligned, prefetchable ports, a register of zeros.
    fn to_registers(self) -> Option<(u32, Option<u32>)> {
        let address = self.address.to_u64();
        let (bits, mask) = match self.kind {
            BarKind::Io => (Self::IO, 0x3),
            BarKind::Memory32 => (0, 0xf),
            BarKind::Memory64 => (Self::TYPE_64, 0xf),
        };
        let prefetchable = match (self.prefetchable, self.kind.is_memory()) {
            (false, _) => 0,
            (true, true) => Self::PREFETCHABLE,
            (true, false) => return None,
        };
        let low = address as u32 | bits | prefetchable;
        let high = (address >> 32) as u32;
        let fits = self.kind == BarKind::Memory64 || high == 0;
        let is_writable = fits && low != 0 && address & mask == 0;
        is_writable.then_some((low, (self.kind == BarKind::Memory64).then_some(high)))
    }
}
