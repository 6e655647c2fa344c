//! The floor: the few things of Linux that cannot be had without `unsafe`, each behind a safe face.
//!
//! [`memory`] holds mappings of memory, `ioctl` passes every ioctl, `barrier` orders RAM and registers, [`eventfd`] is what an interrupt is waited for with, and
//! [`bus_error`] outlives devices that vanish from under a mapping.

pub(crate) mod barrier;
pub mod bus_error;
pub mod eventfd;
pub(crate) mod ioctl;
pub mod memory;

pub use eventfd::EventFd;
pub use memory::Memory;
