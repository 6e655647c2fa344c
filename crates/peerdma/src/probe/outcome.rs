//! What a probe has seen.

use super::{Case, Corruption, Figures, ProbeError};
use crate::block::{CommandError, PeerRefused, SubmitError};
use crate::engine::Trouble;
use crate::route::Access;
use alloc::vec::Vec;
use core::fmt;

/// How a direction ended: all its cases went well, or the first that did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every byte arrived.
    Delivered,
    /// The transfer was not begun.
    Refused(SubmitError),
    /// The system that drives the device did not let it reach the memory.
    RefusedBySystem(PeerRefused),
    /// It was begun, and the device or the system says that it failed.
    DeviceError(CommandError),
    /// The device says that it succeeded, and bytes are wrong.
    Corrupt(Corruption),
    /// It did not end in time.
    TimedOut,
    /// The volume as a whole failed.
    Lost(Trouble),
}

/// What became of one direction.
#[derive(Debug, Clone, PartialEq)]
pub struct DirectionReport {
    /// What the initiator does to the memory.
    pub access: Access,
    /// How it ended.
    pub outcome: Outcome,
    /// The case that did not go well.
    pub case: Option<Case>,
    /// Cases that went well.
    pub cases: u32,
    /// Cases that the device cannot be told of: no list of its leads there.
    pub unfit: u32,
    /// Bytes that were verified.
    pub verified_bytes: u64,
    /// The longest that data came after its command had ended, in nanoseconds; 0 where it was always there.
    pub late_ns: u64,
    /// Figures of the pair, and of the same through RAM.
    pub figures: Option<[Figures; 2]>,
}

/// What a probe has seen.
#[derive(Debug)]
pub struct Report {
    /// One for each direction that was tried.
    pub directions: Vec<DirectionReport>,
    /// Was it ended early by whoever watched it?
    pub interrupted: bool,
    /// Why what was there before could not be put back; nothing where it is back.
    pub not_restored: Option<ProbeError>,
}

/// How far a probe is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// What is there is kept.
    Keeping,
    /// A case begins: its number from 0, and how many there are.
    Case {
        /// Of which direction.
        access: Access,
        /// Its number.
        index: usize,
        /// How many.
        of: usize,
    },
    /// Figures are taken.
    Measuring(Access),
    /// What was there is put back.
    Restoring,
}

impl Outcome {
    /// Its name in data.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused(_) | Self::RefusedBySystem(_) => "refused",
            Self::DeviceError(_) => "device-error",
            Self::Corrupt(_) => "corrupt",
            Self::TimedOut => "timed-out",
            Self::Lost(_) => "lost",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered => f.write_str("every byte arrived"),
            Self::Refused(why) => write!(f, "it was refused: {why}"),
            Self::RefusedBySystem(why) => why.fmt(f),
            Self::DeviceError(why) => write!(f, "the transfer failed: {why}"),
            Self::Corrupt(corruption) => corruption.fmt(f),
            Self::TimedOut => f.write_str("a transfer did not end in time"),
            Self::Lost(why) => write!(f, "the volume failed: {why}"),
        }
    }
}
