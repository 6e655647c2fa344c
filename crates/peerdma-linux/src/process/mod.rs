//! The machine as this process sees it: what `peerdma_sim::host` is to a simulated machine, with the same names.
//!
//! ```text
//! Process::new(topology)     a handle, cheap to clone; a peerdma::device::Host: RAM, BARs by loads and stores, time
//!     .take(bdfs)            opens functions by VFIO
//!     .driven(kernel)        the machine as it is now that they are driven: who reaches whose memory
//!     .function(bdf)         their registers, bus mastering, reset
//!     .io_space(bdfs)        IoSpace: one I/O address space, for devices with all that share their groups
//!     .memory_map()          the process's RAM, and memory behind BARs; .resolve() and .map_user() look up in it
//!     .reserved(), .initiator(bdf)   what a peerdma::dma::Ioas must know beside that
//! ```
//!
//! *Addresses.* The memory map is to the process what guest-physical space is to a virtual machine: BARs lie at their true physical
//! addresses (from sysfs, never from VFIO's virtualised registers); its RAM is one anonymous mapping at addresses that `place` chooses,
//! so that they can be I/O addresses as well.
//!
//! *Order.* Devices reach memory by mappings of an [`IoSpace`]. Each mapping holds the pages that it leads to; dropping the space unmaps
//! them first, and only then may another have the kernel's address space. What the kernel refuses to unmap keeps its pages, and its
//! address space is not used again.

mod arena;
mod bars;
mod devices;
mod driven;
mod error;
mod handle;
mod host;
mod io_space;
mod piece;
mod place;
mod registry;
mod reserved;
mod spaces;
mod sync;
#[cfg(test)]
mod tests;

pub use driven::{Driven, DrivenRoutes};
pub use error::{IoSpaceError, ProcessError};
pub use handle::{Process, ProcessOptions};
pub use io_space::IoSpace;
pub use piece::Kind;
pub use registry::{NotRegistered, Resolved};
