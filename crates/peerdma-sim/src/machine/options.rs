//! How a machine is to be run: what is not part of the machine itself.

use super::fault::FaultPlan;
use super::trace::Sink;
use crate::memory::Banks;

/// How a [`Machine`](super::Machine) is to be run.
#[derive(Debug)]
pub struct Options {
    /// How transfers are carried out.
    pub gear: Gear,
    /// What goes wrong.
    pub faults: FaultPlan,
    /// Who is told of every TLP.
    pub trace: Option<Box<dyn Sink>>,
    /// Takes the place of the seed in the blueprint's nature.
    pub seed: Option<u64>,
    /// What all memory of the machine may hold together.
    pub memory_budget_bytes: u64,
    /// Whether files are opened that the machine's description names.
    pub files: Files,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            gear: Gear::Batched,
            faults: FaultPlan::default(),
            trace: None,
            seed: None,
            memory_budget_bytes: Banks::DEFAULT_BUDGET_BYTES,
            files: Files::Refuse,
        }
    }
}

/// What becomes of a machine whose namespaces are to be in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Files {
    /// It cannot be had: a description may come from anybody, and could name any file.
    #[default]
    Refuse,
    /// They are opened for reading and writing.
    Open,
}

/// How transfers are carried out. Times, counters, outcomes and memory are the same in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Gear {
    /// Every TLP apart, each routed anew.
    Tlp,
    /// As far as nothing can interfere, TLPs that take the same way are routed once and their bytes are moved
    /// together. With a trace, or a fault plan that picks single TLPs, it is as [`Self::Tlp`].
    #[default]
    Batched,
}
