//! What the hardware does with one function's request for another's memory, by the rules of the PCI Express
//! specification (PCIe Base 6.x) and no kernel's.
//!
//! [`Judge`] takes a [`Topology`](crate::topology::Topology) and answers whole pairs ([`Judge::verdict`]), single
//! questions with every function that a packet passes ([`Judge::fate`]), and the question why
//! ([`Judge::evidence`]). A question is asked by walking: [`request`](self) up to where it turns around and down to
//! the provider, [`completion`](self) back to the requester. Where a walk needs a fact that nobody knows, it is
//! walked once for each value that the fact could have (`doubts.rs`): an answer is unknown only where that makes
//! a difference.

mod claims;
mod completion;
mod doubts;
mod evidence;
mod facts;
mod fate;
mod judge;
mod memory;
mod payload;
mod port;
mod ram;
mod reasons;
mod request;
mod root_complex;
mod seams;
mod walk;

pub use evidence::{Evidence, Reason};
pub use fate::{Deed, Fate, Form, Outcome, Question, Step, Way};
pub use judge::Judge;
pub use reasons::{Missing, Refusal};
