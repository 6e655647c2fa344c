//! A simulated machine that is switched on, and the drivers of the controllers that a copy needs.

use super::end::End;
use crate::error::Problem;
use peerdma::addr::{Address, Bdf, PhysAddr, Span};
use peerdma::device::Host;
use peerdma::dma::{Ioas, Mapper, SingleThread, SpecRoutes, Translation};
use peerdma::memory::{BarMemory, Memory, MemoryMap, RegionId};
use peerdma::plan::{Crossing, DeviceMemory, Reach};
use peerdma::route::spec;
use peerdma_nvme::{Buffer, Controller, Options, Queue, QueueOptions};
use peerdma_sim::host::{Computer, PciFunction};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

/// A queue to a namespace.
pub(super) type Volume = Queue<PciFunction, Computer, SingleThread>;
type Driver = Controller<PciFunction, Computer, SingleThread>;

/// A machine with drivers.
pub(super) struct Rig {
    // In the order in which they go: controllers stop before their address spaces go.
    drivers: BTreeMap<Bdf, Driver>,
    spaces: BTreeMap<Bdf, Arc<Ioas<SingleThread>>>,
    pub(super) map: MemoryMap,
    pub(super) computer: Computer,
}

impl Rig {
    /// Takes these controllers into use, each in an I/O address space of its own, or of its IOMMU group.
    ///
    /// # Errors
    /// A [`Problem`] where one does not work.
    pub(super) fn new(
        computer: &Computer,
        judge: &spec::Judge<'_>,
        controllers: &[Bdf],
    ) -> Result<Self, Problem> {
        let mut rig = Self {
            drivers: BTreeMap::new(),
            spaces: BTreeMap::new(),
            map: computer.memory_map(),
            computer: computer.clone(),
        };
        for bdf in controllers {
            rig.add_space(*bdf, controllers, judge)?;
        }
        for bdf in controllers {
            if !rig.drivers.contains_key(bdf) {
                rig.open(*bdf)?;
            }
        }
        Ok(rig)
    }

    fn add_space(&mut self, bdf: Bdf, all: &[Bdf], judge: &spec::Judge<'_>) -> Result<(), Problem> {
        if self.spaces.contains_key(&bdf) {
            return Ok(());
        }
        let bad = |why: &dyn Display| not_driven(bdf, why);
        let space = self.computer.io_space(&[bdf]).map_err(|error| bad(&error))?;
        let (translation, members) = match space {
            None => (Translation::Direct, vec![bdf]),
            Some(space) => {
                let members = space.requesters().filter(|one| all.contains(one)).collect();
                (Translation::Translated(Box::new(space) as _), members)
            }
        };
        let ioas = Ioas::<SingleThread>::new(translation, self.map.clone(), &self.computer.reserved());
        for member in members {
            let Some(initiator) = self.computer.initiator(member) else {
                return Err(bad(&"the machine has no such function"));
            };
            (ioas.add_initiator(initiator, &SpecRoutes::new(judge))).map_err(|error| bad(&error))?;
            self.spaces.insert(member, ioas.clone());
        }
        Ok(())
    }

    fn open(&mut self, bdf: Bdf) -> Result<(), Problem> {
        let bad = |why: &dyn Display| not_driven(bdf, why);
        let Some(function) = self.computer.function(bdf) else {
            return Err(bad(&"the machine has no such function"));
        };
        let options = Options::default();
        let driver = Driver::open(function, self.computer.clone(), self.mapper(bdf)?, &options);
        let driver = driver.map_err(|error| bad(&error))?;
        if let Some(buffer) = driver.buffer() {
            let base = self.space(bdf)?.set_own_base(bdf, Some(buffer.own_base));
            base.map_err(|error| bad(&error))?;
        }
        self.drivers.insert(bdf, driver);
        Ok(())
    }

    fn space(&self, bdf: Bdf) -> Result<&Arc<Ioas<SingleThread>>, Problem> {
        let space = self.spaces.get(&bdf);
        space.ok_or_else(|| not_driven(bdf, &"it was not taken into use"))
    }

    /// A handle to map memory for a controller.
    ///
    /// # Errors
    /// A [`Problem`] where there can be none.
    pub(super) fn mapper(&self, bdf: Bdf) -> Result<Mapper<SingleThread>, Problem> {
        let mapper = self.space(bdf)?.mapper(bdf);
        mapper.map_err(|error| not_driven(bdf, &error))
    }

    /// A queue to a namespace.
    ///
    /// # Errors
    /// A [`Problem`] where the controller gives none.
    pub(super) fn volume(&self, end: &End, options: &QueueOptions) -> Result<Volume, Problem> {
        let driver = self.drivers.get(&end.controller);
        let driver = driver.ok_or_else(|| not_driven(end.controller, &"it was not taken into use"))?;
        let volume = driver.volume(end.namespace, self.mapper(end.controller)?, options);
        volume.map_err(|error| {
            Problem::new(
                format_args!("{} cannot be used", end.name),
                error,
                "look at the namespace in the machine file",
            )
        })
    }

    /// The memory of a controller that others may use as well.
    pub(super) fn buffer(&self, bdf: Bdf) -> Option<(DeviceMemory, Buffer)> {
        let buffer = *self.drivers.get(&bdf)?.buffer()?;
        let memory = self.device_memory(buffer.span.first())?;
        let free = Span::new(buffer.span.first(), buffer.span.last().min(memory.free.last())).ok()?;
        Some((DeviceMemory { free, ..memory }, buffer))
    }

    /// Memory of devices that need no driver. Controllers that are not driven may not have enabled theirs.
    pub(super) fn others(&self) -> Vec<DeviceMemory> {
        let others = self
            .map
            .regions()
            .iter()
            .filter_map(|region| match region.memory {
                Memory::Bar(bar) if self.computer.namespaces(bar.provider).is_empty() => {
                    Some(of_region(&bar, region.span))
                }
                Memory::Bar(_) | Memory::Ram => None,
            });
        others.collect()
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
    pub(super) fn force(&self, crossings: &[Crossing], slots_at: PhysAddr) -> Result<(), Problem> {
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
    pub(super) fn ram(&self, most_bytes: u64, least_bytes: u64) -> Result<Ram, Problem> {
        const PAGE_BYTES: u64 = 4096;
        let mut len_bytes = most_bytes.max(least_bytes);
        let mut first = self.computer.allocate(len_bytes, PAGE_BYTES);
        while first.is_err() && len_bytes > least_bytes {
            len_bytes = (len_bytes / 2).max(least_bytes);
            first = self.computer.allocate(len_bytes, PAGE_BYTES);
        }
        let first = first.map_err(|error| {
            Problem::new(
                "the machine has too little RAM for this copy",
                error,
                "take smaller pieces (--chunk) or fewer (--queue-depth), or give the machine more RAM",
            )
        })?;
        let last = first.checked_add(len_bytes.saturating_sub(1)).unwrap_or(first);
        let span = Span::new(first, last);
        Ok(Ram {
            span: span.map_err(|error| not_driven_ram(&error))?,
            computer: self.computer.clone(),
        })
    }

    /// Stops all controllers.
    ///
    /// # Errors
    /// A [`Problem`] where one leaves something mapped.
    pub(super) fn close(mut self) -> Result<(), Problem> {
        while let Some((bdf, driver)) = self.drivers.pop_first() {
            driver.close().map_err(|error| not_driven(bdf, &error))?;
        }
        Ok(())
    }
}

/// RAM that goes back when it is dropped.
pub(super) struct Ram {
    pub(super) span: Span<PhysAddr>,
    computer: Computer,
}

impl Drop for Ram {
    fn drop(&mut self) {
        self.computer.free(self.span.first());
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

fn not_driven(bdf: Bdf, why: &dyn Display) -> Problem {
    Problem::new(
        format_args!("the controller {bdf} cannot be driven"),
        why,
        "look at it with `peerdma topo -v`: memory and bus mastering must be on, its link up, its payload no larger than the ports above take",
    )
}

fn not_driven_ram(why: &dyn Display) -> Problem {
    Problem::new("the machine gave no RAM", why, "give it more RAM")
}
