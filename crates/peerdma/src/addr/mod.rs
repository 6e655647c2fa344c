//! Addresses that cannot be mistaken for one another.
//!
//! - [`Bdf`]: where a function sits (domain, bus, device, function);
//! - [`PhysAddr`], [`BusAddr`], [`Iova`]: the three spaces in which a byte can be named;
//! - [`Span`]: an inclusive range in one of them, so that the last byte of a space is reachable;
//! - [`PhysVec`]: one physically contiguous piece of memory, as requests carry it.
//!
//! There is no conversion between the spaces and no unchecked arithmetic.

mod bdf;
mod phys_vec;
mod space;
mod span;

pub use bdf::{Bdf, ParseBdfError};
pub use phys_vec::{Origin, PhysVec, PhysVecError};
pub use space::{Address, BusAddr, Iova, PhysAddr};
pub use span::{Span, SpanError};
