//! From vectors of physical addresses, of any mix of memory kinds, to what one device must be programmed with.
//!
//! ```text
//! Ioas (shared)    initiators, their routes to every region, translations, registered regions
//!   -> Mapper      one queue's own handle: &mut, no lock and no allocation on the way of a request
//!        look_up(&[PhysVec])      -> Located   each piece with its region; refused where a piece lies in none
//!        map(Located, Direction)  -> Mapping   all or nothing; owns a DmaList
//!        unmap(Mapping)                        the device reaches the memory no more
//! ```

mod buffer;
mod constraints;
mod direction;
mod error;
mod hold;
mod ioas;
mod kernel_routes;
mod kind;
mod list;
mod look_up;
mod mapper;
mod mapping;
mod request;
mod resolve;
mod revoke;
mod route;
mod shape;
mod state;
mod survey;
mod sync;
#[cfg(test)]
mod tests;
mod uses;
mod view;

pub use buffer::{IdleRam, MapRamError, MappedRam, RamBacking};
pub use constraints::Constraints;
pub use direction::Direction;
pub use error::{InUse, IoasError, LookUpError, MapBarError, MapError, NotUnmapped, UnmapError};
pub use ioas::{Ioas, Translation};
pub use kernel_routes::KernelRoutes;
pub use kind::MemoryKind;
pub use list::{DmaList, DmaSegment, Space};
pub use mapper::Mapper;
pub use mapping::{Located, Mapping};
pub use route::{Initiator, OwnBase, PeerRoute, Refused, Routes, SpecRoutes};
#[cfg(feature = "std")]
pub use sync::Threads;
pub use sync::{Locks, SingleThread};
