//! Addresses for translations: which are free, in pages.
//!
//! An [`Allocator`] knows what is free in an I/O address space; a [`Magazine`] keeps ranges of the usual sizes that were given back, so that they need
//! not be searched for again. Called by [`crate::dma`].

mod allocator;
mod magazine;
#[cfg(test)]
mod tests;

pub use allocator::{Allocator, Freed, Request, ReserveError, joined};
pub use magazine::Magazine;
