//! The machine: the fabric, in time, with devices at its ends.
//!
//! ```text
//! device --Wire::start--> sender (in order) --split--> TLP --route (fabric)--> way --walk (links)--> arrival
//!     arrival of a write: data lands in memory, or a model's registers are written
//!     arrival of a read:  its completer answers; completions take their own ways, and land in memory
//! ```
//!
//! *Time.* Integer picoseconds. A TLP's way through all links is walked when it is sent: a link takes the
//! next TLP when it has sent the one before and the buffer at its end has room. What happens at one time happens in the order in which it was asked for. Same blueprint, same seed,
//! same calls: same trace.
//!
//! *Order.* What takes one path stays in order. Paths delay independently: with `jitter_ps` above 0, each direction of
//! each link is up to so much slower, anew every 2^20 ps. Relaxed TLPs may pass others where the delay changes.
//!
//! *Reads* have tags: a function has at most 768 requests under way, and at most as many bytes as its own link carries
//! in 4 us (at least 16 KiB): enough to keep an x16 link of 32 GT/s busy.
//!
//! *What is simpler than hardware.* Routes are judged when a TLP is sent; a register written meanwhile does not change
//! them. Errors of requests, and of completions on their way, are recorded at the same time; what a requester learns, when
//! it learns it. Host RAM takes data as fast as it comes.

mod arrival;
mod channel;
mod clock;
mod completion;
mod core;
mod counters;
mod cpu;
mod dice;
mod drain;
mod fault;
mod gap;
mod gear;
mod issue;
mod landing;
mod link;
mod loss;
mod message;
mod mishap;
mod options;
mod path;
mod probe;
mod queue;
mod ram;
mod relax;
mod reply;
mod sender;
mod split;
mod steady;
mod trace;
mod wire;

pub use counters::{Carried, Counters, LinkCarried, Traffic};
pub use fault::{Fate, Fault, FaultPlan, Turn};
pub use loss::{Losses, LostTlp};
pub use options::{Files, Gear, Options};
pub use probe::RequestPlan;
pub use trace::{Lines, Sink};

use self::channel::Channel;
use self::core::Core;
use self::fault::Faults;
use self::landing::{Buffers, Landings};
use self::link::Channels;
use self::path::{MOST_PS, Map, Paths};
use self::queue::{Event, Queue};
use self::ram::Ram;
use self::sender::Sender;
use self::trace::Trace;
use crate::blueprint::{Blueprint, DeviceKind};
use crate::device::{self, Device, Wire};
use crate::fabric::{BuildError, Direction, Explain, Fabric};
use crate::memory::{Banks, Place};
use crate::time::Time;
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::snapshot::Snapshot;
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};

/// A machine that is switched on.
#[derive(Debug)]
pub struct Machine {
    core: Core,
    /// By the index of the function; nothing while a model is called.
    devices: Vec<Option<Box<dyn Device>>>,
}

/// An interrupt that has arrived at a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupt {
    /// When.
    pub time: Time,
    /// Who raised it.
    pub requester: Bdf,
    /// Which of its vectors.
    pub vector: u16,
}

/// What of the blueprint's nature counts while a machine runs.
#[derive(Debug, Clone, Copy)]
struct MachineSettings {
    completion_timeout_ps: u64,
    completion_boundary_bytes: u64,
}

impl Machine {
    /// The machine of a blueprint, run as [`Options::default`] says.
    ///
    /// # Errors
    /// [`BuildError`] where no such machine can be.
    pub fn new(blueprint: &Blueprint) -> Result<Self, BuildError> {
        Self::with_options(blueprint, Options::default())
    }

    /// The machine of a blueprint.
    ///
    /// # Errors
    /// [`BuildError`] where no such machine can be.
    pub fn with_options(blueprint: &Blueprint, options: Options) -> Result<Self, BuildError> {
        blueprint.check_files(options.files)?;
        let fabric = Fabric::new(blueprint)?;
        let nature = &blueprint.nature;
        let mut banks = Banks::new(options.memory_budget_bytes);
        let ram = match &blueprint.snapshot.host.ram {
            Fact::Known(spans) => Ram::new(spans, &mut banks),
            Fact::Unknown(_) => Ram::default(),
        };
        let cpu_bank = banks.add(1 << 20);
        banks.fail_allocations(options.faults.failing_allocations());
        let ids: Vec<_> = fabric.functions().collect();
        let mut devices = Vec::with_capacity(ids.len());
        for id in &ids {
            let bdf = fabric.function(*id).bdf;
            let kind = blueprint.devices.get(&bdf);
            let Some(function) = (blueprint.snapshot.position(bdf))
                .and_then(|index| blueprint.snapshot.functions().get(index))
            else {
                devices.push(None);
                continue;
            };
            let bars: Vec<(u8, u64)> = (0..6)
                .filter_map(|bar| fabric.bar(*id, bar).map(|(_, size_bytes)| (bar, size_bytes)))
                .collect();
            devices.push(Some(device::build(
                function,
                kind.unwrap_or(&DeviceKind::Card),
                &bars,
                &mut banks,
            )?));
        }
        let mut channels = Vec::new();
        for link in fabric.links() {
            let state = fabric.link(link).state;
            channels.extend([Channel::of_link(state), Channel::of_link(state)]);
        }
        let seed = options.seed.unwrap_or(nature.seed);
        let channels = Channels::new(channels, seed, nature.jitter_ps.min(MOST_PS));
        let mut senders: Vec<Sender> = (ids.iter())
            .map(|id| {
                let link = fabric.function(*id).link_above;
                Sender::new(link.map_or(Sender::INTERNAL_OUTSTANDING_BYTES, |link| {
                    channels.bytes_in(Map::channel(link, Direction::Up), Sender::OUTSTANDING_PS)
                }))
            })
            .collect();
        senders.push(Sender::new(Sender::INTERNAL_OUTSTANDING_BYTES));
        let is_looked_at = options.trace.is_some() || options.faults.picks_single_tlps();
        let explain = match options.trace {
            Some(_) => Explain::Notes,
            None => Explain::Nothing,
        };
        let faults = Faults::new(options.faults);
        let mut queue = Queue::default();
        for (time, index) in faults.timed() {
            queue.push(time.as_ps(), Event::Fault(index));
        }
        let answering = ids.iter().map(|id| fabric.function(*id).answers).collect();
        let core = Core {
            now_ps: 0,
            settings: MachineSettings {
                completion_timeout_ps: nature.completion_timeout_ps.min(MOST_PS),
                completion_boundary_bytes: match nature.read_completion_boundary_bytes {
                    0..=64 => 64,
                    _ => 128,
                },
            },
            gear: if is_looked_at { Gear::Tlp } else { options.gear },
            map: Map::new(nature),
            paths: Paths::new(explain),
            fabric,
            ids,
            views: Vec::new(),
            views_of: 0,
            banks,
            ram,
            ram_carried: Carried::default(),
            queue,
            channels,
            landings: Landings::default(),
            buffers: Buffers::default(),
            senders,
            reads: Vec::new(),
            free_reads: Vec::new(),
            faults,
            trace: options.trace.map(Trace::new),
            losses: Losses::default(),
            interrupts: VecDeque::new(),
            dropped_interrupts: 0,
            outcomes: BTreeMap::new(),
            next_transfer: 0,
            routes: 0,
            steady: steady::Steady::default(),
            cpu_bank,
            answering,
        };
        Ok(Self { core, devices })
    }

    /// The time.
    pub fn now(&self) -> Time {
        Time::from_ps(self.core.now_ps)
    }

    /// The machine as software sees it now.
    pub fn snapshot(&self) -> Snapshot {
        self.core.fabric.snapshot()
    }

    /// The fabric.
    pub fn fabric(&self) -> &Fabric {
        &self.core.fabric
    }

    /// The fabric, to be changed at no cost of time. Mappings are taken out of the IOMMU by [`Self::unmap`], which tells
    /// the devices.
    pub fn fabric_mut(&mut self) -> &mut Fabric {
        self.core.routes_changed();
        &mut self.core.fabric
    }

    /// All memory; what has arrived by now is in it.
    pub fn banks(&mut self) -> &mut Banks {
        self.core.land();
        &mut self.core.banks
    }

    /// Where host RAM holds the byte at a physical address, and for how many bytes from there on, at least 1.
    pub fn ram(&self, phys: u64) -> Option<(Place, u64)> {
        self.core.ram.find(phys)
    }

    /// Where in [`Self::banks`] the RAM at a physical address is.
    pub fn ram_place(&self, phys: u64) -> Option<Place> {
        self.core.ram.find(phys).map(|(place, _)| place)
    }

    /// So many interrupts are kept for [`Self::take_interrupts`]; what arrives beyond them is dropped, and counted
    /// ([`Counters::dropped_interrupts`]).
    pub const MOST_INTERRUPTS: usize = 1 << 16;

    /// The interrupts that have arrived since it was last asked, the first first: the first
    /// [`Self::MOST_INTERRUPTS`] of them.
    pub fn take_interrupts(&mut self) -> Vec<Interrupt> {
        self.core.interrupts.drain(..).collect()
    }

    /// What was carried so far.
    pub fn counters(&self) -> Counters {
        let core = &self.core;
        let carried = |channel: u32| {
            (core.channels.channels.get(channel as usize))
                .map_or_else(Carried::default, |channel| channel.carried)
        };
        let links = core.fabric.links().map(|link| LinkCarried {
            link,
            up: carried(Map::channel(link, Direction::Up)),
            down: carried(Map::channel(link, Direction::Down)),
        });
        let mut conventional: Vec<_> = (core.map.conventional.iter())
            .map(|(bridge, channel)| (*bridge, carried(*channel)))
            .collect();
        conventional.sort_by_key(|(bridge, _)| *bridge);
        Counters {
            links: links.collect(),
            conventional,
            ram: core.ram_carried,
            dropped_interrupts: core.dropped_interrupts,
        }
    }

    /// TLPs that got nowhere.
    pub fn losses(&self) -> &Losses {
        &self.core.losses
    }

    /// How often memory did not take what arrived (the budget was spent, a fault plan said so, a place was none), and
    /// the last reason.
    pub fn refused_writes(&self) -> (u64, Option<crate::memory::MemoryError>) {
        (self.core.landings.refused, self.core.landings.last_refusal)
    }

    /// Calls the model of a function; nothing where there is no such function.
    pub fn with_device<R>(
        &mut self,
        bdf: Bdf,
        call: impl FnOnce(&mut dyn Device, &mut dyn Wire) -> R,
    ) -> Option<R> {
        let who = self.core.fabric.find(bdf)?.index();
        self.core.land();
        self.with_index(who, |device, port| call(device, port))
    }

    /// Calls the model of a function that is a `D`; nothing where there is none.
    pub fn with<D: Device, R>(
        &mut self,
        bdf: Bdf,
        call: impl FnOnce(&mut D, &mut dyn Wire) -> R,
    ) -> Option<R> {
        self.with_device(bdf, |device, wire| {
            let device: &mut dyn Any = device;
            device.downcast_mut::<D>().map(|device| call(device, wire))
        })?
    }

    /// Puts another model in the place of a function's; gives the old one back.
    pub fn plug(&mut self, bdf: Bdf, model: Box<dyn Device>) -> Option<Box<dyn Device>> {
        let who = self.core.fabric.find(bdf)?.index();
        self.core.routes_changed();
        self.devices.get_mut(who)?.replace(model)
    }
}
