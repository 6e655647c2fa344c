//! Single Root I/O Virtualization (PCIe Base 9.3.3).

/// The SR-IOV extended capability of a physical function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sriov {
    /// Are the virtual functions switched on?
    pub enabled: bool,
    /// How many virtual functions there can be.
    pub total: u16,
    /// How many there are.
    pub count: u16,
    /// Routing ID of the first one, relative to the physical function's.
    pub first_offset: u16,
    /// Distance of routing IDs from one to the next.
    pub stride: u16,
    /// Device number that they answer with.
    pub device: u16,
}
