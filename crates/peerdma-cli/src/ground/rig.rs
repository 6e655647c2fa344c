//! Drivers on a ground: an address space for every initiator, a driver for every controller, RAM, and volumes on them.

use super::meter::Meter;
use super::volume::Inner;
use super::{End, EndVolume, Ground, Place, Sort, mend};
use crate::error::Problem;
use peerdma::addr::{Address, Bdf, PhysAddr, Span};
use peerdma::dma::{Ioas, Mapper, Routes, SingleThread};
use peerdma::memory::{BarMemory, Memory, MemoryMap, RegionId};
use peerdma::plan::{Crossing, DeviceMemory, Reach};
use peerdma_nvme::{Buffer, Cause, Controller, Options, QueueOptions};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

type Driver<G> = Controller<<G as Ground>::Function, G, SingleThread>;

/// A machine with drivers.
pub(crate) struct Rig<G: Ground> {
    // In the order in which they go: controllers stop before their address spaces go.
    drivers: BTreeMap<Bdf, Driver<G>>,
    spaces: BTreeMap<Bdf, Arc<Ioas<SingleThread>>>,
    map: MemoryMap,
    ground: G,
}

impl<G: Ground> Rig<G> {
    /// Takes all that is used into use: every initiator has an I/O address space of its own, or of its IOMMU group, and controllers are
    /// started.
    ///
    /// # Errors
    /// A [`Problem`] where one does not work.
    pub(crate) fn new(
        ground: &G,
        routes: &dyn Routes,
        initiators: &[Bdf],
        controllers: &[Bdf],
    ) -> Result<Self, Problem> {
        let mut rig = Self {
            drivers: BTreeMap::new(),
            spaces: BTreeMap::new(),
            map: ground.memory_map(),
            ground: ground.clone(),
        };
        for bdf in initiators {
            rig.add_space(*bdf, initiators, routes)?;
        }
        for bdf in controllers {
            if !rig.drivers.contains_key(bdf) {
                rig.open(*bdf)?;
            }
        }
        Ok(rig)
    }

    /// The machine.
    pub(crate) fn ground(&self) -> &G {
        &self.ground
    }

    fn add_space(&mut self, bdf: Bdf, all: &[Bdf], routes: &dyn Routes) -> Result<(), Problem> {
        if self.spaces.contains_key(&bdf) {
            return Ok(());
        }
        let bad = |why: &dyn Display| not_driven(bdf, G::SORT, why);
        let foreign = self.ground.foreign_space(bdf, &self.map, routes);
        if let Some(space) = foreign.map_err(|why| bad(&why))? {
            self.spaces.insert(bdf, space);
            return Ok(());
        }
        let space = self.ground.address_space(bdf).map_err(|why| bad(&why))?;
        let ioas = Ioas::<SingleThread>::new(space.translation, self.map.clone(), &self.ground.reserved());
        for member in space.members.into_iter().filter(|one| all.contains(one)) {
            let Some(initiator) = self.ground.initiator(member) else {
                return Err(bad(&"the machine has no such function"));
            };
            (ioas.add_initiator(initiator, routes)).map_err(|error| bad(&error))?;
            self.spaces.insert(member, ioas.clone());
        }
        Ok(())
    }

    fn open(&mut self, bdf: Bdf) -> Result<(), Problem> {
        let bad = |why: &dyn Display| not_driven(bdf, G::SORT, why);
        let function = self.ground.function(bdf).map_err(|why| bad(&why))?;
        let options = Options::default();
        let driver = Driver::<G>::open(function, self.ground.clone(), self.mapper(bdf)?, &options);
        let driver = driver.map_err(|error| {
            let problem = Problem {
                fix: mend::of_controller(&error, G::SORT).to_owned(),
                ..bad(&error)
            };
            self.explained(problem, &error.cause)
        })?;
        if let Some(buffer) = driver.buffer() {
            let base = self.space(bdf)?.set_own_base(bdf, Some(buffer.own_base));
            base.map_err(|error| bad(&error))?;
        }
        self.drivers.insert(bdf, driver);
        Ok(())
    }

    /// The address space of an initiator.
    ///
    /// # Errors
    /// A [`Problem`] where it was not taken into use.
    pub(crate) fn space(&self, bdf: Bdf) -> Result<&Arc<Ioas<SingleThread>>, Problem> {
        let space = self.spaces.get(&bdf);
        space.ok_or_else(|| not_driven(bdf, G::SORT, &"it was not taken into use"))
    }

    /// A controller's driver, where it has one.
    pub(crate) fn driver(&self, bdf: Bdf) -> Option<&Driver<G>> {
        self.drivers.get(&bdf)
    }

    /// A handle to map memory for a controller.
    ///
    /// # Errors
    /// A [`Problem`] where there can be none.
    pub(crate) fn mapper(&self, bdf: Bdf) -> Result<Mapper<SingleThread>, Problem> {
        let mapper = self.space(bdf)?.mapper(bdf);
        mapper.map_err(|error| not_driven(bdf, G::SORT, &error))
    }

    /// A volume of an end.
    ///
    /// # Errors
    /// A [`Problem`] where the controller gives none, or it cannot be opened.
    pub(crate) fn volume(&self, end: &End, options: &QueueOptions) -> Result<EndVolume<G>, Problem> {
        let space = self.space(end.initiator)?;
        let inner = match end.place {
            Place::Own(_) => Inner::Own(self.ground.open(end, space, options.depth)?),
            Place::Namespace(namespace) => {
                let driver = self.drivers.get(&end.initiator);
                let driver =
                    driver.ok_or_else(|| not_driven(end.initiator, G::SORT, &"it was not taken into use"))?;
                let volume = driver.volume(namespace, self.mapper(end.initiator)?, options);
                let volume = volume.map_err(|error| {
                    let usual = G::SORT.mend_namespace();
                    let fix = match &error.cause {
                        Cause::Map(error) => mend::of_map(error, G::SORT).unwrap_or(usual),
                        Cause::Dead(_) | Cause::AdminLost { .. } | Cause::Removed => {
                            mend::of_controller(&error, G::SORT)
                        }
                        _ => usual,
                    };
                    let problem = Problem::new(format_args!("{} cannot be used", end.name), &error, fix);
                    self.explained(problem, &error.cause)
                })?;
                Inner::Queue(Box::new(volume))
            }
        };
        let moved = self.ground.moved();
        let meter = moved.map(|moved| Meter::new(moved, space.clone(), end.initiator));
        Ok(EndVolume::new(inner, meter))
    }

    fn explained(&self, problem: Problem, cause: &Cause) -> Problem {
        match cause {
            Cause::Map(error) => mend::explained(problem, error, self.ground.refused()),
            _ => problem,
        }
    }

    /// The memory of a controller that others may use as well.
    pub(crate) fn buffer(&self, bdf: Bdf) -> Option<(DeviceMemory, Buffer)> {
        let buffer = *self.drivers.get(&bdf)?.buffer()?;
        let memory = self.device_memory(buffer.span.first())?;
        let free = Span::new(buffer.span.first(), buffer.span.last().min(memory.free.last())).ok()?;
        Some((DeviceMemory { free, ..memory }, buffer))
    }

    fn device_memory(&self, at: PhysAddr) -> Option<DeviceMemory> {
        let region = self.map.find(at)?;
        match region.memory {
            Memory::Bar(bar) => Some(of_region(&bar, region.span)),
            Memory::Ram => None,
        }
    }

    /// Overrides the refusals that a plan overrides.
    ///
    /// # Errors
    /// A [`Problem`] where a device is not driven.
    pub(crate) fn force(&self, crossings: &[Crossing], slots_at: PhysAddr) -> Result<(), Problem> {
        let region: Option<RegionId> = self.map.find(slots_at).map(|region| region.id);
        for crossing in crossings.iter().filter(|crossing| crossing.forced.is_some()) {
            if let (Some(region), Reach::Peer { map_type, form, .. }) = (region, crossing.reach) {
                self.space(crossing.initiator)?.force(
                    crossing.initiator,
                    region,
                    crossing.operation,
                    map_type,
                    form,
                );
            }
        }
        Ok(())
    }

    /// RAM for devices: `most_bytes`, or half of it and so on, but no less than `least_bytes`.
    ///
    /// # Errors
    /// A [`Problem`] where the machine has not so much.
    pub(crate) fn ram(&self, most_bytes: u64, least_bytes: u64) -> Result<Ram<G>, Problem> {
        const PAGE_BYTES: u64 = 4096;
        let mut len_bytes = most_bytes.max(least_bytes);
        let mut first = self.ground.allocate(len_bytes, PAGE_BYTES);
        while first.is_err() && len_bytes > least_bytes {
            len_bytes = (len_bytes / 2).max(least_bytes);
            first = self.ground.allocate(len_bytes, PAGE_BYTES);
        }
        let first = first.map_err(|error| {
            Problem::new(
                "the machine has too little RAM for what is asked",
                error,
                G::SORT.mend_ram(),
            )
        })?;
        let last = first.checked_add(len_bytes.saturating_sub(1)).unwrap_or(first);
        let span = Span::new(first, last);
        Ok(Ram {
            span: span.map_err(|error| no_ram(&error))?,
            ground: self.ground.clone(),
        })
    }

    /// Controllers that somebody else has reset, or that do not answer.
    pub(crate) fn disturbed(&self) -> Vec<Bdf> {
        let disturbed = self.drivers.iter().filter(|(_, driver)| driver.was_disturbed());
        disturbed.map(|(bdf, _)| *bdf).collect()
    }

    /// Stops all controllers.
    ///
    /// # Errors
    /// A [`Problem`] where one leaves something mapped.
    pub(crate) fn close(mut self) -> Result<(), Problem> {
        while let Some((bdf, driver)) = self.drivers.pop_first() {
            driver.close().map_err(|error| not_driven(bdf, G::SORT, &error))?;
        }
        Ok(())
    }
}

/// RAM that goes back when it is dropped.
pub(crate) struct Ram<G: Ground> {
    pub(crate) span: Span<PhysAddr>,
    ground: G,
}

impl<G: Ground> Drop for Ram<G> {
    fn drop(&mut self) {
        self.ground.free(self.span.first());
    }
}

fn of_region(bar: &BarMemory, free: Span<PhysAddr>) -> DeviceMemory {
    DeviceMemory {
        provider: bar.provider,
        bar: bar.bar,
        free,
        cpu: bar.cpu,
    }
}

fn not_driven(bdf: Bdf, sort: Sort, why: &dyn Display) -> Problem {
    Problem::new(
        format_args!("the controller {bdf} cannot be driven"),
        why,
        sort.mend_controller(),
    )
}

fn no_ram(why: &dyn Display) -> Problem {
    Problem::new("the machine gave no RAM", why, "give it more RAM")
}
