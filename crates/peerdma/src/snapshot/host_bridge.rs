//! A host bridge: what lies between a root bus and the machine's memory map.

use crate::addr::{Address, BusAddr, PhysAddr, Span};
use crate::fact::Fact;
use alloc::vec::Vec;
use core::fmt;

/// What is known of one host bridge apart from the functions below it. No register tells it: firmware tables, a
/// machine file or a person do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HostBridge {
    /// PCI domain.
    pub domain: u32,
    /// The root bus.
    pub bus: u8,
    /// The ranges of its bus that the CPU sees, and where.
    #[cfg_attr(feature = "serde", serde(default))]
    pub windows: Fact<Vec<HostWindow>>,
    /// Added to an address that comes up from a device and that no IOMMU translates: what results is physical
    /// (device-tree `dma-ranges`; 0 on x86).
    #[cfg_attr(feature = "serde", serde(default))]
    pub inbound_offset: Fact<i64>,
    /// What it does with requests from one device to another.
    #[cfg_attr(feature = "serde", serde(default))]
    pub forwarding: Fact<Forwarding>,
}

/// A range of bus addresses that the CPU sees at physical addresses of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HostWindow {
    /// The range on the bus.
    pub bus: Span<BusAddr>,
    /// Where the CPU sees its first byte.
    pub phys: PhysAddr,
}

impl HostWindow {
    /// The bus address of what the CPU sees at `phys`, if it lies in this window.
    pub fn bus_address(self, phys: PhysAddr) -> Option<BusAddr> {
        let within = phys.to_u64().checked_sub(self.phys.to_u64())?;
        let address = self.bus.first().checked_add(within)?;
        self.bus.contains(address).then_some(address)
    }

    /// Where the CPU sees what has this bus address, if it lies in this window.
    pub fn phys_address(self, address: BusAddr) -> Option<PhysAddr> {
        let within = address.to_u64().checked_sub(self.bus.first().to_u64())?;
        self.bus.contains(address).then_some(())?;
        self.phys.checked_add(within)
    }
}

/// What a root complex does with memory requests that come up from one device and lead down to another. The
/// specification leaves it to the implementation (PCIe Base 1.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Forwarding {
    /// It forwards none.
    Nothing,
    /// It forwards writes, and refuses reads.
    StoresOnly,
    /// It forwards all between devices below this same host bridge, and none to or from another.
    SameBridge,
    /// It forwards all.
    Everything,
}

impl Forwarding {
    /// Its name in machine files and in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::StoresOnly => "stores-only",
            Self::SameBridge => "same-bridge",
            Self::Everything => "everything",
        }
    }
}

impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_leads_there_and_back_up_to_its_last_byte() {
        let bus = Span::new(BusAddr::from_u64(0x1000), BusAddr::from_u64(0x1fff)).unwrap();
        let window = HostWindow {
            bus,
            phys: PhysAddr::from_u64(u64::MAX - 0xfff),
        };
        let top = PhysAddr::from_u64(u64::MAX);
        assert_eq!(window.bus_address(top), Some(bus.last()));
        assert_eq!(window.phys_address(bus.last()), Some(top));
        assert_eq!(window.phys_address(BusAddr::from_u64(0x2000)), None);
        assert_eq!(window.bus_address(PhysAddr::from_u64(0)), None);
    }
}
