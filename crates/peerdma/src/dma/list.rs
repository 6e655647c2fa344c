//! What a device is programmed with.

use super::MemoryKind;
use alloc::vec::Vec;

/// Which addresses a segment's address is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// One that goes up to the root complex as an address of memory: through the IOMMU, or physical.
    Iova,
    /// One of the bus: the value in, or behind, a BAR's register.
    Bus,
    /// One of the device's own, for its own memory: it never travels.
    Own,
}

/// One piece of a list. Nothing that a CPU could dereference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaSegment {
    /// What the device is told.
    pub addr: u64,
    /// How many bytes, at least 1.
    pub len_bytes: u32,
    /// What `addr` is.
    pub space: Space,
    /// What kind of memory lies there.
    pub kind: MemoryKind,
}

/// The addresses for one device and one request, in the order of the vector that was mapped.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DmaList {
    pub(super) segments: Vec<DmaSegment>,
    pub(super) len_bytes: u64,
}

impl DmaList {
    /// Its segments.
    pub fn segments(&self) -> &[DmaSegment] {
        &self.segments
    }

    /// Bytes of all segments.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }
}
