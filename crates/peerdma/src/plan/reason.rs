//! Why not in this way.

use super::{Cost, Method};
use crate::addr::Bdf;
use crate::dma::{MapError, Refused};
use crate::route::Access;
use alloc::vec::Vec;
use core::fmt;

/// A way that was not taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rejected {
    /// Which.
    pub method: Method,
    /// Why not.
    pub why: Reason,
}

/// Why a way was not taken.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// A device does not reach the memory, or nobody can say.
    NoRoute {
        /// Who would read or write it.
        initiator: Bdf,
        /// Whose memory it is.
        provider: Bdf,
        /// What would be done.
        access: Access,
        /// Why not.
        refused: Refused,
    },
    /// A device does not reach RAM, or nobody can say.
    NoRouteToRam {
        /// Who would read or write it.
        initiator: Bdf,
        /// What would be done.
        access: Access,
        /// Why not.
        refused: Refused,
    },
    /// A device has no memory that may be used.
    NoMemory {
        /// Which.
        of: Bdf,
    },
    /// No RAM may be used.
    NoRam,
    /// Too little memory is free.
    TooSmall {
        /// Whose; nothing for RAM.
        of: Option<Bdf>,
        /// How many bytes are free.
        free_bytes: u64,
        /// How many the smallest slot, and a completion queue where one is needed, take.
        needed_bytes: u64,
    },
    /// A device's commands cannot take data from, or put it into, its own memory.
    NotItsOwn {
        /// Which.
        of: Bdf,
        /// What the commands would do to that memory.
        access: Access,
    },
    /// A volume takes no memory but RAM.
    RamOnly {
        /// Whose.
        of: Bdf,
    },
    /// The source's completions cannot lie in the memory: the CPU does not see it, or not by dwords.
    Unseen {
        /// Whose memory.
        provider: Bdf,
    },
    /// The source's completions can only lie in RAM, where they prove nothing about data in a peer's memory.
    CompletionsInRam {
        /// The source.
        of: Bdf,
    },
    /// Another device's memory was asked for.
    NotVia {
        /// Whose.
        via: Bdf,
    },
    /// The data must not pass RAM.
    RamForbidden,
    /// A way without RAM was taken.
    NeedsRam {
        /// What RAM would have cost.
        cost: Cost,
    },
    /// The links let less through than on the way that was taken.
    Slower {
        /// What it would have cost.
        cost: Cost,
    },
    /// It is no faster than the way that was taken, which comes first: writes before reads, two devices before three.
    NoFaster {
        /// What it would have cost.
        cost: Cost,
    },
}

/// There is no plan.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum NoPlan {
    /// The two ends do not fit together, or the shape does not fit them.
    Unfit(Unfit),
    /// Only the way through RAM is safe, and it was forbidden.
    OnlyRam(Vec<Rejected>),
    /// The data cannot pass the memory that was asked for.
    NotVia {
        /// Whose memory.
        via: Bdf,
        /// All ways, and why not.
        rejected: Vec<Rejected>,
    },
    /// No way is possible.
    NoWay(Vec<Rejected>),
}

/// Why two ends cannot be copied between at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// A volume's block has no bytes.
    NoBlock {
        /// Whose.
        of: Bdf,
    },
    /// No chunk is a whole number of blocks of both ends and no more than an operation of both carries.
    BlockSizes {
        /// Bytes of a block of the source.
        source_bytes: u32,
        /// Bytes of a block of the destination.
        destination_bytes: u32,
        /// The most bytes of one operation of both.
        most_bytes: u32,
    },
    /// The chunk that was asked for is less than one that fits the blocks of both ends, or no multiple of it.
    Chunk {
        /// What was asked for.
        chunk_bytes: u32,
        /// What it must be a multiple of.
        multiple_bytes: u64,
    },
    /// No chunk may be under way.
    NoDepth,
}

impl NoPlan {
    /// All ways, and why not.
    pub fn rejected(&self) -> &[Rejected] {
        match self {
            Self::Unfit(_) => &[],
            Self::OnlyRam(rejected) | Self::NotVia { rejected, .. } | Self::NoWay(rejected) => rejected,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            // What `map` would say of the same.
            Self::NoRoute {
                initiator,
                provider,
                access,
                refused,
            } => MapError::Unreachable {
                initiator,
                provider,
                access,
                refused,
            }
            .fmt(f),
            Self::NoRouteToRam {
                initiator,
                access,
                refused,
            } => MapError::RamUnreachable {
                initiator,
                access,
                refused,
            }
            .fmt(f),
            Self::NoMemory { of } => write!(f, "{of} has no memory that can be used"),
            Self::NoRam => f.write_str("there is no RAM that can be used"),
            Self::TooSmall {
                of,
                free_bytes,
                needed_bytes,
            } => {
                match of {
                    Some(of) => write!(f, "of the memory of {of}")?,
                    None => f.write_str("of the RAM")?,
                }
                write!(
                    f,
                    " {free_bytes} bytes are free, and it takes {needed_bytes} at least"
                )
            }
            Self::NotItsOwn { of, access } => match access {
                Access::Write => write!(
                    f,
                    "{of} cannot put what it reads from its medium into its own memory"
                ),
                Access::Read => write!(
                    f,
                    "{of} cannot take what it writes to its medium from its own memory"
                ),
            },
            Self::RamOnly { of } => write!(f, "{of} takes RAM only"),
            Self::Unseen { provider } => write!(
                f,
                "arrival cannot be proven: the CPU cannot load dwords from the memory of {provider}, where the completions would lie"
            ),
            Self::CompletionsInRam { of } => write!(
                f,
                "arrival cannot be proven: {of} writes its completions to RAM only, by another path than the data"
            ),
            Self::NotVia { via } => write!(f, "the memory of {via} was asked for"),
            Self::RamForbidden => f.write_str("the data must not pass RAM"),
            Self::NeedsRam { cost } => write!(f, "it needs RAM, and a way without was chosen ({cost})"),
            Self::Slower { cost } => write!(f, "the links let less through: {cost}"),
            Self::NoFaster { cost } => write!(f, "it is no faster than what was chosen ({cost})"),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBlock { of } => write!(f, "the blocks of {of} have no bytes"),
            Self::BlockSizes {
                source_bytes,
                destination_bytes,
                most_bytes,
            } => write!(
                f,
                "blocks of {source_bytes} and of {destination_bytes} bytes have no common multiple up to the {most_bytes} \
                 bytes of an operation"
            ),
            Self::Chunk {
                chunk_bytes,
                multiple_bytes,
            } => write!(
                f,
                "a chunk of {chunk_bytes} bytes does not fit the blocks; use a multiple of {multiple_bytes}"
            ),
            Self::NoDepth => f.write_str("at least one chunk must be under way; use a depth of 1 or more"),
        }
    }
}

impl core::error::Error for Unfit {}

impl fmt::Display for NoPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfit(unfit) => unfit.fmt(f),
            Self::OnlyRam(_) => {
                f.write_str("only the way through RAM is safe, and the data must not pass RAM")
            }
            Self::NotVia { via, .. } => write!(f, "the data cannot pass the memory of {via}"),
            Self::NoWay(_) => f.write_str("there is no way"),
        }?;
        for rejected in self.rejected() {
            write!(f, "; {}: {}", rejected.method, rejected.why)?;
        }
        Ok(())
    }
}

impl core::error::Error for NoPlan {}
