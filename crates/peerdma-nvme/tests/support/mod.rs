//! A machine with an address space, and controllers opened on it.
#![allow(dead_code, reason = "each test uses a part of it")]

use peerdma::addr::{Address, Bdf, Origin, PhysAddr, PhysVec};
use peerdma::block::{Bio, Data, Done, Operation, Volume};
use peerdma::device::Host;
use peerdma::dma::{Ioas, SingleThread, SpecRoutes, Translation};
use peerdma::iommu::Translations;
use peerdma::memory::{Memory, Region};
use peerdma::route::spec::Judge;
use peerdma_nvme::{Controller, Error, Options, Queue, QueueOptions};
use peerdma_sim::blueprint::Blueprint;
use peerdma_sim::file;
use peerdma_sim::host::{Computer, PciFunction};
use peerdma_sim::machine::{self, FaultPlan};
use std::path::Path;
use std::sync::Arc;

pub(crate) type Nvme = Controller<PciFunction, Computer, SingleThread>;
pub(crate) type Disk = Queue<PciFunction, Computer, SingleThread>;

pub(crate) struct Rig {
    pub(crate) computer: Computer,
    pub(crate) ioas: Arc<Ioas<SingleThread>>,
}

pub(crate) fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../machines")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

impl Rig {
    pub(crate) fn new(machine: &str) -> Self {
        Self::with_faults(machine, FaultPlan::default())
    }

    pub(crate) fn with_faults(machine: &str, faults: FaultPlan) -> Self {
        Self::of_text(&shipped(machine), faults)
    }

    pub(crate) fn of_text(text: &str, faults: FaultPlan) -> Self {
        let blueprint: Blueprint = file::load(text).unwrap();
        let options = machine::Options {
            faults,
            ..machine::Options::default()
        };
        let computer = Computer::new(&blueprint, options).unwrap();
        let devices = ["nvme0", "nvme1"].map(|name| computer.find(name).unwrap().bdf);
        let boxed = |space| Box::new(space) as Box<dyn Translations>;
        let translation = match computer.io_space(&devices).unwrap().map(boxed) {
            Some(space) => Translation::Translated(space),
            None => Translation::Direct,
        };
        let ioas = Ioas::new(translation, computer.memory_map(), &computer.reserved());
        let judge = Judge::new(computer.topology());
        for bdf in devices {
            let initiator = computer.initiator(bdf).unwrap();
            ioas.add_initiator(initiator, &SpecRoutes::new(&judge)).unwrap();
        }
        Self { computer, ioas }
    }

    pub(crate) fn bdf(&self, name: &str) -> Bdf {
        self.computer.find(name).unwrap().bdf
    }

    pub(crate) fn try_open(&self, name: &str, options: &Options) -> Result<Nvme, Error> {
        let bdf = self.bdf(name);
        let function = self.computer.function(bdf).unwrap();
        let mapper = self.ioas.mapper(bdf).unwrap();
        let controller = Controller::open(function, self.computer.clone(), mapper, options)?;
        let own_base = controller.buffer().map(|buffer| buffer.own_base);
        self.ioas.set_own_base(bdf, own_base).unwrap();
        Ok(controller)
    }

    pub(crate) fn open(&self, name: &str) -> Nvme {
        self.try_open(name, &Options::default()).unwrap()
    }

    pub(crate) fn try_disk(&self, controller: &Nvme, options: &QueueOptions) -> Result<Disk, Error> {
        let mapper = self.ioas.mapper(controller.bdf()).unwrap();
        controller.volume(1, mapper, options)
    }

    pub(crate) fn disk(&self, controller: &Nvme, options: &QueueOptions) -> Disk {
        self.try_disk(controller, options).unwrap()
    }

    /// RAM that is registered.
    pub(crate) fn ram(&self, len_bytes: u64) -> PhysAddr {
        self.computer.allocate(len_bytes, 4096).unwrap()
    }

    /// The memory of a controller's buffer.
    pub(crate) fn buffer_region(&self, name: &str) -> Region {
        let bdf = self.bdf(name);
        let of_it = |region: &&Region| match region.memory {
            Memory::Bar(memory) => memory.provider == bdf,
            Memory::Ram => false,
        };
        *self.ioas.map_snapshot().regions().iter().find(of_it).unwrap()
    }

    pub(crate) fn read_memory(&self, name: &str, offset: u64, into: &mut [u8]) {
        let region = self.buffer_region(name);
        let Memory::Bar(memory) = region.memory else {
            panic!()
        };
        let bdf = self.bdf(name);
        self.computer
            .read_bar_memory(bdf, memory.bar, offset, into)
            .unwrap();
    }

    /// Nothing is allocated, nothing is mapped.
    pub(crate) fn assert_clean(&self) {
        let state = self.computer.state();
        assert_eq!(state.allocations(), []);
        assert_eq!(state.mappings(), []);
        for region in self.ioas.map_snapshot().regions() {
            self.ioas.begin_revoke(region.id);
            assert_eq!(self.ioas.finish_revoke(region.id), Ok(()));
        }
    }
}

pub(crate) fn piece(at: PhysAddr, offset: u64, len_bytes: u64) -> PhysVec {
    let at = at.checked_add(offset).unwrap();
    PhysVec::new(at, len_bytes as u32, Origin::LookUp).unwrap()
}

pub(crate) fn bio(operation: Operation, lba: u64, blocks: u32, vector: Vec<PhysVec>) -> Bio {
    Bio {
        operation,
        lba,
        blocks,
        data: Data::Vector(vector),
    }
}

pub(crate) fn flush() -> Bio {
    Bio {
        operation: Operation::Flush,
        lba: 0,
        blocks: 0,
        data: Data::None,
    }
}

/// Polls until nothing is under way.
pub(crate) fn drain(rig: &Rig, disk: &mut Disk) -> Vec<Done> {
    let mut ended = Vec::new();
    let mut polls = 0_u64;
    while disk.under_way() > 0 {
        let _ = disk.poll(&mut |done| ended.push(done));
        if disk.under_way() > 0 {
            rig.computer.relax();
        }
        polls += 1;
        assert!(polls < 10_000_000, "it hangs");
    }
    ended
}

/// Does one operation.
pub(crate) fn run(rig: &Rig, disk: &mut Disk, bio: Bio) -> Done {
    assert_eq!(disk.submit(bio).map_err(|rejected| rejected.why).err(), None);
    let mut ended = drain(rig, disk);
    assert_eq!(ended.len(), 1);
    ended.remove(0)
}

/// Bytes that tell places apart.
pub(crate) fn pattern(seed: u64, len_bytes: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut step = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..len_bytes).map(|_| step()).collect()
}
