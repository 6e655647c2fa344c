//! The functions that the process has taken.

use super::bars::Face;
use super::handle::common;
use super::sync::lock;
use super::{Process, ProcessError};
use crate::vfio::{self, Backend, Device};
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
    /// Nothing in tests.
    device: Option<Device>,
    backend: Arc<dyn Backend>,
}

impl Member {
    /// A function that is translated by an address space.
    pub(super) fn of(device: Option<Device>, backend: Arc<dyn Backend>) -> Self {
        Self { device, backend }
    }
}

impl Devices {
    pub(super) fn backend(&self, bdf: Bdf) -> Option<Arc<dyn Backend>> {
        self.members.get(&bdf).map(|member| member.backend.clone())
    }

    pub(super) fn device(&self, bdf: Bdf) -> Option<Device> {
        self.members.get(&bdf)?.device.clone()
    }

    /// The addresses that all of them can be given; nothing where none was taken.
    pub(super) fn apertures(&self) -> Option<Vec<Span<Iova>>> {
        common(self.members.values().map(|member| &member.backend))
    }
}

impl Process {
    /// Opens functions by VFIO, and adds their prefetchable BARs to the memory map: a BAR of which reading has no side effects is memory. Of those
    /// that the process has already nothing changes.
    ///
    /// # Errors
    /// [`ProcessError::NoSuchFunction`]; [`ProcessError::Vfio`]: nothing was opened; [`ProcessError::Map`]: those before it were added.
    pub fn take(&self, functions: &[Bdf]) -> Result<(), ProcessError> {
        let unknown = functions
            .iter()
            .find(|bdf| self.shared.topology.find(**bdf).is_none());
        if let Some(bdf) = unknown {
            return Err(ProcessError::NoSuchFunction(*bdf));
        }
        // One at a time: a group is opened once, by whoever comes first.
        let _opening = lock(&self.shared.opening);
        let known: Vec<Device> = {
            let devices = lock(&self.shared.devices);
            let all = devices.members.values();
            all.filter_map(|member| member.device.clone()).collect()
        };
        let is_new = |bdf: &&Bdf| !known.iter().any(|device| device.bdf() == **bdf);
        let mut wanted: Vec<Bdf> = functions.iter().filter(is_new).copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        for (device, backend) in vfio::open_beside(&known, &wanted, self.shared.options.api)? {
            let mut faces = Vec::new();
            for info in device.bars().iter().filter(|info| info.prefetchable) {
                faces.extend(self.faces(&device, info, 0..info.len_bytes())?);
            }
            self.adopt(device.bdf(), Member::of(Some(device), backend), faces)?;
        }
        Ok(())
    }

    /// Gives a function back, and takes its memory out of the memory map; does nothing where it was not taken. It is closed once nobody has it any
    /// more: no [`vfio::Function`], and no address space that maps memory of it.
    pub fn release(&self, bdf: Bdf) {
        let member = lock(&self.shared.devices).members.remove(&bdf);
        if member.is_some() {
            self.shared.registry.remove_all_of(bdf);
        }
    }

    /// A function that was taken, as a driver has it.
    pub fn function(&self, bdf: Bdf) -> Option<vfio::Function> {
        self.device(bdf).map(vfio::Function::new)
    }

    /// A function that was taken.
    pub fn device(&self, bdf: Bdf) -> Option<Device> {
        lock(&self.shared.devices).device(bdf)
    }

    /// Adds a function that is open, and its memory to the memory map; nothing was added where a part of that cannot be.
    pub(super) fn adopt(&self, bdf: Bdf, member: Member, faces: Vec<Face>) -> Result<(), ProcessError> {
        self.expose_all(bdf, faces)?;
        lock(&self.shared.devices).members.insert(bdf, member);
        Ok(())
    }
}
