//! A simulated machine as a ground.

use super::volume::NoVolume;
use super::{AddressSpace, End, Ground, LinkTraffic, Pattern, Place, Sort, Traffic};
use crate::error::Problem;
use peerdma::addr::{Bdf, Iova, Span};
use peerdma::dma::{Initiator, Ioas, PeerRoute, Refused, Routes, SingleThread, SpecRoutes, Translation};
use peerdma::memory::{Memory, MemoryMap};
use peerdma::plan::DeviceMemory;
use peerdma::route::{Access, TlpClass, spec};
use peerdma::topology::Topology;
use peerdma_sim::blueprint::{Blueprint, DeviceKind, NamespaceKind};
use peerdma_sim::host::{Computer, PciFunction};
use peerdma_sim::machine::Counters;
use std::sync::Arc;

/// What memory is filled with where no run has left anything.
const POISON: Pattern = Pattern::Poison(0xa5);
/// No plan uses more of a device's memory.
const MOST_POISON_BYTES: u64 = 256 << 20;

impl Ground for Computer {
    type Function = PciFunction;
    type Volume = NoVolume;
    type Mark = Counters;

    const SORT: Sort = Sort::Simulated;

    fn topology(&self) -> &Topology {
        self.topology()
    }

    fn memory_map(&self) -> MemoryMap {
        self.memory_map()
    }

    fn reserved(&self) -> Vec<Span<Iova>> {
        self.reserved()
    }

    fn routes(&self) -> Box<dyn Routes + '_> {
        Box::new(Judged(spec::Judge::new(self.topology())))
    }

    fn initiator(&self, bdf: Bdf) -> Option<Initiator> {
        self.initiator(bdf)
    }

    fn address_space(&self, bdf: Bdf) -> Result<AddressSpace, String> {
        let space = self.io_space(&[bdf]).map_err(|error| error.to_string())?;
        Ok(match space {
            None => AddressSpace {
                translation: Translation::Direct,
                members: vec![bdf],
            },
            Some(space) => AddressSpace {
                members: space.requesters().collect(),
                translation: Translation::Translated(Box::new(space) as _),
            },
        })
    }

    fn function(&self, bdf: Bdf) -> Result<PciFunction, String> {
        let function = self.function(bdf);
        function.ok_or_else(|| "the machine has no such function".into())
    }

    fn is_controller(&self, bdf: Bdf) -> bool {
        !self.namespaces(bdf).is_empty()
    }

    fn open(&self, end: &End, _: &Arc<Ioas<SingleThread>>, _: u16) -> Result<NoVolume, Problem> {
        Err(Problem::new(
            format_args!("{} cannot be used", end.name),
            "it is no namespace of the simulated machine",
            "name a namespace",
        ))
    }

    /// Controllers that are not driven may not have enabled theirs.
    fn lent(&self) -> Vec<DeviceMemory> {
        let map = self.memory_map();
        let lent = map.regions().iter().filter_map(|region| match region.memory {
            Memory::Bar(bar) if self.namespaces(bar.provider).is_empty() => Some(DeviceMemory {
                provider: bar.provider,
                bar: bar.bar,
                free: region.span,
                cpu: bar.cpu,
            }),
            Memory::Bar(_) | Memory::Ram => None,
        });
        lent.collect()
    }

    fn poison(&self, memory: &DeviceMemory, offset_bytes: u64) {
        let len_bytes = memory.free.len_bytes().unwrap_or(0).min(MOST_POISON_BYTES);
        let span = offset_bytes..offset_bytes + len_bytes;
        // Memory that the simulated machine cannot hold holds nothing that could be mistaken.
        let _ = self.fill_bar_memory(memory.provider, memory.bar, span, POISON);
    }

    fn mark(&self) -> Counters {
        self.counters()
    }

    fn traffic(&self, since: &Counters) -> Traffic {
        let traffic = self.traffic(since);
        let links = traffic.links.into_iter().map(|link| LinkTraffic {
            port: link.port,
            device: link.device,
            up_bytes: link.up_bytes,
            down_bytes: link.down_bytes,
        });
        Traffic {
            ram_payload_bytes: traffic.ram_payload_bytes,
            ram_queue_bytes: Some(traffic.ram_queue_bytes),
            links: Some(links.collect()),
        }
    }
}

impl End {
    /// The namespace of a simulated machine that `name` means: `nvme0n1`, `nvme0` where it has one alone, `3b:00.0/1`, `3b:00.0`.
    ///
    /// # Errors
    /// A [`Problem`] where there is no such controller, or it has no such namespace.
    pub(crate) fn of_blueprint(
        blueprint: &Blueprint,
        topology: &Topology,
        name: &str,
    ) -> Result<Self, Problem> {
        let (controller, number) = super::end::parts(name);
        let controller = topology.function(crate::select::one(topology, controller)?).bdf;
        let Some(DeviceKind::Nvme(nvme)) = blueprint.devices.get(&controller) else {
            return Err(super::end::no_blocks(name, controller));
        };
        let numbers: Vec<u32> = (1_u32..).take(nvme.namespaces.len()).collect();
        Self::of_controller(name, controller, number, &numbers)
    }

    /// How it is furnished.
    pub(crate) fn kind<'b>(&self, blueprint: &'b mut Blueprint) -> Option<&'b mut NamespaceKind> {
        let Place::Namespace(number) = self.place else {
            return None;
        };
        match blueprint.devices.get_mut(&self.initiator) {
            Some(DeviceKind::Nvme(nvme)) => nvme.namespaces.get_mut((number as usize).checked_sub(1)?),
            _ => None,
        }
    }
}

/// What the simulated fabric does: the specification's judge of the machine, kept with its routes.
struct Judged<'t>(spec::Judge<'t>);

impl Routes for Judged<'_> {
    fn route(&self, initiator: Bdf, provider: Bdf, bar: u8, access: Access, class: TlpClass) -> PeerRoute {
        SpecRoutes::new(&self.0).route(initiator, provider, bar, access, class)
    }

    fn ram(&self, initiator: Bdf, access: Access, class: TlpClass) -> Result<(), Refused> {
        SpecRoutes::new(&self.0).ram(initiator, access, class)
    }
}
