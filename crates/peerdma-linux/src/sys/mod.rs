//! The floor: the few things of Linux that cannot be had without `unsafe`, each behind a safe face.
//!
//! [`memory`] holds mappings of memory, `ioctl` passes every ioctl, `barrier` orders RAM and registers, [`eventfd`] is what an interrupt is waited for with.

pub(crate) mod barrier;
pub mod eventfd;
pub(crate) mod ioctl;
pub mod memory;

pub use eventfd::EventFd;
pub use memory::Memory;
