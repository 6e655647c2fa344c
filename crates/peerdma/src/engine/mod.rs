//! Carries out a plan: data goes from one volume to another through slots of the plan's memory, many chunks at a time.
//!
//! ```text
//! CopyPlan + Job -> Copy::new          refused where a volume is not what the plan counts on
//!     poll, poll, ...                  Free -> Reading -> Filled -> Writing -> Free, for each slot; at the end a flush
//!     -> Outcome                       whole, cancelled, or the first failure; and from where to resume
//! Verify                               reads the destination back into RAM and compares it with what it should be
//! ```
//!
//! No clock, no thread and no waiting: who calls `poll` relaxes between calls. A slot is given to the next chunk only when its
//! reader, the destination, is done with it. Nothing is allocated while data moves.

mod begin;
mod check;
mod copy;
mod ended;
mod error;
mod job;
mod slot;
mod slot_mappings;
mod verify;
mod window;

pub use check::{Check, Mismatch, Truth, VerifyError};
pub use copy::{Copy, Counts, Outcome, Progress};
pub use error::{CopyEnd, Failure, Step, Trouble};
pub use job::{Job, JobError};
pub use slot_mappings::{SlotError, SlotMappings};
pub use verify::Verify;
