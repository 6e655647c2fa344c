//! The machine that runs us as a ground.
//!
//! ```text
//! Word     what a word means: a controller bound to vfio-pci, a block device of the kernel, a file      (`word`)
//! Live     controllers by VFIO, volumes by io_uring, memory by p2pmem, in one process                  (here, `ground`)
//! ```
//!
//! What is written: the memory of controllers that our driver has (their CMB), memory that the kernel gave to this process (p2pmem), and of
//! other devices the one BAR that somebody named. Never another.

mod ground;
mod word;

pub(crate) use word::{Word, not_ours};

use super::{End, Moved, Place};
use crate::error::Problem;
use crate::input::Machine;
use crate::names;
use peerdma::addr::Bdf;
use peerdma::memory::Memory;
use peerdma::plan::DeviceMemory;
use peerdma::topology::Topology;
use peerdma_linux::process::{Driven, Process, ProcessError, ProcessOptions};
use peerdma_linux::ring::{BlockDevice, Mode, P2pmemError};
use peerdma_linux::vfio::{Api, VfioError};
use std::cell::RefCell;
use std::rc::Rc;

/// The machine that runs us, with the devices that a command uses: clones are the same.
#[derive(Clone)]
pub(crate) struct Live {
    shared: Rc<Shared>,
    process: Process,
}

struct Shared {
    /// The machine, with the functions that VFIO gave us.
    driven: Driven,
    /// Volumes that the kernel serves, until they are opened.
    volumes: RefCell<Vec<Option<BlockDevice>>>,
    /// Memory of the kernel's pools that is ours.
    pools: Vec<DeviceMemory>,
    /// The BAR that somebody named.
    lent: Option<DeviceMemory>,
    mode: Mode,
    beliefs: Vec<String>,
    moved: Rc<Moved>,
}

/// What a command uses.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Functions that our drivers are to have, or whose memory is used.
    pub(crate) functions: Vec<Bdf>,
    /// Whose BAR may be written beside, and which; the largest that is memory where nobody says.
    pub(crate) lender: Option<(Bdf, Option<u8>)>,
    /// What the kernel serves, in the order of [`Place::Own`].
    pub(crate) volumes: Vec<BlockDevice>,
    /// Devices of whose p2pmem a part is taken.
    pub(crate) pools: Vec<Pool>,
    /// How VFIO is asked.
    pub(crate) api: Option<Api>,
    /// How volumes of the kernel are told that operations have ended.
    pub(crate) mode: Mode,
    /// How much RAM devices use at most: reserved, and only locked as it is used.
    pub(crate) ram_bytes: u64,
}

/// Memory that is to be taken of a pool of the kernel's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pool {
    pub(crate) provider: Bdf,
    /// As much of it as there is, but not below the least.
    pub(crate) most_bytes: u64,
    pub(crate) least_bytes: u64,
    pub(crate) need: Need,
}

/// Must a pool give memory?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Without it there is no copy.
    Must,
    /// It may.
    May,
}

impl Live {
    /// Takes all that is wanted.
    ///
    /// # Errors
    /// A [`Problem`]: nothing stays taken.
    pub(crate) fn open(machine: Machine, wanted: Wanted) -> Result<Self, Problem> {
        let topology = machine.topology;
        let mut functions = wanted.functions;
        functions.extend(wanted.lender.map(|(bdf, _)| bdf));
        functions.sort_unstable();
        functions.dedup();
        for bdf in &functions {
            let function = topology.find(*bdf).map(|node| topology.function(node));
            if let Some(function) = function
                && names::driver(function).is_some_and(|driver| driver != "vfio-pci")
            {
                return Err(not_ours(function));
            }
        }
        let options = ProcessOptions {
            ram_bytes: wanted.ram_bytes,
            api: wanted.api,
        };
        let process = Process::new(topology, options).map_err(|error| of_process(&error))?;
        if !functions.is_empty() {
            process.take(&functions).map_err(|error| of_process(&error))?;
        }
        let driven = process.driven(machine.kernel);
        let mut pools = Vec::new();
        for pool in wanted.pools {
            match (take_pool(&process, pool), pool.need) {
                (Ok(memory), _) => pools.push(memory),
                (Err(problem), Need::Must) => return Err(problem),
                (Err(_), Need::May) => {}
            }
        }
        let lent = wanted.lender.map(|(bdf, bar)| lent(&process, bdf, bar));
        let lent = lent.transpose()?;
        Ok(Self {
            shared: Rc::new(Shared {
                volumes: RefCell::new(wanted.volumes.into_iter().map(Some).collect()),
                pools,
                lent,
                mode: wanted.mode,
                beliefs: driven.beliefs().iter().map(ToString::to_string).collect(),
                driven,
                moved: Rc::default(),
            }),
            process,
        })
    }

    /// Adds a volume that the kernel serves, opened later than others; its place is [`Self::volumes`] of before.
    pub(crate) fn add_volume(&self, device: BlockDevice) {
        self.shared.volumes.borrow_mut().push(Some(device));
    }

    /// How many volumes there are that the kernel serves.
    pub(crate) fn volumes(&self) -> usize {
        self.shared.volumes.borrow().len()
    }

    /// A device that the kernel wants back.
    pub(crate) fn recalled(&self) -> Option<Bdf> {
        let mut taken = self.shared.driven.taken().iter().copied();
        taken.find(|bdf| (self.process.device(*bdf)).is_some_and(|device| device.is_wanted_back()))
    }

    /// By which of the kernel's interfaces functions are had; nothing where none is.
    pub(crate) fn api(&self) -> Option<Api> {
        let mut taken = self.shared.driven.taken().iter();
        taken.find_map(|bdf| Some(self.process.device(*bdf)?.backend().api()))
    }

    /// What is taken for true of the machine on Linux's word, in sentences.
    pub(crate) fn beliefs(&self) -> &[String] {
        &self.shared.beliefs
    }
}

impl End {
    /// A volume that the kernel serves: the `place`th of [`Wanted::volumes`].
    pub(crate) fn of_kernel(name: &str, device: &BlockDevice, place: usize) -> Self {
        Self {
            name: name.to_owned(),
            initiator: device.initiator(),
            place: Place::Own(place),
        }
    }
}

/// Takes memory of a pool: half as much where there is not so much in one piece.
fn take_pool(process: &Process, pool: Pool) -> Result<DeviceMemory, Problem> {
    let bad = |why: &dyn std::fmt::Display| {
        Problem::new(
            format_args!("no memory of {} can be had from the kernel", pool.provider),
            why,
            "name a device whose driver publishes p2pmem (`ls -d /sys/bus/pci/devices/*/p2pmem`), or bind both ends to vfio-pci (`peerdma bind`)",
        )
    };
    let mut len_bytes = pool.most_bytes;
    let span = loop {
        match process.p2pmem(pool.provider, len_bytes) {
            Err(P2pmemError::Exhausted { .. }) if len_bytes / 2 >= pool.least_bytes => {
                len_bytes = (len_bytes / 2).next_multiple_of(pool.least_bytes.max(1));
            }
            taken => break taken.map_err(|error| bad(&error))?,
        }
    };
    let map = process.memory_map();
    match map.find(span.first()).map(|region| region.memory) {
        Some(Memory::Bar(bar)) => Ok(DeviceMemory {
            provider: bar.provider,
            bar: bar.bar,
            free: span,
            cpu: bar.cpu,
        }),
        Some(Memory::Ram) | None => Err(bad(&"it is in no region of this process")),
    }
}

/// The number of a function's largest memory BAR.
fn largest_bar(topology: &Topology, bdf: Bdf) -> Option<u8> {
    let bars = topology.function(topology.find(bdf)?).bars().known()?;
    let memory = bars.into_iter().filter(|bar| bar.kind.is_memory());
    let largest = memory.max_by_key(|bar| bar.size_bytes.known());
    largest.map(|bar| bar.index)
}

/// The BAR that somebody named, or the largest. That it is memory and no registers is the word of whoever named the device.
fn lent(process: &Process, bdf: Bdf, bar: Option<u8>) -> Result<DeviceMemory, Problem> {
    let bad = |why: &dyn std::fmt::Display| {
        Problem::new(
            match bar {
                Some(bar) => format!("BAR {bar} of {bdf} cannot be used"),
                None => format!("{bdf} has no memory that can be used"),
            },
            why,
            "name another device, or another of its BARs; `peerdma topo -v` shows them",
        )
    };
    let number = bar.or_else(|| largest_bar(process.topology(), bdf));
    let number = number.ok_or_else(|| bad(&"none of its BARs is memory"))?;
    let find = || {
        let map = process.memory_map();
        let regions = map.regions().iter().filter_map(|region| match region.memory {
            Memory::Bar(memory) if (memory.provider, memory.bar) == (bdf, number) => {
                Some((region.span, memory.cpu))
            }
            _ => None,
        });
        regions.max_by_key(|(span, _)| span.len_minus_one())
    };
    if find().is_none() {
        let info = process.device(bdf).and_then(|device| device.bar(number).cloned());
        let info = info.ok_or_else(|| bad(&"it is no memory BAR with an address"))?;
        let added = process.add_bar(bdf, number, 0, info.len_bytes());
        added.map_err(|error| bad(&error))?;
    }
    let (free, cpu) = find().ok_or_else(|| bad(&"the kernel does not let programs map it"))?;
    Ok(DeviceMemory {
        provider: bdf,
        bar: number,
        free,
        cpu,
    })
}

fn of_process(error: &ProcessError) -> Problem {
    match error {
        ProcessError::Vfio(error) => of_vfio(error),
        other => Problem::new(
            "this process cannot have the devices",
            other,
            "look at `dmesg`; docs/linux.md tells how a machine is prepared",
        ),
    }
}

/// What VFIO says is told by it.
pub(crate) fn of_vfio(error: &VfioError) -> Problem {
    Problem::new(error.what(), error.why(), error.fix())
}
