//! Block operations on memory of mixed kinds.
//!
//! [`Volume`] takes a [`Bio`], gives a [`Ticket`], and later a [`Done`] with the bio. What a bio's memory is mapped by belongs to the volume
//! until the device is done with it.

mod bio;
mod limits;
mod volume;

pub use bio::{Bio, Data, Operation};
pub use limits::{Limits, PeerSupport};
pub use volume::{CommandError, Done, Rejected, SubmitError, Ticket, Volume, VolumeError};
