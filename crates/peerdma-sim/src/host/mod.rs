//! A simulated machine as drivers see it: behind the traits of [`peerdma::device`] and [`peerdma::iommu`], so that no driver can
//! tell it from hardware.
//!
//! ```text
//! blueprint -> Computer      a handle, cheap to clone; a peerdma::device::Host: RAM, BARs by loads and stores, time
//!     .function(bdf)         PciFunction and Registers: bus mastering, reset, MMIO
//!     .io_space(bdfs)        IoSpace: one I/O address space of the IOMMU, for devices with all that share their groups
//!     .memory_map()          all RAM, and all memory behind BARs
//!     .reserved(), .initiator(bdf)   what a peerdma::dma::Ioas must know beside that
//!     .find("nvme0n1")       names
//! ```
//!
//! Beside what a driver may do, tests and tools look behind the scenes, at no cost of simulated time: [`Computer::read_namespace`] and
//! its like, [`Computer::state`] before and after, [`Computer::traffic`], [`Computer::refuse`].
//!
//! *Time* goes on in accesses to BARs and configuration space, in resets, and in [`Host::relax`](peerdma::device::Host::relax). RAM is accessed at no cost of
//! time, and what is seen there is what has landed by now; since nothing lands between two accesses, loads are in order.

mod arena;
mod bars;
mod computer;
mod function;
mod io_space;
mod media;
mod memory_map;
mod names;
mod refusal;
mod reset;
mod space;
mod state;
mod traffic;

pub use computer::Computer;
pub use function::{PciFunction, Registers};
pub use io_space::{IoSpace, IoSpaceError};
pub use media::Pattern;
pub use names::Named;
pub use refusal::Step;
pub use state::{Area, Difference, State};
pub use traffic::{LinkTraffic, Traffic};
