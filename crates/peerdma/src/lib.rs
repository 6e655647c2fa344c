//! The core of peerdma: PCIe peer-to-peer DMA as pure data and pure decisions.
//!
//! The way data takes through this crate:
//!
//! ```text
//! config-space bytes, dumps, sysfs        (readers live in `peerdma-linux`)
//!     -> snapshot::Snapshot                a machine as pure data, each fact known or unknown
//!     -> topology::Topology                who sits below whom
//!     -> route::linux                      what Linux decides for a pair, and on what evidence
//!     -> route::spec                       what the hardware does with a request, by the specification
//!
//! PhysVec, memory::MemoryMap, route
//!     -> dma::Mapper::look_up              which region each piece lies in, and how this initiator reaches it
//!     -> dma::Mapper::map                  a DMA list for this initiator; nothing in it that a CPU could dereference
//!     -> block::Volume::submit             a command that owns its mapping until the device is done with it
//! ```
//!
//! Nothing here performs I/O, and nothing here is `unsafe`. The crate needs `alloc`; the optional
//! feature `serde` makes snapshots and the parts of an explanation serialisable.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod addr;
pub mod block;
pub mod device;
pub mod dma;
pub mod engine;
pub mod fact;
pub mod iomem;
pub mod iommu;
pub mod iova;
pub mod load;
pub mod memory;
pub mod pci;
pub mod plan;
pub mod probe;
pub mod route;
pub mod snapshot;
pub mod topology;

/// The code of the book of mapping, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/mapping.md")]
struct BookOfMapping;
