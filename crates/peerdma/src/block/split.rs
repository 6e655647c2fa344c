//! Cuts a bio that is too much for one operation at legal places, or says why none is legal.
//!
//! Called by who submits to a [`Volume`](super::Volume) what it did not shape itself. A place is legal where a block ends and both parts
//! are something that the device can be told.

use super::shape::{Stop, Walk};
use super::{Bio, Data, Limits};
use crate::addr::{Address, Origin, PhysAddr, PhysVec};
use crate::memory::MemoryMap;
use alloc::vec::Vec;
use core::fmt;

/// Why a bio can neither be submitted whole nor split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SplitError {
    /// The volume cannot be used: its block has no bytes, or an operation carries less than one.
    NoBlock {
        /// Bytes of a block.
        block_bytes: u32,
        /// The most bytes of an operation.
        most: u32,
    },
    /// The data is not as long as the blocks.
    WrongLength {
        /// Bytes of the blocks.
        blocks_bytes: u64,
        /// Bytes of the data.
        data_bytes: u64,
    },
    /// It is too long, and its memory was mapped as a whole.
    MappedWhole {
        /// Bytes of the bio.
        bytes: u64,
        /// The most that it may have.
        most: u64,
    },
    /// One block is more than an operation carries.
    BlockTooLong {
        /// The most bytes of an operation.
        most: u64,
    },
    /// Memory of a BAR, on a volume that takes none.
    NoPeerMemory,
    /// The device's own memory and other memory meet within one block, and this device cannot mix them.
    Mixed {
        /// The place in the vector of the piece that begins there.
        index: usize,
    },
    /// One block needs more segments than a list may have.
    TooManySegments {
        /// The place in the vector of the piece that is too much.
        index: usize,
        /// The most segments.
        most: u32,
    },
    /// One block needs a segment that is longer than the device takes, and that may not be cut.
    Uncut {
        /// The place in the vector of the piece that is too much.
        index: usize,
        /// The most bytes of a segment.
        most_bytes: u32,
    },
    /// A piece does not begin and end at a multiple of what the device needs.
    Unaligned {
        /// The piece's place in the vector.
        index: usize,
        /// Of what.
        align_bytes: u32,
    },
    /// Two pieces meet within one block where the device allows no gap.
    Gap {
        /// The place in the vector of the second.
        index: usize,
        /// The bits that must be clear where one ends and the next begins.
        gap_mask: u64,
    },
    /// The blocks pass the last one that has a number.
    NoSuchBlock,
}

/// Cuts a bio into as few as the limits of a volume allow, in order. What fits comes back as it is. Data that was mapped earlier is not
/// cut. Where pieces lie is looked up in `map`; what it does not hold is left to the look-up that follows.
///
/// # Errors
/// [`SplitError`], and the bio as it was.
pub fn split(bio: Bio, limits: &Limits, map: &MemoryMap) -> Result<Vec<Bio>, (SplitError, Bio)> {
    match cuts(&bio, limits, map) {
        Err(why) => Err((why, bio)),
        Ok(cuts) if cuts.len() <= 1 => Ok(Vec::from([bio])),
        Ok(cuts) => match parts(&bio, limits.block_bytes, &cuts) {
            Some(parts) => Ok(parts),
            None => Err((SplitError::NoSuchBlock, bio)),
        },
    }
}

/// How long each part is, in bytes.
fn cuts(bio: &Bio, limits: &Limits, map: &MemoryMap) -> Result<Vec<u64>, SplitError> {
    let most = limits.max_transfer_bytes;
    let block_bytes = limits.block_bytes;
    if block_bytes == 0 || most < block_bytes {
        return Err(SplitError::NoBlock { block_bytes, most });
    }
    let blocks_bytes = u64::from(bio.blocks) * u64::from(block_bytes);
    let of_length = |data_bytes| match data_bytes == blocks_bytes {
        true => Ok(()),
        false => Err(SplitError::WrongLength {
            blocks_bytes,
            data_bytes,
        }),
    };
    let pieces = match &bio.data {
        Data::None => {
            of_length(0)?;
            return Ok(Vec::new());
        }
        Data::Mapped(mapping) => {
            of_length(mapping.list().len_bytes())?;
            let most = u64::from(most);
            return match blocks_bytes > most {
                true => Err(SplitError::MappedWhole {
                    bytes: blocks_bytes,
                    most,
                }),
                false => Ok(Vec::new()),
            };
        }
        Data::Vector(pieces) => pieces,
    };
    of_length(pieces.iter().map(|piece| u64::from(piece.len_bytes())).sum())?;
    let granule = common_multiple(block_bytes, limits.constraints.align_bytes.max(1));
    let mut cuts = Vec::new();
    let mut rest = Rest {
        pieces,
        index: 0,
        skip_bytes: 0,
    };
    while rest.index < pieces.len() {
        let mut walk = Walk::new(limits, map);
        let mut taken = 0;
        let stop: Result<(), Stop> = rest.iter().try_for_each(|(index, piece)| {
            walk.take(index, piece)?;
            taken += u64::from(piece.len_bytes());
            Ok(())
        });
        let len = match stop {
            Ok(()) => taken,
            Err(stop) => match stop.at_bytes / granule * granule {
                0 => return Err(stop.why),
                legal => legal,
            },
        };
        rest.skip(len);
        cuts.push(len);
    }
    Ok(cuts)
}

/// The parts of a bio, of these lengths.
fn parts(bio: &Bio, block_bytes: u32, cuts: &[u64]) -> Option<Vec<Bio>> {
    let Data::Vector(pieces) = &bio.data else {
        return None;
    };
    let mut rest = Rest {
        pieces,
        index: 0,
        skip_bytes: 0,
    };
    let mut lba = bio.lba;
    let mut parts = Vec::with_capacity(cuts.len());
    for &len in cuts {
        let mut left = len;
        let mut vector = Vec::new();
        for (_, piece) in rest.iter() {
            let take = left.min(piece.len_bytes().into());
            if take == 0 {
                break;
            }
            vector.push(part(piece, 0, u32::try_from(take).ok()?)?);
            left -= take;
        }
        rest.skip(len);
        let blocks = u32::try_from(len / u64::from(block_bytes)).ok()?;
        parts.push(Bio {
            operation: bio.operation,
            lba,
            blocks,
            data: Data::Vector(vector),
        });
        lba = lba.checked_add(blocks.into())?;
    }
    Some(parts)
}

/// What is left of a vector.
struct Rest<'a> {
    pieces: &'a [PhysVec],
    /// The first piece of which something is left.
    index: usize,
    /// How much of that is gone.
    skip_bytes: u32,
}

impl Rest<'_> {
    /// The pieces that are left, with their places in the whole vector.
    fn iter(&self) -> impl Iterator<Item = (usize, PhysVec)> + '_ {
        let first = self.index;
        let pieces = self.pieces.iter().enumerate().skip(first);
        pieces.filter_map(move |(index, piece)| match (index == first, self.skip_bytes) {
            (true, skip) if skip > 0 => Some((index, part(*piece, skip, piece.len_bytes() - skip)?)),
            _ => Some((index, *piece)),
        })
    }

    fn skip(&mut self, mut len_bytes: u64) {
        while let Some(piece) = self.pieces.get(self.index) {
            let left = piece.len_bytes() - self.skip_bytes;
            match u32::try_from(len_bytes) {
                Ok(len) if len < left => {
                    self.skip_bytes += len;
                    return;
                }
                _ => {
                    len_bytes -= u64::from(left);
                    self.index += 1;
                    self.skip_bytes = 0;
                }
            }
        }
    }
}

/// A part of a piece.
fn part(piece: PhysVec, skip_bytes: u32, len_bytes: u32) -> Option<PhysVec> {
    let addr: PhysAddr = piece.addr().checked_add(skip_bytes.into())?;
    let origin: Origin = piece.origin();
    PhysVec::new(addr, len_bytes, origin).ok()
}

/// The least common multiple of two numbers that are not 0.
pub(crate) fn common_multiple(a: u32, b: u32) -> u64 {
    let (mut high, mut low) = (a, b);
    while low != 0 {
        (high, low) = (low, high % low);
    }
    u64::from(a) / u64::from(high.max(1)) * u64::from(b)
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBlock { block_bytes, most } => write!(
                f,
                "an operation of at most {most} bytes cannot carry a block of {block_bytes}"
            ),
            Self::WrongLength {
                blocks_bytes,
                data_bytes,
            } => write!(f, "{data_bytes} bytes of data for {blocks_bytes} bytes of blocks"),
            Self::MappedWhole { bytes, most } => write!(
                f,
                "{bytes} bytes were mapped as one, and an operation carries {most}; map less at a time"
            ),
            Self::BlockTooLong { most } => {
                write!(f, "one block is more than the {most} bytes of an operation")
            }
            Self::NoPeerMemory => f.write_str("the volume takes RAM only, and this is memory of a device"),
            Self::Mixed { index } => write!(
                f,
                "the device's own memory and other memory meet at piece {index}, within a block, and it cannot mix them; \
                 let them meet where a block ends"
            ),
            Self::TooManySegments { index, most } => write!(
                f,
                "one block needs more than the {most} segments that the device takes (piece {index}); use longer pieces"
            ),
            Self::Uncut { index, most_bytes } => write!(
                f,
                "one block needs a segment of more than {most_bytes} bytes, and the device allows no cut there (piece {index})"
            ),
            Self::Unaligned { index, align_bytes } => write!(
                f,
                "piece {index} does not begin and end at a multiple of {align_bytes} bytes, as the device needs it"
            ),
            Self::Gap { index, gap_mask } => write!(
                f,
                "piece {index} begins within a block, or the one before it ends there, at no multiple of {:#x}: \
                 the device allows no such gap",
                gap_mask.saturating_add(1)
            ),
            Self::NoSuchBlock => f.write_str("the blocks pass the last number that a block can have"),
        }
    }
}

impl core::error::Error for SplitError {}
