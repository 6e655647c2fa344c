//! A shipped machine, and plans between its devices.

use peerdma::addr::{Address, Bdf, PhysAddr, Span};
use peerdma::block::{Limits, PeerSupport};
use peerdma::dma::{Constraints, SpecRoutes};
use peerdma::fact::Fact;
use peerdma::memory::CpuView;
use peerdma::plan::{
    self, Arrival, CopyPlan, Demands, DeviceMemory, End, Force, NoPlan, OwnData, QueueNeeds, RamUse, Reach,
    Shape, Situation,
};
use peerdma::route::bandwidth::Estimator;
use peerdma::route::spec::Judge;
use peerdma::route::{MapType, TlpClass};
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use peerdma_sim::blueprint::{Blueprint, DeviceKind};
use peerdma_sim::file;
use std::fs;
use std::path::Path;

/// A shipped machine, and what is asked of it.
pub(crate) struct Machine {
    pub(crate) blueprint: Blueprint,
    pub(crate) topology: Topology,
}

/// What may be changed about the two ends.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) demands: Demands,
    pub(crate) thirds: &'a [&'a str],
    /// Which ends have memory that may be used.
    pub(crate) memory: [bool; 2],
    pub(crate) own_data: OwnData,
    pub(crate) cpu: CpuView,
    pub(crate) queue: Option<QueueNeeds>,
    pub(crate) shape: Shape,
    pub(crate) free_bytes: u64,
}

pub(crate) const ASK: Ask<'static> = Ask {
    demands: Demands {
        via: None,
        ram: RamUse::Allowed,
        force: Force::Never,
        arrival: Arrival::Proven,
    },
    thirds: &[],
    memory: [true; 2],
    own_data: OwnData::BOTH,
    cpu: CpuView::Memory,
    queue: Some(QueueNeeds {
        len_bytes: 4096,
        align_bytes: 4096,
    }),
    shape: Shape {
        chunk_bytes: 128 << 10,
        depth: 8,
    },
    free_bytes: 64 << 20,
};

impl Machine {
    pub(crate) fn shipped(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../machines")
            .join(name);
        let text = fs::read_to_string(path.with_extension("toml")).unwrap();
        Self::of(&text)
    }

    pub(crate) fn of(text: &str) -> Self {
        let blueprint = file::load(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let topology = Topology::new(blueprint.snapshot.clone(), &mut Warnings::default());
        Self { blueprint, topology }
    }

    pub(crate) fn bdf(&self, name: &str) -> Bdf {
        let mut functions = self.blueprint.snapshot.functions().iter();
        let function = functions.find(|function| function.os.names == [name]);
        function.unwrap_or_else(|| panic!("{name}")).bdf
    }

    /// The CMB of a controller, or the largest BAR of another device.
    pub(crate) fn memory(&self, name: &str, ask: &Ask<'_>) -> DeviceMemory {
        let provider = self.bdf(name);
        let function = self.topology.function(self.topology.find(provider).unwrap());
        let Fact::Known(bars) = function.bars() else {
            panic!("{name}");
        };
        let bar = match self.blueprint.devices.get(&provider) {
            Some(DeviceKind::Nvme(nvme)) => nvme.cmb.unwrap().bar,
            _ => {
                bars.iter()
                    .max_by_key(|bar| bar.size_bytes.known())
                    .unwrap()
                    .index
            }
        };
        let span = bars
            .iter()
            .find(|facts| facts.index == bar)
            .unwrap()
            .phys
            .known()
            .unwrap();
        let last = span.first().checked_add(ask.free_bytes - 1).unwrap();
        DeviceMemory {
            provider,
            bar,
            free: Span::new(span.first(), last).unwrap(),
            cpu: ask.cpu,
        }
    }

    pub(crate) fn end(&self, name: &str, ask: &Ask<'_>, has_memory: bool) -> End {
        End {
            limits: Limits {
                initiator: self.bdf(name),
                block_bytes: 512,
                blocks: 1 << 17,
                max_transfer_bytes: 1 << 20,
                queue_depth: 64,
                constraints: Constraints::NONE,
                peer: PeerSupport::Unmixed,
            },
            class: TlpClass::Strict,
            memory: has_memory.then(|| self.memory(name, ask)),
            own_data: ask.own_data,
            completion_queue: ask.queue,
        }
    }

    pub(crate) fn plan(&self, from: &str, to: &str, ask: &Ask<'_>) -> Result<CopyPlan, NoPlan> {
        self.plan_with(from, to, ask, |_| {})
    }

    pub(crate) fn plan_with(
        &self,
        from: &str,
        to: &str,
        ask: &Ask<'_>,
        change: impl FnOnce(&mut Situation<'_>),
    ) -> Result<CopyPlan, NoPlan> {
        let judge = Judge::new(&self.topology);
        let routes = SpecRoutes::new(&judge);
        let links = Estimator::new(&self.topology);
        let thirds: Vec<_> = ask.thirds.iter().map(|name| self.memory(name, ask)).collect();
        let ram = Span::new(PhysAddr::from_u64(1 << 20), PhysAddr::from_u64((64 << 20) - 1)).unwrap();
        let mut situation = Situation {
            source: self.end(from, ask, ask.memory[0]),
            destination: self.end(to, ask, ask.memory[1]),
            thirds: &thirds,
            ram: Some(ram),
            routes: &routes,
            links: &links,
            shape: ask.shape,
            demands: ask.demands,
        };
        change(&mut situation);
        plan::choose(&situation)
    }
}

pub(crate) fn demand(demands: Demands) -> Ask<'static> {
    Ask { demands, ..ASK }
}

pub(crate) fn map_type(plan: &CopyPlan) -> Option<MapType> {
    plan.crossings.iter().find_map(|crossing| match crossing.reach {
        Reach::Peer { map_type, .. } => Some(map_type),
        Reach::Own | Reach::Ram => None,
    })
}
