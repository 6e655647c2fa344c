//! Two volumes, a plan between them, and a copy carried out to its end.

use crate::fake::{BANK_BYTES, BAR, Fake, Fault, RAM, Shared, World, bdf};
use peerdma::addr::{Address, Bdf, PhysAddr, Span};
use peerdma::block::Volume;
use peerdma::dma::{PeerRoute, Routes};
use peerdma::engine::{Copy, Counts, Job, Progress};
use peerdma::memory::CpuView;
use peerdma::plan::{self, CopyPlan, Demands, DeviceMemory, End, OwnData, QueueNeeds, Shape, Situation};
use peerdma::route::bandwidth::Estimator;
use peerdma::route::spec::Form;
use peerdma::route::{Access, MapType, TlpClass};
use peerdma::snapshot::{Snapshot, Warnings};
use peerdma::topology::Topology;

pub(crate) const SOURCE: &str = "0000:01:00.0";
pub(crate) const DESTINATION: &str = "0000:02:00.0";

/// A way to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Store,
    Load,
    ViaRam,
}

/// A case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) way: Way,
    /// Bytes of a block of both ends.
    pub(crate) blocks: [u32; 2],
    pub(crate) chunk_bytes: u32,
    pub(crate) depth: u32,
    pub(crate) job: Job,
}

pub(crate) struct Rig {
    pub(crate) world: Shared,
    pub(crate) source: Fake,
    pub(crate) destination: Fake,
    pub(crate) plan: CopyPlan,
}

pub(crate) const MEDIUM_BYTES: u64 = 256 << 10;

pub(crate) struct Everywhere;

impl Routes for Everywhere {
    fn route(&self, _: Bdf, _: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
        PeerRoute::Reached {
            map_type: MapType::BusAddr,
            form: Form::BusAddress,
        }
    }
}

pub(crate) fn span(first: u64, len: u64) -> Span<PhysAddr> {
    Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(first + len - 1)).unwrap()
}

impl Rig {
    pub(crate) fn new(case: &Case, fault: Option<(u64, Fault)>) -> Self {
        let world = World::new(case.seed, fault);
        let [from, to] = case.blocks;
        let mut source = Fake::new("source", &world, SOURCE, from, MEDIUM_BYTES / u64::from(from));
        let destination = Fake::new(
            "destination",
            &world,
            DESTINATION,
            to,
            MEDIUM_BYTES / u64::from(to),
        );
        source.fill(case.seed);
        match case.way {
            Way::Store => source = source.completing_at(BAR),
            Way::Load => source = source.owning_bar(),
            Way::ViaRam => {}
        }
        let plan = choose(case, &source, &destination);
        Self {
            world,
            source,
            destination,
            plan,
        }
    }

    pub(crate) fn copy(&self, job: Job) -> Copy {
        Copy::new(&self.plan, job, &self.source, &self.destination).unwrap()
    }

    /// Polls until it has ended.
    pub(crate) fn run(&mut self, copy: &mut Copy) -> Counts {
        for _ in 0..1_000_000 {
            if let Progress::Ended(counts) = copy.poll(&mut self.source, &mut self.destination) {
                assert_eq!(counts.under_way, 0);
                return counts;
            }
        }
        panic!("it does not end: {:?}", copy.counts());
    }
}

fn choose(case: &Case, source: &Fake, destination: &Fake) -> CopyPlan {
    let topology = Topology::new(Snapshot::default(), &mut Warnings::default());
    let links = Estimator::new(&topology);
    let memory = |provider| DeviceMemory {
        provider: bdf(provider),
        bar: 0,
        free: span(BAR, BANK_BYTES as u64),
        cpu: CpuView::Memory,
    };
    let end = |volume: &Fake, memory| End {
        limits: *volume.limits(),
        class: TlpClass::Strict,
        memory,
        own_data: OwnData::BOTH,
        completion_queue: Some(QueueNeeds {
            len_bytes: 4096,
            align_bytes: 4096,
        }),
    };
    let situation = Situation {
        source: end(source, (case.way == Way::Load).then(|| memory(SOURCE))),
        destination: end(destination, (case.way == Way::Store).then(|| memory(DESTINATION))),
        thirds: &[],
        ram: Some(span(RAM, BANK_BYTES as u64)),
        routes: &Everywhere,
        links: &links,
        shape: Shape {
            chunk_bytes: case.chunk_bytes,
            depth: case.depth,
        },
        demands: Demands::default(),
    };
    plan::choose(&situation).unwrap()
}
