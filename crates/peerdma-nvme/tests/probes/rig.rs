//! A simulated machine with drivers, on which routes are probed.

use peerdma::addr::{Address, Bdf, PhysAddr, Span};
use peerdma::block::Volume;
use peerdma::device::Host;
use peerdma::dma::{Ioas, PeerRoute, Routes, SingleThread, SpecRoutes, Translation};
use peerdma::iommu::Translations;
use peerdma::load::Wish;
use peerdma::memory::{CpuView, Memory, MemoryMap, Region};
use peerdma::plan::as_if;
use peerdma::probe::{
    CpuWitness, Judgement, Options, ProbeError, Promise, Report, Scratch, Site, Stage, VolumeWitness,
    Witness, WitnessError, run,
};
use peerdma::route::spec::Judge;
use peerdma::route::{Access, TlpClass};
use peerdma_nvme::{Controller, Options as DriverOptions, Queue, QueueOptions};
use peerdma_sim::blueprint::Blueprint;
use peerdma_sim::host::{Area, Computer, Difference, Pattern, PciFunction, State};
use peerdma_sim::machine::{self, FaultPlan};
use std::fs;
use std::path::Path;
use std::sync::Arc;

pub(crate) type Nvme = Controller<PciFunction, Computer, SingleThread>;
pub(crate) type Disk = Queue<PciFunction, Computer, SingleThread>;

pub(crate) fn shipped(name: &str) -> Blueprint {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../machines");
    let text = fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
    peerdma_sim::file::load(&text).unwrap()
}

/// One controller with its own address space: the initiator of a probe.
pub(crate) struct Rig {
    pub(crate) computer: Computer,
    pub(crate) map: MemoryMap,
    space: Arc<Ioas<SingleThread>>,
    pub(crate) bdf: Bdf,
    driver: Nvme,
    /// Other controllers, whose buffers are switched on.
    others: Vec<Nvme>,
    ram: Span<PhysAddr>,
}

const RAM_BYTES: u64 = 64 << 10;

impl Rig {
    pub(crate) fn named(blueprint: &Blueprint, name: &str, faults: FaultPlan) -> Self {
        let options = machine::Options {
            faults,
            ..machine::Options::default()
        };
        let computer = Computer::new(blueprint, options).unwrap();
        let bdf = computer.find(name).unwrap().bdf;
        let others = computer.find("nvme1").map(|other| other.bdf);
        Self::new(computer, bdf, others.as_slice()).unwrap()
    }

    /// Nothing where the controller cannot be driven.
    pub(crate) fn new(computer: Computer, bdf: Bdf, others: &[Bdf]) -> Option<Self> {
        let map = computer.memory_map();
        let judge = Judge::new(computer.topology());
        let routes = SpecRoutes::new(&judge);
        let all: Vec<Bdf> = others.iter().copied().filter(|other| *other != bdf).collect();
        let all = [&[bdf], &all[..]].concat();
        let translation = match computer.io_space(&all).ok()? {
            Some(space) => Translation::Translated(Box::new(space) as Box<dyn Translations>),
            None => Translation::Direct,
        };
        let space = Ioas::<SingleThread>::new(translation, map.clone(), &computer.reserved());
        let open = |bdf: Bdf| {
            space.add_initiator(computer.initiator(bdf)?, &routes).ok()?;
            let function = computer.function(bdf)?;
            let options = DriverOptions::default();
            let driver = Nvme::open(function, computer.clone(), space.mapper(bdf).ok()?, &options).ok()?;
            let base = driver.buffer().map(|buffer| buffer.own_base);
            space.set_own_base(bdf, base).ok()?;
            Some(driver)
        };
        let mut opened = all.iter().map(|bdf| open(*bdf));
        let driver = opened.next()??;
        let others: Vec<Nvme> = opened.flatten().collect();
        let first = computer.allocate(RAM_BYTES, 4096).ok()?;
        let ram = Span::new(first, first.checked_add(RAM_BYTES - 1)?).ok()?;
        Some(Self {
            map,
            space,
            bdf,
            driver,
            others,
            ram,
            computer,
        })
    }

    /// Memory of others that the CPU sees.
    pub(crate) fn memories(&self) -> Vec<(Region, Span<PhysAddr>)> {
        let mut found = Vec::new();
        for region in self.map.regions() {
            let Memory::Bar(bar) = region.memory else { continue };
            if bar.provider == self.bdf || bar.cpu == CpuView::None {
                continue;
            }
            let controller = self.others.iter().find(|other| other.bdf() == bar.provider);
            let is_controller = !self.computer.namespaces(bar.provider).is_empty();
            let span = match controller.and_then(|controller| controller.buffer()) {
                Some(buffer) => {
                    let last = buffer.span.last().min(region.span.last());
                    Span::new(buffer.span.first(), last).unwrap()
                }
                // What nobody has enabled is no memory.
                None if is_controller => continue,
                None => region.span,
            };
            found.push((*region, span));
        }
        found
    }

    /// A probe of the other controller's memory, which it looks at itself.
    pub(crate) fn probe_by_other(&self, options: &Options<'_>) -> Result<Report, ProbeError> {
        let other = &self.others[0];
        let ram = self.computer.allocate(RAM_BYTES, 4096).unwrap();
        let ram = Span::new(ram, ram.checked_add(RAM_BYTES - 1).unwrap()).unwrap();
        let mut its = self.disk_of(other);
        let mut witness = VolumeWitness::new(&self.computer, &mut its, (500, 64), ram);
        let mut site = Site {
            host: &self.computer,
            volume: &mut self.disk(),
            scratch: Scratch {
                lba: 1000,
                blocks: 128,
            },
            memory: other.buffer().unwrap().span,
            witness: &mut witness,
            ram: self.ram,
        };
        run(&mut site, options, &mut |_| Wish::GoOn)
    }

    pub(crate) fn memory_of(&self, name: &str) -> (Region, Span<PhysAddr>) {
        let provider = self.computer.find(name).unwrap().bdf;
        let of =
            |(region, _): &(Region, _)| matches!(region.memory, Memory::Bar(bar) if bar.provider == provider);
        self.memories().into_iter().find(of).unwrap()
    }

    /// Has the memory mapped for good.
    pub(crate) fn register(&self, region: &Region) {
        self.space.register(region.id).unwrap();
    }

    /// Where a region is mapped.
    pub(crate) fn translated(&self, region: &Region) -> (u64, u64) {
        let phys = region.span.first().to_u64();
        self.computer.with(|machine| {
            let mappings = machine.fabric().iommu().mappings();
            let mut of = mappings.filter(|mapped| region.span.contains(PhysAddr::from_u64(mapped.phys)));
            let mapped = of.next().unwrap();
            assert_eq!(mapped.phys, phys);
            (mapped.iova, mapped.iova + mapped.len_bytes - 1)
        })
    }

    /// Content that tells what is put back.
    pub(crate) fn fill(&self, region: &Region, memory: Span<PhysAddr>) {
        let Memory::Bar(bar) = region.memory else { panic!() };
        let into = memory.first().to_u64() - region.span.first().to_u64();
        let len = memory.len_bytes().unwrap();
        for (number, first) in [(1, 0), (2, len / 2), (3, len - len.min(128 << 10))] {
            let first = into + first - u64::from(number == 2) * (64 << 10).min(len / 2);
            let span = first..(first + len.min(128 << 10)).min(into + len);
            let pattern = Pattern::Seeded(number);
            (self
                .computer
                .fill_bar_memory(bar.provider, bar.bar, span, pattern))
            .unwrap();
        }
        let blocks = 900 * 512..1300 * 512;
        (self
            .computer
            .fill_namespace(self.bdf, 1, blocks, Pattern::Seeded(4)))
        .unwrap();
    }

    /// What of memory behind BARs, and of namespaces, is not as it was.
    pub(crate) fn changed(&self, since: &State) -> Vec<Difference> {
        let mut changed = since.differences(&self.computer.state());
        changed.retain(|difference| difference.area != Area::Ram);
        changed
    }

    pub(crate) fn disk(&self) -> Disk {
        self.disk_of(&self.driver)
    }

    fn disk_of(&self, driver: &Nvme) -> Disk {
        let mapper = self.space.mapper(driver.bdf()).unwrap();
        let options = QueueOptions {
            depth: 8,
            max_transfer_bytes: 64 << 10,
            timeout_ns: 200_000_000,
            ..QueueOptions::default()
        };
        driver.volume(1, mapper, &options).unwrap()
    }

    /// Do all parts of its BAR have one fate?
    pub(crate) fn is_of_one_piece(&self, region: &Region) -> bool {
        let Memory::Bar(bar) = region.memory else { panic!() };
        let topology = self.computer.topology();
        let provider = topology.find(bar.provider).unwrap();
        Judge::new(topology).seams(provider, bar.bar).is_empty()
    }

    /// What the specification's judge promises, and what overrides a refusal.
    pub(crate) fn promise(&self, region: &Region, access: Access) -> Promise {
        let Memory::Bar(bar) = region.memory else { panic!() };
        let judge = Judge::new(self.computer.topology());
        let class = TlpClass::Strict;
        let route = SpecRoutes::new(&judge).route(self.bdf, bar.provider, bar.bar, access, class);
        if let PeerRoute::Refused(_) = route {
            let (map_type, form) = as_if(self.computer.topology(), self.bdf, bar.provider);
            self.space.force(self.bdf, region.id, access, map_type, form);
        }
        Promise::from(route)
    }

    pub(crate) fn probe(
        &self,
        volume: &mut dyn Volume,
        memory: Span<PhysAddr>,
        options: &Options<'_>,
    ) -> Result<Report, ProbeError> {
        self.watched(volume, memory, options, &mut |_| Wish::GoOn)
    }

    pub(crate) fn watched(
        &self,
        volume: &mut dyn Volume,
        memory: Span<PhysAddr>,
        options: &Options<'_>,
        watch: &mut dyn FnMut(Stage) -> Wish,
    ) -> Result<Report, ProbeError> {
        let mut witness = CpuWitness::new(&self.computer, &self.map);
        self.witnessed(volume, (memory, &mut witness), options, watch)
    }

    pub(crate) fn witnessed(
        &self,
        volume: &mut dyn Volume,
        (memory, witness): (Span<PhysAddr>, &mut dyn Witness),
        options: &Options<'_>,
        watch: &mut dyn FnMut(Stage) -> Wish,
    ) -> Result<Report, ProbeError> {
        let mut site = Site {
            host: &self.computer,
            volume,
            scratch: Scratch {
                lba: 1000,
                blocks: 128,
            },
            memory,
            witness,
            ram: self.ram,
        };
        run(&mut site, options, watch)
    }

    /// What each direction says, compared with what was promised.
    pub(crate) fn judged(
        &self,
        region: &Region,
        memory: Span<PhysAddr>,
        options: &Options<'_>,
    ) -> Vec<(Promise, Judgement, Report)> {
        self.try_judged(region, memory, options).unwrap()
    }

    /// Nothing where the memory does not answer the CPU.
    pub(crate) fn try_judged(
        &self,
        region: &Region,
        memory: Span<PhysAddr>,
        options: &Options<'_>,
    ) -> Option<Vec<(Promise, Judgement, Report)>> {
        let mut judged = Vec::new();
        for access in Access::ALL {
            let promise = self.promise(region, access);
            let options = Options {
                accesses: &[access],
                ..options.clone()
            };
            let report = match self.probe(&mut self.disk(), memory, &options) {
                Err(ProbeError::Witness(WitnessError::NotMemory { .. })) => return None,
                report => report.unwrap(),
            };
            assert_eq!(report.not_restored, None);
            let judgement = Judgement::of(promise, &report.directions[0].outcome);
            judged.push((promise, judgement, report));
        }
        Some(judged)
    }
}
