//! The bus numbers and windows of a bridge (PCI-to-PCI Bridge 3.2.5, PCIe Base 7.5.1.3).

use crate::addr::{BusAddr, Span};
use crate::fact::Fact;

/// What a type 1 header (or a CardBus bridge's) says about the buses below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Bridge {
    /// The bus above.
    pub primary: u8,
    /// The bus directly below; 0 in a bridge that nobody has configured.
    pub secondary: u8,
    /// The highest bus number below.
    pub subordinate: u8,
    /// What it forwards downstream.
    pub windows: Fact<Windows>,
}

/// The address ranges that a bridge forwards downstream; nothing where a window is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Windows {
    /// I/O ports.
    pub io: Option<Span<BusAddr>>,
    /// Memory, below 4 GiB.
    pub memory: Option<Span<BusAddr>>,
    /// Prefetchable memory.
    pub prefetchable: Option<Span<BusAddr>>,
}
