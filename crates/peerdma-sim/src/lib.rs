//! A PCIe fabric in software: every memory request is routed hop by hop as TLPs, as switches, ACS, bridges, root
//! complexes and IOMMUs route it.
//!
//! ```text
//! machine file -> file (what it says) -> firmware (numbers, addresses), or any snapshot
//!     -> blueprint::Blueprint          configuration spaces, host bridges, RAM, what each function is
//!     -> fabric                        ports, windows, ACS, IOMMU: where does this TLP go?
//!     -> machine                       time, links, transfers, memory: when does it get there, and what then?
//!     -> device                        controllers and cards that answer, and issue requests of their own
//!     -> host                          what drivers see of it all, as if it were hardware
//! ```
//!
//! It takes words, the layout of configuration space and (for captured machines) the tree of functions from [`peerdma`],
//! and nothing else: it never asks `peerdma::route`, whose judge it is.
#![forbid(unsafe_code)]

pub mod blueprint;
pub mod device;
pub mod fabric;
pub mod file;
pub mod firmware;
pub mod host;
pub mod inquiry;
pub mod machine;
pub mod memory;
pub mod random;
pub mod script;
pub mod time;
pub mod tlp;
