//! The floor: the few things of Linux that cannot be had without `unsafe`, each behind a safe face.
//!
//! [`memory`] holds mappings of memory, `ioctl` every ioctl, `eventfd` what an interrupt is waited for with.

pub mod memory;

pub use memory::Memory;
