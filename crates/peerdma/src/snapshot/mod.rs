//! A machine as pure data: what discovery yields, what a bug report carries, what tests replay.
//!
//! A [`Snapshot`] is a [`Host`] (processor, kernel, IOMMU) and its [`Function`]s in the order of
//! their addresses. It holds what a source told and nothing else; deriving (who sits below whom, who
//! may reach whom) is left to [`crate::topology`] and [`crate::route`].

mod bars;
mod function;
#[cfg(feature = "serde")]
mod hex_bytes;
mod host;
mod host_bridge;
mod kernel;
mod nature;
mod os;
mod warning;

pub use bars::BarFacts;
pub use function::Function;
pub use host::{Cpu, Host, IommuMode, ParseCpuError, ParseIommuModeError};
pub use host_bridge::{Forwarding, HostBridge, HostWindow};
pub use kernel::{KernelVersion, ParseKernelVersionError};
pub use nature::{Nature, Siblings};
pub use os::{IommuGroup, Os, P2pmem, Resource};
pub use warning::{Warning, Warnings};

use crate::addr::Bdf;
use alloc::vec::Vec;

/// A machine as a source told it.
///
/// It can be serialised, and is read back through [`Snapshot::new`], so that what holds of its list of
/// functions holds whatever a file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Snapshot {
    /// What is known of processor, kernel and IOMMU.
    pub host: Host,
    /// The functions, sorted by address, no address twice.
    functions: Vec<Function>,
}

impl Snapshot {
    /// Builds a snapshot; sorts the functions and warns of addresses that come twice.
    ///
    /// Of two functions with one address none can be trusted: the first is kept, and all that its
    /// configuration space would tell becomes unknown.
    pub fn new(host: Host, mut functions: Vec<Function>, warnings: &mut Warnings) -> Self {
        functions.sort_by_key(|function| function.bdf);
        functions.dedup_by(|later, first| {
            let same = later.bdf == first.bdf;
            if same {
                first.contradict();
                warnings.push(
                    first.bdf,
                    "the source describes two functions at this address; all facts about it are unknown",
                );
            }
            same
        });
        Self { host, functions }
    }

    /// The functions, sorted by address, no address twice.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// Changes facts of every function in place. The address stays what it was: the order hangs on it.
    pub fn edit(&mut self, mut change: impl FnMut(&mut Function)) {
        for function in &mut self.functions {
            let bdf = function.bdf;
            change(function);
            function.bdf = bdf;
        }
    }

    /// The position of the function at `bdf` in [`Self::functions`].
    pub fn position(&self, bdf: Bdf) -> Option<usize> {
        self.functions
            .binary_search_by_key(&bdf, |function| function.bdf)
            .ok()
    }
}
