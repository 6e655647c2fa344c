//! The functions that the process has taken.

use super::Process;
use super::bars::Face;
use super::sync::lock;
use super::{ProcessError, handle::common};
use crate::vfio::Backend;
use peerdma::addr::{Bdf, Iova, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// By address.
#[derive(Debug, Default)]
pub(super) struct Devices {
    members: BTreeMap<Bdf, Member>,
}

/// One function.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) backend: Arc<dyn Backend>,
}

impl Member {
    /// A function that is translated by an address space.
    pub(super) fn of(backend: Arc<dyn Backend>) -> Self {
        Self { backend }
    }
}

impl Devices {
    pub(super) fn backend(&self, bdf: Bdf) -> Option<Arc<dyn Backend>> {
        self.members.get(&bdf).map(|member| member.backend.clone())
    }

    /// The addresses that all of them can be given; nothing where none was taken.
    pub(super) fn apertures(&self) -> Option<Vec<Span<Iova>>> {
        common(self.members.values().map(|member| &member.backend))
    }
}

impl Process {
    /// Adds a function that is open, and its memory to the memory map; nothing was added where a part of that cannot be.
    pub(super) fn adopt(&self, bdf: Bdf, member: Member, bars: Vec<Face>) -> Result<(), ProcessError> {
        if self.shared.topology.find(bdf).is_none() {
            return Err(ProcessError::NoSuchFunction(bdf));
        }
        let mut regions = Vec::new();
        for bar in bars {
            match self.expose(bdf, bar) {
                Ok(region) => regions.push(region),
                Err(error) => {
                    for region in regions {
                        // They were added here, and nobody else knows them.
                        let _ = self.shared.registry.remove(region);
                    }
                    return Err(error);
                }
            }
        }
        lock(&self.shared.devices).members.insert(bdf, member);
        Ok(())
    }
}
