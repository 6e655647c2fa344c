//! May a client read or write a provider's memory, over which route, and who says so?
//!
//! - [`verdict`](self): the words of an answer ([`MapType`], [`Answer`], [`Verdict`]);
//! - [`linux`]: what Linux decides, release by release;
//! - [`spec`]: what the hardware does by the rules of the PCI Express specification;
//! - [`Bottleneck`]: the slowest link on the way;
//! - [`bandwidth`]: how many bytes a second the links let through.

pub mod bandwidth;
mod bottleneck;
pub mod linux;
pub mod spec;
mod verdict;

pub use bottleneck::{Bottleneck, LinkEnds, LinkHealth, above as link_above};
pub use verdict::{Access, Answer, MapType, TlpClass, Verdict};
