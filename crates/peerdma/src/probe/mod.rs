//! Tries a route: patterns through a pair in both directions, every byte verified, and what was seen compared with what was promised.
//!
//! A verdict is a conclusion from registers; a probe is an experiment. It moves data between the blocks of one device (through its
//! [`Volume`](crate::block::Volume)) and the memory of another, in sizes and alignments that are easily got wrong, and looks at what arrived by a
//! way that does not use the route: the CPU's, or another device's ([`Witness`]).
//!
//! ```text
//! Site            what it may touch: a volume and its scratch blocks, memory, RAM, a witness
//! run             keeps what is there -> cases, one by one -> figures -> puts back what was there
//!   case          sizes, places, depths, patterns
//!   try_case      lays pattern and poison out, moves, verifies
//!   steps         the CPU touches memory a little at a time, and a wish to stop is heard in between
//!   corruption    what wrong bytes look like: never arrived, arrived elsewhere, stale, all ones
//! Report          of each direction: Outcome, figures of the pair and of RAM
//! Judgement::of   outcome and promise: agrees, works although ..., corrupts
//! ```
//!
//! Called by `peerdma probe`, and by the lab.

mod case;
mod corruption;
mod figures;
mod judgement;
mod keep;
mod mover;
mod outcome;
mod pattern;
mod run;
mod site;
mod steps;
mod try_case;
mod witness;

pub use case::Case;
pub use corruption::{Corruption, Looks};
pub use figures::{Figures, Speed};
pub use judgement::{Judgement, Promise};
pub use outcome::{DirectionReport, Outcome, Report, Stage};
pub use pattern::Pattern;
pub use run::run;
pub use site::{Options, ProbeError, Scratch, Site};
pub use witness::{CpuWitness, VolumeWitness, Witness, WitnessError};
