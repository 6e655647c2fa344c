//! What comparing a destination with what it should be says.

use super::{CopyEnd, Failure};
use crate::block::Volume;
use core::fmt;

/// What a destination should hold.
pub enum Truth<'a> {
    /// What the source holds: it is read again.
    Source(&'a mut dyn Volume),
    /// What this writes into the buffer for an offset from the beginning of the job.
    Given(&'a mut dyn FnMut(u64, &mut [u8])),
}

/// Does the destination hold what it should?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Poll again.
    UnderWay {
        /// How much was compared.
        checked_bytes: u64,
    },
    /// It does, to the last byte.
    Equal,
    /// It does not.
    Differs(Mismatch),
    /// Nobody can say: something could not be read.
    Failed(Failure),
    /// It was cancelled before anything was found.
    Cancelled,
}

/// The first bytes that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch {
    /// Where in the job, in bytes.
    pub offset_bytes: u64,
    /// The block of the destination.
    pub lba: u64,
    /// How many bytes of the two arrays count.
    pub len: u8,
    /// What should be there.
    pub expected: [u8; 16],
    /// What is there.
    pub found: [u8; 16],
}

/// Why nothing can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyError {
    /// A volume's completions lie in memory of a device, and say nothing about data in RAM (invariant 8). Use a queue whose completions lie
    /// in RAM.
    CompletionsOutsideRam {
        /// Which.
        end: CopyEnd,
    },
    /// The RAM does not hold two chunks.
    TooLittleRam {
        /// What it takes.
        needed_bytes: u64,
    },
    /// No chunk is a whole number of blocks, or there is nothing to compare.
    NoChunk,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |bytes: &[u8; 16], f: &mut fmt::Formatter<'_>| {
            let mut bytes = bytes.iter().take(self.len.into());
            bytes.try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        write!(
            f,
            "block {} ({:#x} bytes into the copy) should be ",
            self.lba, self.offset_bytes
        )?;
        of(&self.expected, f)?;
        f.write_str(" and is ")?;
        of(&self.found, f)
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CompletionsOutsideRam { end } => write!(
                f,
                "the completions of the {end} lie in memory of a device and say nothing about data in RAM; use a queue whose \
                 completions lie in RAM"
            ),
            Self::TooLittleRam { needed_bytes } => write!(f, "it takes {needed_bytes} bytes of RAM at least"),
            Self::NoChunk => {
                f.write_str("the chunk is no whole number of blocks, or more than an operation carries")
            }
        }
    }
}

impl core::error::Error for VerifyError {}
