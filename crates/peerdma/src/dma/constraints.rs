//! What a device can be programmed with.

/// The limits of a device's DMA lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Constraints {
    /// The most bytes of one segment, at least 1.
    pub max_segment_bytes: u32,
    /// The most segments of one list.
    pub max_segments: u32,
    /// A segment does not cross a multiple of this mask plus 1 (a power of two less one; `u64::MAX` for no boundary).
    pub boundary_mask: u64,
    /// Where one segment ends and the next begins, both addresses have these bits clear (a power of two less one; 0 where any
    /// address will do). For NVMe's page lists: the page size less one.
    pub gap_mask: u64,
    /// Every segment begins at a multiple of this, and its length is one (a power of two).
    pub align_bytes: u32,
    /// The highest address that the device can issue.
    pub address_mask: u64,
}

impl Constraints {
    /// No limits but those of the numbers themselves.
    pub const NONE: Self = Self {
        max_segment_bytes: u32::MAX,
        max_segments: u32::MAX,
        boundary_mask: u64::MAX,
        gap_mask: 0,
        align_bytes: 1,
        address_mask: u64::MAX,
    };
}
