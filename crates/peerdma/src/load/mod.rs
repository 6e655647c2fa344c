//! Keeps a volume busy, and measures it: how many operations a second, how many bytes, how long each takes.
//!
//! Called by `peerdma bench`, and by [`probe`](crate::probe) for the figures of a route. Which memory the data lies in is the caller's choice:
//! RAM, a BAR, mapped before or by each operation.

mod histogram;
mod run;

pub use histogram::Histogram;
pub use run::{Ended, Load, Measured, Order, Wish, run};
