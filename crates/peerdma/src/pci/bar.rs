//! Base address registers (PCI Local Bus 6.2.5, PCIe Base 7.5.1.2.1).

use crate::addr::BusAddr;

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
