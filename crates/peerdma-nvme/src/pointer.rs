//! The data pointer of a command: from the segments of a DMA list to PRP entries or SGL descriptors. Pure: it writes bytes to a
//! slice that stands for the command's own list memory.
//!
//! Of the two forms the one with the shorter list is taken, page entries where they are equal: the device has to fetch it
//! before it can move anything.

use crate::{prp, sgl};
use peerdma::dma::DmaSegment;

/// What stands in a command's data pointer (NVM Express Base 2.0, 3.3.3.1, DPTR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pointer {
    /// Two PRP entries.
    Prp {
        /// Where the data begins.
        first: u64,
        /// The second page, or the list of all further pages; 0 where there is none.
        second: u64,
    },
    /// An SGL descriptor.
    Sgl {
        /// Of the data, or of the segment with the descriptors.
        address: u64,
        /// Bytes of it.
        len_bytes: u32,
        /// The descriptor's last byte.
        identifier: u8,
    },
}

impl Pointer {
    /// PSDT, and the two qwords.
    pub(crate) fn to_raw(self) -> (u32, u64, u64) {
        match self {
            Self::Prp { first, second } => (0, first, second),
            Self::Sgl {
                address,
                len_bytes,
                identifier,
            } => (1, address, u64::from(len_bytes) | u64::from(identifier) << 56),
        }
    }
}

/// Memory for one command's list: contiguous for the device.
#[derive(Debug)]
pub struct ListArea<'a> {
    /// What is to be put there.
    pub bytes: &'a mut [u8],
    /// Where the device finds it: a multiple of 16.
    pub address: u64,
}

/// Which forms may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forms {
    /// PRP entries: every device takes them.
    Prp,
    /// SGL descriptors.
    Sgl,
    /// The one with the shorter list.
    Shorter,
}

/// A data pointer, and how much of the list memory it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Built {
    /// The pointer.
    pub pointer: Pointer,
    /// How many bytes of the list memory were filled, from its beginning on.
    pub list_bytes: usize,
}

/// Why there is no data pointer for these segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PointerError {
    /// There are no segments.
    Empty,
    /// The first segment does not begin at a multiple of four.
    Unaligned,
    /// One segment ends, or the next begins, inside a page, and the device takes pages only.
    Gap {
        /// The segment that begins there.
        segment: usize,
    },
    /// A segment ends past the last address.
    Wraps {
        /// Which.
        segment: usize,
    },
    /// The list memory of a command does not hold the list.
    ListFull,
    /// No controller has pages of so many bytes.
    PageBytes(u64),
}

impl PointerError {
    /// In words.
    pub const fn why(self) -> &'static str {
        match self {
            Self::Empty => "there is no data",
            Self::Unaligned => "the data does not begin at a multiple of four bytes",
            Self::Gap { .. } => {
                "one piece ends, or the next begins, inside a page, and its lists hold whole pages"
            }
            Self::Wraps { .. } => "a piece ends past the last address",
            Self::PageBytes(_) => "no controller has pages of that size",
            Self::ListFull => "they do not fit a command's list",
        }
    }
}

impl core::fmt::Display for PointerError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.why())
    }
}

impl core::error::Error for PointerError {}

/// The data pointer for these segments. `page_bytes` is the controller's page (CC.MPS), a power of two of at least 4096.
///
/// # Errors
/// [`PointerError`]
pub fn build(
    segments: &[DmaSegment],
    page_bytes: u64,
    forms: Forms,
    area: ListArea<'_>,
) -> Result<Built, PointerError> {
    if segments.is_empty() {
        return Err(PointerError::Empty);
    }
    if !page_bytes.is_power_of_two() || page_bytes < 4096 {
        return Err(PointerError::PageBytes(page_bytes));
    }
    match forms {
        Forms::Prp => prp::build(segments, page_bytes, area),
        Forms::Sgl => sgl::build(segments, area),
        Forms::Shorter => match prp::entries(segments, page_bytes) {
            Ok(entries) if prp::list_bytes(entries) <= sgl::list_bytes(segments.len()) => {
                prp::build(segments, page_bytes, area)
            }
            _ => sgl::build(segments, area),
        },
    }
}
