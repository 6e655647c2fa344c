//! What is copied.

use super::CopyEnd;
use crate::block::{CompletionPlace, Volume};
use crate::plan::{CopyPlan, Proof};
use core::fmt;

/// Which blocks are copied where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// The first block of the source.
    pub source_lba: u64,
    /// The first block of the destination.
    pub destination_lba: u64,
    /// How many bytes: whole blocks of both ends.
    pub len_bytes: u64,
    /// How many of them an earlier copy has done ([`Counts::durable_bytes`](super::Counts::durable_bytes)); 0 for a new one.
    pub resume_bytes: u64,
}

/// Why a job was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobError {
    /// There is nothing to copy.
    Empty,
    /// A number of bytes is not a whole number of blocks.
    NotWholeBlocks {
        /// Of which end.
        end: CopyEnd,
        /// How many bytes.
        bytes: u64,
        /// Bytes of a block.
        block_bytes: u32,
    },
    /// An end does not have these blocks.
    OutOfRange {
        /// Which end.
        end: CopyEnd,
        /// The first block.
        lba: u64,
        /// How many bytes.
        bytes: u64,
        /// How many blocks it has.
        has: u64,
    },
    /// More is said to be done than is to be done.
    ResumeBeyondEnd {
        /// What is said to be done.
        resume_bytes: u64,
        /// What is to be done.
        len_bytes: u64,
    },
    /// A chunk of the plan is not a whole number of blocks, or more than an operation carries: the plan was made for other volumes.
    Chunk {
        /// Which end.
        end: CopyEnd,
        /// Bytes of a chunk.
        chunk_bytes: u32,
    },
    /// A volume's device is not the one of the plan.
    OtherDevice {
        /// Which end.
        end: CopyEnd,
    },
    /// The source's completions do not lie where the plan's proof of arrival needs them (invariant 8).
    NoProof {
        /// What the plan counts on.
        proof: Proof,
        /// Where they lie.
        place: CompletionPlace,
    },
    /// The plan has no slot, one that passes the last address, or fewer mappings than slots.
    NoSlots,
    /// A slot's mapping is for another device, in the other direction, or of another length.
    ForeignMapping,
}

impl Job {
    /// Do the volumes fit the job, and are they those of the plan?
    pub(super) fn check(
        &self,
        plan: &CopyPlan,
        source: &dyn Volume,
        destination: &dyn Volume,
    ) -> Result<(), JobError> {
        if self.len_bytes == 0 {
            return Err(JobError::Empty);
        }
        if self.resume_bytes > self.len_bytes {
            return Err(JobError::ResumeBeyondEnd {
                resume_bytes: self.resume_bytes,
                len_bytes: self.len_bytes,
            });
        }
        let chunk_bytes = plan.layout.chunk_bytes;
        let ends = [
            (CopyEnd::Source, source.limits(), self.source_lba),
            (CopyEnd::Destination, destination.limits(), self.destination_lba),
        ];
        for ((end, limits, lba), crossing) in ends.into_iter().zip(&plan.crossings) {
            if limits.initiator != crossing.initiator {
                return Err(JobError::OtherDevice { end });
            }
            let block_bytes = limits.block_bytes;
            let divides = |bytes: u64| bytes.checked_rem(block_bytes.into()) == Some(0);
            if chunk_bytes == 0 || !divides(chunk_bytes.into()) || chunk_bytes > limits.max_transfer_bytes {
                return Err(JobError::Chunk { end, chunk_bytes });
            }
            for bytes in [self.len_bytes, self.resume_bytes] {
                if !divides(bytes) {
                    return Err(JobError::NotWholeBlocks {
                        end,
                        bytes,
                        block_bytes,
                    });
                }
            }
            let blocks = self.len_bytes / u64::from(block_bytes);
            if lba.checked_add(blocks).is_none_or(|after| after > limits.blocks) {
                return Err(JobError::OutOfRange {
                    end,
                    lba,
                    bytes: self.len_bytes,
                    has: limits.blocks,
                });
            }
        }
        proven(plan, source.completion_place())
    }
}

/// Does a completion of the source, in this place, show that its data is in the slots?
fn proven(plan: &CopyPlan, place: CompletionPlace) -> Result<(), JobError> {
    let proof = plan.crossings[0].proof;
    let holds = match (proof, place) {
        (Proof::SamePathCompletion, CompletionPlace::Memory(at)) => {
            let queue = plan.layout.completion_queue;
            queue.is_some_and(|queue| queue.contains(at))
        }
        (Proof::SamePathCompletion, CompletionPlace::Ram) => false,
        (Proof::ReadBack, _) => true,
        // In its own memory the data is before the device says so, wherever it says it; in RAM where it says so there.
        (Proof::DeviceOrder, place) => plan.layout.provider.is_some() || place == CompletionPlace::Ram,
        // The source only ever writes slots.
        (Proof::ReadReturned, _) => false,
    };
    match holds {
        true => Ok(()),
        false => Err(JobError::NoProof { proof, place }),
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is nothing to copy: the length is 0"),
            Self::NotWholeBlocks {
                end,
                bytes,
                block_bytes,
            } => write!(
                f,
                "{bytes} bytes are no whole number of the {end}'s blocks of {block_bytes} bytes"
            ),
            Self::OutOfRange { end, lba, bytes, has } => write!(
                f,
                "{bytes} bytes from block {lba} on pass the end of the {end}, which has {has} blocks"
            ),
            Self::ResumeBeyondEnd {
                resume_bytes,
                len_bytes,
            } => write!(
                f,
                "{resume_bytes} bytes are said to be done, and the copy has {len_bytes}"
            ),
            Self::Chunk { end, chunk_bytes } => write!(
                f,
                "the plan's chunk of {chunk_bytes} bytes does not fit the {end}: plan again for these volumes"
            ),
            Self::OtherDevice { end } => {
                write!(f, "the {end}'s device is not the plan's: plan again for these volumes")
            }
            Self::NoProof { proof, place } => match place {
                CompletionPlace::Ram => write!(
                    f,
                    "arrival is to be proven by {proof}, and the source's completions lie in RAM; put its completion queue \
                     where the plan says"
                ),
                CompletionPlace::Memory(at) => write!(
                    f,
                    "arrival is to be proven by {proof}, and the source's completions lie at {at}; put its completion queue \
                     where the plan says"
                ),
            },
            Self::NoSlots => f.write_str("the plan has no slots, or not all of them are mapped"),
            Self::ForeignMapping => f.write_str(
                "a slot's mapping is for another device, in the other direction, or of another length than a chunk",
            ),
        }
    }
}

impl core::error::Error for JobError {}
