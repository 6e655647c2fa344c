//! Block operations on memory of mixed kinds.
//!
//! [`Volume`] takes a [`Bio`], gives a [`Ticket`], and later a [`Done`] with the bio. What a bio's memory is mapped by belongs to the volume
//! until the device is done with it. [`split`] cuts what is too much for one bio at legal places.

mod bio;
mod limits;
mod shape;
mod split;
mod volume;

pub use bio::{Bio, Data, Operation};
pub use limits::{Limits, PeerSupport};
pub(crate) use shape::contiguous_bytes;
pub(crate) use split::common_multiple;
pub use split::{SplitError, split};
pub use volume::{
    CommandError, CompletionPlace, Done, PeerRefused, Rejected, SubmitError, Ticket, Volume, VolumeError,
};
