//! Controllers that were bound to vfio-pci, driven from this process by the driver under test.
//!
//! Called by [`super::user_path`] and [`super::speed`].

use peerdma::addr::{Address, Bdf, Origin, PhysAddr, PhysVec};
use peerdma::block::{Bio, Data, Operation, SubmitError, Volume};
use peerdma::device::Host;
use peerdma::dma::{Ioas, Mapper, PeerRoute, Refused, Routes, Threads, Translation};
use peerdma::memory::Memory;
use peerdma::route::linux::Kernel;
use peerdma::route::spec::Form;
use peerdma::route::{Access, MapType, TlpClass};
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use peerdma_linux::process::{DrivenRoutes, Process, ProcessOptions};
use peerdma_linux::vfio::{Api, Function};
use peerdma_linux::{KeepConfig, source};
use peerdma_nvme::{Controller, Options, Queue, QueueOptions};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub(crate) type Nvme = Controller<Function, Process, Threads>;
pub(crate) type Disk = Queue<Function, Process, Threads>;

/// NVMe, or another controller of memory that is not volatile (PCI Code and ID Assignment, 1.9).
const CONTROLLER: u16 = 0x0108;

/// How devices reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As the judge says of the machine: by bus address below one switch.
    Judged,
    /// Through the host bridge, all of them.
    HostBridge,
}

/// The machine, as far as it is ours.
pub(crate) struct Ours {
    pub(crate) process: Process,
    spaces: BTreeMap<Bdf, Arc<Ioas<Threads>>>,
    pub(crate) controllers: BTreeMap<Bdf, Nvme>,
}

impl Ours {
    /// Takes functions, and starts those of them that are controllers.
    pub(crate) fn open(functions: &[Bdf], api: Api, way: Way, ram_bytes: u64) -> Result<Self, String> {
        let snapshot =
            source::live(Path::new("/"), KeepConfig::Drop, &mut Warnings::default()).map_err(text)?;
        let kernel = Kernel::of_machine(snapshot.host.kernel);
        let topology = Topology::new(snapshot, &mut Warnings::default());
        let options = ProcessOptions {
            api: Some(api),
            ram_bytes,
        };
        let process = Process::new(topology, options).map_err(text)?;
        process.take(functions).map_err(text)?;
        let mut ours = Self {
            process,
            spaces: BTreeMap::new(),
            controllers: BTreeMap::new(),
        };
        let driven = ours.process.driven(kernel);
        let topology = driven.topology();
        let is_controller = |bdf: &Bdf| {
            let node = topology.find(*bdf);
            let class = node.and_then(|node| topology.function(node).class());
            class.is_some_and(|class| class.class() == CONTROLLER)
        };
        let controllers: Vec<Bdf> = functions.iter().copied().filter(is_controller).collect();
        let routes = Ways {
            way,
            driven: driven.routes(),
        };
        for bdf in &controllers {
            ours.add_space(*bdf, &controllers, &routes)
                .map_err(|why| format!("{bdf}: {why}"))?;
        }
        for bdf in controllers {
            ours.start(bdf).map_err(|why| format!("{bdf}: {why}"))?;
        }
        Ok(ours)
    }

    /// Controllers of one IOMMU group have one address space.
    fn add_space(&mut self, bdf: Bdf, all: &[Bdf], routes: &dyn Routes) -> Result<(), String> {
        if self.spaces.contains_key(&bdf) {
            return Ok(());
        }
        let space = self.process.io_space(&[bdf]).map_err(text)?;
        let space = space.ok_or("VFIO gave no address space")?;
        let members: Vec<Bdf> = space.requesters().filter(|one| all.contains(one)).collect();
        let translation = Translation::Translated(Box::new(space) as _);
        let map = self.process.memory_map();
        let ioas = Ioas::<Threads>::new(translation, map.clone(), &self.process.reserved());
        for member in members {
            let initiator = self.process.initiator(member).ok_or("no such function")?;
            ioas.add_initiator(initiator, routes).map_err(text)?;
            self.spaces.insert(member, ioas.clone());
        }
        for region in map.regions().iter().filter(|region| region.memory == Memory::Ram) {
            ioas.register(region.id)
                .map_err(|error| match self.process.refused() {
                    Some(why) => format!("{error}: {why}"),
                    None => error.to_string(),
                })?;
        }
        Ok(())
    }

    fn start(&mut self, bdf: Bdf) -> Result<(), String> {
        let function = self.process.function(bdf).ok_or("it was not taken")?;
        let ioas = self.spaces.get(&bdf).ok_or("it has no address space")?;
        let mapper = ioas.mapper(bdf).map_err(text)?;
        let controller =
            Controller::open(function, self.process.clone(), mapper, &Options::default()).map_err(text)?;
        let base = controller.buffer().map(|buffer| buffer.own_base);
        ioas.set_own_base(bdf, base).map_err(text)?;
        self.controllers.insert(bdf, controller);
        Ok(())
    }

    /// A queue to a controller's first namespace.
    pub(crate) fn disk(&self, bdf: Bdf, options: &QueueOptions) -> Result<Disk, String> {
        let controller = self.controllers.get(&bdf).ok_or("it is no controller")?;
        controller.volume(1, self.mapper(bdf)?, options).map_err(text)
    }

    /// A handle to map memory for a controller.
    pub(crate) fn mapper(&self, bdf: Bdf) -> Result<Mapper<Threads>, String> {
        let ioas = self.spaces.get(&bdf).ok_or("it has no address space")?;
        ioas.mapper(bdf).map_err(text)
    }

    /// The memory that a function lends: its controller memory buffer, or the largest of its BARs that is memory.
    pub(crate) fn memory(&self, bdf: Bdf) -> Option<(PhysAddr, u64)> {
        if let Some(controller) = self.controllers.get(&bdf) {
            let span = controller.buffer()?.span;
            return Some((span.first(), span.len_bytes()?));
        }
        let map = self.process.memory_map();
        let its = map.regions().iter().filter_map(|region| match region.memory {
            Memory::Bar(bar) if bar.provider == bdf => Some((region.span.first(), region.span.len_bytes()?)),
            _ => None,
        });
        its.max_by_key(|(_, len_bytes)| *len_bytes)
    }

    /// Stops all controllers, and tells what is left of what was taken.
    pub(crate) fn close(mut self) -> Result<(), String> {
        while let Some((bdf, controller)) = self.controllers.pop_first() {
            controller.close().map_err(|error| format!("{bdf}: {error}"))?;
        }
        match self.process.allocations().len() {
            0 => Ok(()),
            left => Err(format!("{left} allocations are left after all was closed")),
        }
    }
}

struct Ways<'d> {
    way: Way,
    driven: DrivenRoutes<'d>,
}

impl Routes for Ways<'_> {
    fn route(&self, initiator: Bdf, provider: Bdf, bar: u8, access: Access, class: TlpClass) -> PeerRoute {
        match self.way {
            Way::Judged => self.driven.route(initiator, provider, bar, access, class),
            Way::HostBridge => PeerRoute::Reached {
                map_type: MapType::ThruHostBridge,
                form: Form::HostAddress,
            },
        }
    }

    fn ram(&self, initiator: Bdf, access: Access, class: TlpClass) -> Result<(), Refused> {
        self.driven.ram(initiator, access, class)
    }
}

/// Pieces of memory, one after another.
pub(crate) type Pieces = Vec<(PhysAddr, u32)>;

/// How many bytes they are together.
pub(crate) fn length(pieces: &Pieces) -> u64 {
    pieces.iter().map(|(_, len_bytes)| u64::from(*len_bytes)).sum()
}

pub(crate) fn vector(pieces: &Pieces) -> Result<Vec<PhysVec>, String> {
    let piece = |(at, len_bytes): &(PhysAddr, u32)| PhysVec::new(*at, *len_bytes, Origin::LookUp);
    pieces
        .iter()
        .map(piece)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{error:?}"))
}

/// How a transfer failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It was not begun.
    Refused(SubmitError),
    /// It was.
    Else(String),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Else(why) => f.write_str(why),
        }
    }
}

/// Moves blocks from `first_byte` of the disk on.
pub(crate) fn transfer(
    process: &Process,
    disk: &mut Disk,
    operation: Operation,
    first_byte: u64,
    pieces: &Pieces,
) -> Result<(), Failed> {
    let block_bytes = u64::from(disk.limits().block_bytes);
    let bio = Bio {
        operation,
        lba: first_byte / block_bytes,
        blocks: (length(pieces) / block_bytes) as u32,
        data: Data::Vector(vector(pieces).map_err(Failed::Else)?),
    };
    disk.submit(bio)
        .map_err(|rejected| Failed::Refused(rejected.why))?;
    let mut ended = None;
    while ended.is_none() {
        disk.poll(&mut |done| ended = Some(done.result))
            .map_err(|error| Failed::Else(error.to_string()))?;
        process.relax();
    }
    match ended {
        Some(Err(error)) => Err(Failed::Else(format!("{operation:?}: {error}"))),
        _ => Ok(()),
    }
}

/// Further on.
pub(crate) fn after(at: PhysAddr, bytes: u64) -> PhysAddr {
    PhysAddr::from_u64(at.to_u64() + bytes)
}

/// Bytes that tell places and turns apart.
pub(crate) fn pattern(seed: u64, len_bytes: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len_bytes as usize + 8);
    while (bytes.len() as u64) < len_bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len_bytes as usize);
    bytes
}

/// Where two differ first.
pub(crate) fn compare(what: &str, expected: &[u8], seen: &[u8]) -> Result<(), String> {
    let wrong = expected.iter().zip(seen).position(|(one, other)| one != other);
    match wrong {
        Some(offset) => Err(format!("{what}: other bytes from {offset:#x} on")),
        None if expected.len() != seen.len() => Err(format!("{what}: another length")),
        None => Ok(()),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
