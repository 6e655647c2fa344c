//! Devices that the kernel leaves to this process: VFIO.
//!
//! [`backend`] says what an I/O address space of the kernel offers.

pub mod backend;

pub use backend::{Api, Backend, Source};
