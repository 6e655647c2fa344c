//! Addresses for translations: which are free, in pages.
//!
//! An [`Allocator`] is shared by all who use an I/O address space; a [`Magazine`] belongs to one queue and keeps ranges of the usual sizes, so
//! that they need not be asked for again. Called by [`crate::dma`].

mod allocator;
mod magazine;
#[cfg(test)]
mod tests;

pub(crate) use allocator::joined;
pub use allocator::{Allocator, Freed, Request, ReserveError};
pub use magazine::Magazine;
