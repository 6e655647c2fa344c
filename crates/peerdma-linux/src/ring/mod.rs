//! The kernel's way: block devices that the kernel drives, and plain files, as [`peerdma::block::Volume`]s by io_uring; and memory of
//! devices that the kernel gives out (p2pmem).
//!
//! ```text
//! BlockDevice::open(path)      what it is: a function behind it, blocks, who holds it, whether it takes p2pmem   (device, direct, place, holder)
//! Process::p2pmem(bdf, len)    memory behind a BAR, mapped into this process                                     (p2pmem, bar_place, guarded)
//! kernel_space(map, ...)       an address space for it: KernelRoutes judge, the kernel maps
//! RingVolume::new(device, pages, space, options)
//!     submit   check, look up, map, resolve to the process's own pages, queue                                    (volume, transfer)
//!     poll     one system call for all that is queued; completions are read from shared memory                   (uring, failure)
//! ```
//!
//! [`Pages`] is what a volume needs of the process: whose pages lie at a `PhysAddr`. RAM and p2pmem can be used; a BAR that is open by VFIO cannot
//! be pinned by the kernel, and is refused with the reason.

mod bar_place;
mod device;
mod direct;
mod error;
mod extent;
mod failure;
pub(crate) mod guarded;
mod holder;
mod identity;
mod open_error;
mod p2pmem;
mod pages;
mod place;
mod reap;
mod space;
mod submit;
#[cfg(test)]
mod tests;
mod transfer;
mod uring;
mod volume;

pub use bar_place::BarPlace;
pub use device::{BlockDevice, OpenOptions, Write};
pub use direct::Transfers;
pub use error::RingError;
pub use extent::{Extent, Overlap};
pub use guarded::GuardedError;
pub use holder::Holder;
pub use identity::Identity;
pub use open_error::OpenError;
pub use p2pmem::{P2pmem, P2pmemError};
pub use pages::Pages;
pub use space::{NOBODY, kernel_space};
pub use volume::{Mode, RingOptions, RingVolume};
