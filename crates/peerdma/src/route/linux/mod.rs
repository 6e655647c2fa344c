//! What Linux decides for a provider and a client: `calc_map_type_and_dist` in drivers/pci/p2pdma.c,
//! bug for bug (KERNEL-FACTS, A2 to A6), and its posted rewrite (A7).
//!
//! [`Judge`] takes a [`Topology`](crate::topology::Topology) and a [`Kernel`], sums up once what the
//! walks will ask for, and then answers single pairs ([`Judge::verdict`]), whole rows of a matrix
//! ([`Judge::row`]) and the question why ([`Judge::evidence`]). One function decides for all three. [`Remedy`] says what would change an answer.

mod acs;
mod believed;
mod evidence;
mod extended_space;
#[cfg(test)]
mod fabric;
mod gate;
mod host_bridges;
mod judge;
mod junction;
mod kernel;
mod mainline;
mod next;
#[cfg(test)]
mod posted;
mod processor;
mod remedy;
#[cfg(test)]
mod tests;

pub use acs::REDIRECT;
pub use believed::{Belief, Word, believed};
pub use evidence::{Effect, Evidence, Hop, Reason, Side};
pub use gate::{Accepted, Gate, GateKeeper, Listing};
pub use host_bridges::{ENTRIES, Entry, Scope, Since};
pub use judge::{Judge, Row};
pub use kernel::Kernel;
pub use processor::inferred_processor;
pub use remedy::{Change, Remedy};
