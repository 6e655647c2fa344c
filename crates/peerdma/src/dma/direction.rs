//! What a device does to memory.

use crate::iommu::Rights;
use crate::route::Access;

/// What the device does to the memory that is mapped for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// It reads it (Linux: `DMA_TO_DEVICE`).
    DeviceReads,
    /// It writes it (Linux: `DMA_FROM_DEVICE`).
    DeviceWrites,
    /// Both.
    Both,
}

impl Direction {
    /// Does it include this?
    pub const fn includes(self, access: Access) -> bool {
        matches!(
            (self, access),
            (Self::Both, _) | (Self::DeviceReads, Access::Read) | (Self::DeviceWrites, Access::Write)
        )
    }

    /// The rights that an IOMMU must give.
    pub const fn rights(self) -> Rights {
        match self {
            Self::DeviceReads => Rights::Read,
            Self::DeviceWrites => Rights::Write,
            Self::Both => Rights::ReadWrite,
        }
    }
}
