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

    /// The functions.
    pub(super) fn taken(&self) -> impl Iterator<Item = Bdf> + '_ {
        self.members.keys().copied()
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
    /// All of them or none, with all of that memory: who plans a transfer by what was taken must not find out by a failing one that a part is
    /// missing. Where a BAR is more than the process can map or place, [`Self::take_without_memory`] takes its function, too.
    ///
    /// # Errors
    /// [`ProcessError::NoSuchFunction`], [`ProcessError::Vfio`], [`ProcessError::BarNotMapped`], [`ProcessError::Map`]; nothing was taken.
    pub fn take(&self, functions: &[Bdf]) -> Result<(), ProcessError> {
        self.take_with(functions, |device| {
            let mut faces = Vec::new();
            for info in device.bars().iter().filter(|info| info.prefetchable) {
                faces.extend(self.faces(device, info, 0..info.len_bytes())?);
            }
            Ok(faces)
        })
    }

    /// Opens functions by VFIO, and adds no memory of theirs to the memory map; [`Self::add_bar`] does. Of those that the process has already nothing
    /// changes.
    ///
    /// # Errors
    /// [`ProcessError::NoSuchFunction`], [`ProcessError::Vfio`]; nothing was taken.
    pub fn take_without_memory(&self, functions: &[Bdf]) -> Result<(), ProcessError> {
        self.take_with(functions, |_| Ok(Vec::new()))
    }

    fn take_with(
        &self,
        functions: &[Bdf],
        memory: impl Fn(&Device) -> Result<Vec<Face>, ProcessError>,
    ) -> Result<(), ProcessError> {
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
        let mut taken = Vec::new();
        for (device, backend) in vfio::open_beside(&known, &wanted, self.shared.options.api)? {
            let faces = memory(&device)?;
            taken.push((device.bdf(), Member::of(Some(device), backend), faces));
        }
        self.adopt_all(taken)
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

    /// Adds functions that are open, and their memory to the memory map; none where a part of that cannot be.
    pub(super) fn adopt_all(&self, functions: Vec<(Bdf, Member, Vec<Face>)>) -> Result<(), ProcessError> {
        let (mut regions, mut members) = (Vec::new(), Vec::new());
        for (bdf, member, faces) in functions {
            match self.expose_all(bdf, faces) {
                Ok(exposed) => regions.extend(exposed),
                Err(error) => {
                    self.withdraw(regions);
                    return Err(error);
                }
            }
            members.push((bdf, member));
        }
        lock(&self.shared.devices).members.extend(members);
        Ok(())
    }
}
