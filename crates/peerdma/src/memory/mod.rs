//! Which memory lies where: RAM and the BARs of functions, by physical address.
//!
//! A [`MemoryMap`] is an immutable value: registering or removing a region makes another, with a later epoch. Who reads
//! it through a handle sees from the epoch that there is a newer one.

mod map;
mod region;
#[cfg(test)]
mod tests;

pub use map::{MapError, MemoryMap};
pub use region::{BarMemory, CpuView, Memory, Region, RegionId, Widths};
