//! How a copy fails.

use crate::block::{CommandError, SubmitError, VolumeError};
use crate::device::DeviceError;
use core::fmt;

/// The first failure of a copy: of several the one at the lowest offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whose.
    pub end: CopyEnd,
    /// What was to be done.
    pub step: Step,
    /// Where in the copy, in bytes from its beginning.
    pub offset_bytes: u64,
    /// The first block of that end that it concerns.
    pub lba: u64,
    /// What happened.
    pub trouble: Trouble,
}

/// An end of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CopyEnd {
    /// Where the data is.
    Source,
    /// Where it goes to.
    Destination,
}

/// What an end was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Read blocks.
    Read,
    /// Write blocks.
    Write,
    /// Make what was written last.
    Flush,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// The operation was not begun.
    Submit(SubmitError),
    /// It was begun, and ended badly.
    Command(CommandError),
    /// The volume as a whole has failed.
    Volume(VolumeError),
    /// The volume has failed, or says that nothing is under way, and has not given the operation back.
    Lost,
    /// The volume takes nothing more, although nothing is under way.
    Stuck,
    /// RAM could not be read or written.
    Memory(DeviceError),
}

impl CopyEnd {
    /// Its name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

impl fmt::Display for CopyEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submit(source) => source.fmt(f),
            Self::Command(source) => source.fmt(f),
            Self::Volume(source) => source.fmt(f),
            Self::Lost => f.write_str("the volume has not given it back"),
            Self::Stuck => f.write_str("the volume takes nothing, although nothing is under way"),
            Self::Memory(source) => source.fmt(f),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            end,
            step,
            offset_bytes,
            lba,
            trouble,
        } = self;
        write!(
            f,
            "the {end} failed to {step} block {lba} ({offset_bytes:#x} bytes into the copy): {trouble}"
        )
    }
}

impl core::error::Error for Failure {}
