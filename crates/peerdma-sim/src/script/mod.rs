//! Scripts: a sequence of transfers given as data, carried out on a simulated machine, and what became of every byte.
//!
//! ```text
//! text -> read -> Script (what it says) -> run on a machine::Machine -> Report (per transfer, per range of bytes)
//! ```
//!
//! `docs/simulator.md` documents every key. A script is refused with the line, what is wrong and what to write instead;
//! what it may ask for is bounded.

mod address;
mod demand;
mod error;
mod fault;
mod job;
mod names;
mod pattern;
mod place;
mod read;
mod report;
mod run;
#[cfg(test)]
mod tests;
mod transfer;

pub use error::{ScriptError, Wrong};
pub use fault::{Event, FaultLine, What};
pub use pattern::{Fates, Range};
pub use place::{Area, Spot};
pub use read::read;
pub use report::{Moved, Report, Told};
pub use run::{Progress, RunError, run};
pub use transfer::{Class, Expected, Form, Start, TransferLine};

use crate::file::At;

/// The largest script that is taken in.
pub const MOST_FILE_BYTES: usize = 1 << 20;
/// The most transfers that a script may have.
pub const MOST_TRANSFERS: usize = 4096;
/// The most faults that a script may have.
pub const MOST_FAULTS: usize = 1024;
/// The most bytes that one transfer may move, and all that start together.
pub const MOST_BYTES: u64 = 1 << 30;
/// The most bytes that all transfers of a script may move, which bounds the time that it takes.
pub const MOST_BYTES_IN_ALL: u64 = 16 << 30;

/// The most transfers that one accelerator starts together.
const MOST_TOGETHER: usize = crate::device::accelerator::registers::CHANNELS;

/// What a script says.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// Decides between orders of arrival; nothing for the seed of the machine.
    pub seed: Option<u64>,
    /// What is moved, in this order.
    pub transfers: Vec<TransferLine>,
    /// What goes wrong; of those that match, the first wins.
    pub faults: Vec<FaultLine>,
}

/// Something that a script says, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<T> {
    /// Where it stands.
    pub at: At,
    /// What it says.
    pub value: T,
}
