//! What is wrong with a script, where, and what to write instead.

use crate::fabric::IommuError;
use crate::file::{At, MachineError};
use crate::memory::MemoryError;
use std::fmt;

/// A script cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptError {
    /// Where.
    pub at: At,
    /// What is wrong.
    pub wrong: Wrong,
}

/// What is wrong with a script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// It is larger than is ever taken in.
    #[error(
        "the script has more than {} bytes, which is all that is taken in; leave out comments, or cut it in two",
        super::MOST_FILE_BYTES
    )]
    FileTooLarge,
    /// It is no TOML, or has keys or values that a script has not.
    #[error("{0}")]
    Text(crate::file::Wrong),
    /// Nothing is to be done.
    #[error("the script moves nothing; write at least one [[transfer]]")]
    Nothing,
    /// There are too many of something.
    #[error(
        "the script has more than {most} {what}, which is all that is taken in; leave out those from here on"
    )]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// Transfers that start together move too much.
    #[error(
        "transfers that start together move more than {} bytes; move less, or leave out `together`",
        super::MOST_BYTES
    )]
    TooMuch,
    /// All transfers move too much.
    #[error(
        "with this transfer the script moves more than {} bytes, which is all that is moved in one run; move less, or cut \
         the script in two",
        super::MOST_BYTES_IN_ALL
    )]
    TooMuchInAll,
    /// The machine cannot hold what the transfers read and write.
    #[error(
        "with this transfer the script uses {need_bytes} bytes of memory, and the machine may hold {budget_bytes} (sources, \
         destinations and what files hold, in pieces of 64 KiB); move less, or use the same places again"
    )]
    Budget {
        /// How many bytes the script uses, in whole pieces.
        need_bytes: u64,
        /// How many bytes the machine may hold.
        budget_bytes: u64,
    },
    /// Transfers that start together share bytes of which one is written to.
    #[error(
        "it shares bytes with the transfer in line {other_line}, which starts together with it or is the same; use other \
         offsets, or leave out `together`"
    )]
    Overlap {
        /// Where the other stands.
        other_line: u32,
    },
    /// Nothing on the machine has this name.
    #[error("the machine has no `{name}`; {instead}")]
    NoSuchDevice {
        /// The name.
        name: String,
        /// What there is.
        instead: String,
    },
    /// The name is that of several functions.
    #[error(
        "`{name}` is the name of several functions; write the address of one of them, such as \"0000:03:00.0\""
    )]
    Ambiguous {
        /// The name.
        name: String,
    },
    /// A device lacks the memory that is named.
    #[error("{device} has no memory at {place}; {instead}")]
    NoSuchMemory {
        /// The device.
        device: String,
        /// What was named.
        place: String,
        /// What there is.
        instead: String,
    },
    /// The initiator owns neither side, or both.
    #[error("{0}")]
    Initiator(String),
    /// The IOMMU cannot map what the transfer needs.
    #[error("the IOMMU cannot map this transfer: {0}")]
    Iommu(IommuError),
    /// An IOMMU that does not translate refuses nothing.
    #[error(
        "the IOMMU of this machine does not translate, so that it refuses nothing; write `iommu = \"translating\"` in the \
         machine file, or leave out this fault"
    )]
    IommuPasses,
    /// No address leads from the initiator to the place.
    #[error("no address can be given for this: {0}")]
    NoAddress(&'static str),
    /// Memory is used up.
    #[error("{0}")]
    Memory(MemoryError),
}

impl Wrong {
    pub(super) fn at(self, at: At) -> ScriptError {
        ScriptError { at, wrong: self }
    }
}

impl From<MachineError> for ScriptError {
    /// Of text that was read as machine files are.
    fn from(error: MachineError) -> Self {
        Wrong::Text(error.wrong).at(error.at)
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.line > 0 {
            write!(f, "line {}, column {}: ", self.at.line, self.at.column)?;
        }
        write!(f, "{}", self.wrong)
    }
}

impl std::error::Error for ScriptError {}
