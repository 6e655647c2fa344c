//! What was looked up, and what was mapped.

use super::Refused;
use super::{Direction, DmaList};
use crate::addr::{Bdf, PhysAddr};
use crate::iommu::IommuError;
use crate::memory::RegionId;
use crate::route::Access;
use core::fmt;

/// A vector with the region of each of its pieces, for one [`Mapper`](super::Mapper).
#[derive(Debug)]
pub struct Located {
    // filled by the dma engineer
}

/// Memory that is mapped for one initiator. Only [`Mapper::unmap`](super::Mapper::unmap) ends it: where it is dropped the
/// memory stays mapped, and its regions in use, for ever, since nobody has said that the device is done with it.
#[derive(Debug)]
#[must_use = "what is dropped stays mapped; give it back to Mapper::unmap"]
pub struct Mapping {
    pub(super) list: DmaList,
    pub(super) direction: Direction,
    pub(super) initiator: Bdf,
}

impl Mapping {
    /// What the device is programmed with.
    pub fn list(&self) -> &DmaList {
        &self.list
    }

    /// What the device may do to it.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// For whom it was mapped.
    pub fn initiator(&self) -> Bdf {
        self.initiator
    }

    /// Was a refusal overridden for any piece of it?
    pub fn is_forced(&self) -> bool {
        false
    }

    /// Does any piece of it lie in this region?
    pub fn uses(&self, _region: RegionId) -> bool {
        false
    }
}

/// Why a vector was not looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LookUpError {
    /// A byte of this piece lies in no region: a hole in the memory map is not RAM.
    Hole {
        /// The piece's place in the vector.
        index: usize,
        /// The first such byte.
        at: PhysAddr,
    },
    /// The piece was said to be RAM, and is memory of a BAR.
    UnflaggedPeer {
        /// The piece's place in the vector.
        index: usize,
        /// Whose memory it is.
        provider: Bdf,
    },
    /// The piece begins in one region and ends in another of a different kind or provider.
    CrossesRegions {
        /// The piece's place in the vector.
        index: usize,
        /// The first byte of the other region.
        at: PhysAddr,
    },
    /// The vector is empty.
    Empty,
}

/// Why a vector was not mapped; nothing of it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// The initiator does not reach the memory.
    Unreachable {
        /// The initiator.
        initiator: Bdf,
        /// Whose memory it is.
        provider: Bdf,
        /// What was to be done.
        access: Access,
        /// Why not.
        refused: Refused,
    },
    /// The region is being taken away, or was.
    Revoked(RegionId),
    /// The initiator cannot issue an address that is needed.
    BeyondMask {
        /// The address.
        addr: u64,
        /// The highest that it can issue.
        mask: u64,
    },
    /// The device cannot be told this: its constraints do not allow the vector's shape.
    Shape {
        /// Which constraint, in a few words.
        what: &'static str,
        /// The piece's place in the vector.
        index: usize,
    },
    /// More segments than the device takes in one list.
    TooManySegments {
        /// The most that it takes.
        most: u32,
    },
    /// No I/O addresses are left.
    NoIova {
        /// For how many bytes.
        len_bytes: u64,
    },
    /// An address would mean two things: it equals one in a window, the interrupt window or a reserved range (invariant 6).
    AddressMeansTwoThings {
        /// The address.
        addr: u64,
    },
    /// The IOMMU refused.
    Iommu(IommuError),
    /// What was looked up came from another handle, or from a memory map that is out of date: look up again.
    Stale,
}

impl fmt::Display for LookUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hole { index, at } => write!(
                f,
                "piece {index}: no memory is registered at {at}; a hole in the memory map is not RAM"
            ),
            Self::UnflaggedPeer { index, provider } => write!(
                f,
                "piece {index} was said to be RAM, and is memory of {provider}; make it with Origin::LookUp"
            ),
            Self::CrossesRegions { index, at } => {
                write!(f, "piece {index} goes on into other memory at {at}; cut it there")
            }
            Self::Empty => f.write_str("there is nothing to look up: the vector is empty"),
        }
    }
}

impl core::error::Error for LookUpError {}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable {
                initiator,
                provider,
                access,
                refused,
            } => {
                let what = match access {
                    Access::Read => "read",
                    Access::Write => "write",
                };
                write!(f, "{initiator} cannot {what} the memory of {provider}: {refused}")
            }
            Self::Revoked(region) => write!(f, "region {} was taken away", region.index()),
            Self::BeyondMask { addr, mask } => {
                write!(
                    f,
                    "the address {addr:#x} is beyond what the device can issue ({mask:#x})"
                )
            }
            Self::Shape { what, index } => write!(f, "piece {index}: {what}"),
            Self::TooManySegments { most } => {
                write!(
                    f,
                    "more than the {most} segments that the device takes; split the request"
                )
            }
            Self::NoIova { len_bytes } => write!(f, "no I/O addresses are left for {len_bytes:#x} bytes"),
            Self::AddressMeansTwoThings { addr } => write!(
                f,
                "the address {addr:#x} also lies in a window, the interrupt window or a reserved range"
            ),
            Self::Iommu(source) => source.fmt(f),
            Self::Stale => f.write_str("it was looked up in a memory map that has changed; look up again"),
        }
    }
}

impl core::error::Error for MapError {}
