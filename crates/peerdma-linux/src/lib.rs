//! Where peerdma meets Linux.
//!
//! [`source::open`] reads a machine from whatever it is given, [`source::live`] the one at hand. Behind
//! them: [`sysfs`] on a [`tree`] (a folder or an archive), [`lspci`] listings, and [`json`], peerdma's own
//! format.
//!
//! [`bind`] lends functions to drivers in a process. [`process::Process`] is the machine as this process has it, to be driven: devices by
//! [`vfio`], memory of the process by [`sys`], what the kernel drives by [`ring`].

pub mod bind;
pub mod ids;
pub mod json;
mod keep;
pub mod lspci;
pub mod process;
pub mod ring;
mod shown;
pub mod source;
pub mod sys;
pub mod sysfs;
pub mod tree;
pub mod vfio;

pub use keep::KeepConfig;

/// The code of the page for authors of drivers, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/drivers.md")]
struct PageOfDrivers;
