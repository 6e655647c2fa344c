//! What a probe may touch, and how it is to go about it.

use super::mover::MoveError;
use super::{Speed, Witness, WitnessError};
use crate::addr::{PhysAddr, Span};
use crate::block::Volume;
use crate::device::{DeviceError, Host};
use crate::engine::Trouble;
use crate::route::Access;
use alloc::boxed::Box;
use core::fmt;

/// What a probe may touch: this, and nothing else.
pub struct Site<'s> {
    /// The machine.
    pub host: &'s dyn Host,
    /// The device that reads and writes the memory.
    pub volume: &'s mut dyn Volume,
    /// Its blocks that may be overwritten.
    pub scratch: Scratch,
    /// The memory that is read and written: another device's, guards included.
    pub memory: Span<PhysAddr>,
    /// Who sees that memory beside the route.
    pub witness: &'s mut dyn Witness,
    /// RAM that the volume reaches, a block at least.
    pub ram: Span<PhysAddr>,
}

/// Blocks that may be overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scratch {
    /// The first.
    pub lba: u64,
    /// How many.
    pub blocks: u64,
}

/// How a probe is to go about it.
#[derive(Debug, Clone)]
pub struct Options<'o> {
    /// Which directions, in which order.
    pub accesses: &'o [Access],
    /// Of the patterns.
    pub seed: u64,
    /// The most bytes of one operation, where the device takes as many.
    pub most_bytes: u32,
    /// The most operations at once.
    pub depth: u16,
    /// Bytes around a transfer that must stay as they are.
    pub guard_bytes: u32,
    /// How long data may come after its command has ended, in nanoseconds (completion is not arrival).
    pub settle_ns: u64,
    /// Which figures to take of what works; nothing for none.
    pub speed: Option<Speed>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            accesses: &[Access::Write, Access::Read],
            seed: 0x7065_6572,
            most_bytes: 1 << 20,
            depth: 32,
            // What arrives a page too far is still seen.
            guard_bytes: 4096,
            settle_ns: 100_000_000,
            speed: None,
        }
    }
}

/// Why a route could not be tried, or what was there not be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeError {
    /// Blocks could not be read by way of RAM: nothing can be compared.
    ScratchRead {
        /// The first.
        lba: u64,
        /// Why.
        why: Trouble,
    },
    /// Blocks could not be written by way of RAM.
    ScratchWrite {
        /// The first.
        lba: u64,
        /// Why.
        why: Trouble,
    },
    /// Blocks do not hold what was written by way of RAM: whatever is wrong, it is not the route alone.
    ScratchDiffers {
        /// The first.
        lba: u64,
    },
    /// RAM could not be read or written.
    Ram(DeviceError),
    /// Nobody sees the memory beside the route.
    Witness(WitnessError),
    /// Memory, scratch blocks or RAM do not hold the smallest transfer.
    TooSmall {
        /// Bytes of the smallest.
        needed_bytes: u64,
    },
    /// Nothing can be said of the route, and what was there is not back either.
    NotRestored(Box<ProbeError>),
}

impl ProbeError {
    pub(super) fn scratch_read(lba: u64, error: MoveError) -> Self {
        match error {
            MoveError::Ram(why) => Self::Ram(why),
            MoveError::Volume(why) => Self::ScratchRead { lba, why },
        }
    }

    pub(super) fn scratch_write(lba: u64, error: MoveError) -> Self {
        match error {
            MoveError::Ram(why) => Self::Ram(why),
            MoveError::Volume(why) => Self::ScratchWrite { lba, why },
        }
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ScratchRead { lba, why } => {
                write!(
                    f,
                    "the scratch blocks from {lba} on could not be read by way of RAM: {why}"
                )
            }
            Self::ScratchWrite { lba, why } => {
                write!(
                    f,
                    "the scratch blocks from {lba} on could not be written by way of RAM: {why}"
                )
            }
            Self::ScratchDiffers { lba } => write!(
                f,
                "the scratch blocks from {lba} on do not hold what was written to them by way of RAM: the device or its medium \
                 is at fault, and nothing can be said of the route"
            ),
            Self::Ram(why) => why.fmt(f),
            Self::NotRestored(why) => write!(f, "what was there before is NOT PUT BACK: {why}"),
            Self::Witness(why) => write!(f, "nobody sees the memory beside the route: {why}"),
            Self::TooSmall { needed_bytes } => write!(
                f,
                "memory, scratch blocks and RAM must hold {needed_bytes} bytes each, and the device take as many at once"
            ),
        }
    }
}

impl core::error::Error for ProbeError {}
