//! Why something was not looked up, mapped or unmapped.

use super::{Mapping, Refused};
use crate::addr::{Bdf, PhysAddr};
use crate::iommu::IommuError;
use crate::memory::RegionId;
use crate::route::Access;
use core::fmt;

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
    /// The initiator does not reach host RAM.
    RamUnreachable {
        /// The initiator.
        initiator: Bdf,
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
    /// The initiator has no address for these bytes: its bridge's inbound offset would lead out of the address space.
    NoAddress(PhysAddr),
    /// It would be read by one address and written by another: map it for each alone.
    TwoAddresses(RegionId),
    /// There is no such region.
    NoSuchRegion(RegionId),
    /// What was looked up came from another handle, or from a memory map that is out of date: look up again.
    Stale,
}

/// Why a part of a BAR was not mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapBarError {
    /// No region holds this part.
    NoSuchMemory {
        /// Whose BAR.
        provider: Bdf,
        /// Which.
        bar: u8,
        /// Where in it.
        offset_bytes: u64,
    },
    /// It ends where no region is, or in other memory.
    LookUp(LookUpError),
    /// It cannot be mapped.
    Map(MapError),
}

/// A region is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InUse {
    /// Which.
    pub region: RegionId,
    /// How many mappings use it; 0 where only the IOMMU stands in the way.
    pub uses: usize,
    /// What the IOMMU said when its translations were to be unmapped.
    pub iommu: Option<IommuError>,
}

/// Why an address space was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoasError {
    /// The initiator uses the space already.
    Duplicate(Bdf),
    /// The initiator does not use the space.
    UnknownInitiator(Bdf),
    /// What the function is said to call its own is empty or wraps, or names a byte, or is by an address, twice.
    BadOwnBase(Bdf),
    /// An address would mean two things (invariant 6): it is mapped already.
    AddressMeansTwoThings {
        /// The address.
        addr: u64,
    },
    /// A region is in use.
    InUse(InUse),
    /// A registered region cannot be translated for the initiator.
    Map(MapError),
    /// No names for mappers are left.
    Full,
}

/// What was not unmapped, and why. The mapping is as it was, or, where the IOMMU refused, less what it no longer refused: nothing may use it, and
/// [`Mapper::unmap`](super::Mapper::unmap) can be called again.
#[derive(Debug)]
pub struct UnmapError {
    /// Still mapped, its regions still in use.
    pub mapping: Mapping,
    /// Why.
    pub why: NotUnmapped,
}

/// Why something is still mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotUnmapped {
    /// Another handle mapped it.
    Foreign,
    /// The IOMMU refused.
    Iommu(IommuError),
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
                let what = verb(*access);
                write!(f, "{initiator} cannot {what} the memory of {provider}: {refused}")
            }
            Self::RamUnreachable {
                initiator,
                access,
                refused,
            } => write!(f, "{initiator} cannot {} host RAM: {refused}", verb(*access)),
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
            Self::NoAddress(phys) => write!(f, "the device has no address that leads to {phys}"),
            Self::TwoAddresses(region) => write!(
                f,
                "region {} would be read by one address and written by another; map it for each alone",
                region.index()
            ),
            Self::NoSuchRegion(region) => write!(f, "there is no region {}", region.index()),
            Self::Stale => f.write_str("it was looked up in a memory map that has changed; look up again"),
        }
    }
}

impl core::error::Error for MapError {}

const fn verb(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
    }
}

impl fmt::Display for MapBarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchMemory {
                provider,
                bar,
                offset_bytes,
            } => write!(
                f,
                "no memory is registered at {offset_bytes:#x} in BAR {bar} of {provider}"
            ),
            Self::LookUp(source) => source.fmt(f),
            Self::Map(source) => source.fmt(f),
        }
    }
}

impl core::error::Error for MapBarError {}

impl fmt::Display for UnmapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            NotUnmapped::Foreign => f.write_str("another handle mapped it; unmap it there"),
            NotUnmapped::Iommu(source) => write!(f, "it is still mapped: {source}; unmap it again"),
        }
    }
}

impl core::error::Error for UnmapError {}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let region = self.region.index();
        match (self.uses, self.iommu) {
            (0, Some(error)) => write!(f, "region {region} is still translated: {error}"),
            (uses, _) => write!(f, "region {region} is in use by {uses}; unmap what uses it"),
        }
    }
}

impl core::error::Error for InUse {}

impl fmt::Display for IoasError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(bdf) => write!(f, "{bdf} uses the address space already"),
            Self::UnknownInitiator(bdf) => write!(f, "{bdf} does not use the address space; add it first"),
            Self::BadOwnBase(bdf) => write!(
                f,
                "what {bdf} is said to call its own memory is empty, passes the end of an address space, or says two things of one byte or address"
            ),
            Self::AddressMeansTwoThings { addr } => {
                write!(
                    f,
                    "the address {addr:#x} is mapped for something else; unmap that first"
                )
            }
            Self::InUse(source) => source.fmt(f),
            Self::Map(source) => source.fmt(f),
            Self::Full => f.write_str("no names for mappers are left"),
        }
    }
}

impl core::error::Error for IoasError {}
