//! What commands that use devices need of a machine, whichever it is: a simulated one, or the one that runs us.
//!
//! ```text
//! Ground      the machine: its topology, memory and routes; functions that a driver of ours can have, volumes that somebody else serves
//!   Rig       drivers on a ground: an address space for each initiator, controllers, RAM            (`rig`)
//!   End       what a word of the command line means: a namespace, or a volume of the ground's own   (`end`)
//!   Pair      one end, and perhaps the memory of another device: what `probe` and `bench` use            (`pair`)
//!   Lender    whose memory is asked for, as it was named, and its BAR                                (`lender`)
//!   EndVolume a volume of an end, and the count of what its commands name                           (`volume`, `meter`)
//! mend        what to do where memory cannot be mapped
//! simulated   Ground for a machine of `peerdma-sim`
//! live        Ground for the machine that runs us: VFIO, block devices of the kernel, files
//! ```
//!
//! `copy`, `probe` and `bench` speak of these alone.

mod cpu;
pub(crate) mod end;
mod lender;
pub(crate) mod live;
pub(crate) mod mend;
mod meter;
mod names;
mod pair;
mod rig;
mod simulated;
mod volume;

pub(crate) use cpu::cpu_ns;
pub(crate) use end::{End, Place};
pub(crate) use lender::Lender;
pub(crate) use meter::Moved;
pub(crate) use names::Names;
pub(crate) use pair::{Manner, Meant, Pair};
pub(crate) use peerdma_sim::host::Pattern;
pub(crate) use rig::{Ram, Rig};
pub(crate) use volume::EndVolume;

use crate::error::Problem;
use peerdma::addr::{Bdf, Iova, Span};
use peerdma::block::Volume;
use peerdma::device::{Function, Host};
use peerdma::dma::{Initiator, Ioas, Routes, SingleThread, Translation};
use peerdma::memory::MemoryMap;
use peerdma::plan::{DeviceMemory, Layout, OwnData};
use peerdma::topology::Topology;
use peerdma_linux::vfio::VfioError;
use std::rc::Rc;
use std::sync::Arc;

/// A machine whose devices are used.
///
/// Ends are of two sorts: namespaces of a controller that a driver of ours has for itself ([`Self::function`], opened by [`Rig`]), and volumes
/// that the ground brings ([`Self::open`]): a block device of the kernel, a file.
pub(crate) trait Ground: Host + Clone {
    /// A function that a driver has for itself.
    type Function: Function;
    /// A volume that no driver of ours serves.
    type Volume: Volume;
    /// All counters at a moment.
    type Mark;

    /// Which sort of machine it is.
    const SORT: Sort;

    /// What is plugged in where.
    fn topology(&self) -> &Topology;

    /// All memory that devices may be told of.
    fn memory_map(&self) -> MemoryMap;

    /// Addresses that mean something else than memory that is mapped.
    fn reserved(&self) -> Vec<Span<Iova>>;

    /// How initiators reach memory.
    fn routes(&self) -> Box<dyn Routes + '_>;

    /// What an address space must know of who issues requests; nothing where there is no such function.
    fn initiator(&self, bdf: Bdf) -> Option<Initiator>;

    /// An address space for an initiator.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn address_space(&self, bdf: Bdf) -> Result<AddressSpace, String>;

    /// A function, for a driver to have.
    ///
    /// # Errors
    /// Why it cannot be had, in words.
    fn function(&self, bdf: Bdf) -> Result<Self::Function, String>;

    /// Is it a controller that a driver of ours can have?
    fn is_controller(&self, bdf: Bdf) -> bool;

    /// The address space of an initiator whose memory somebody else maps; nothing where its driver is ours.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn foreign_space(
        &self,
        bdf: Bdf,
        map: &MemoryMap,
        routes: &dyn Routes,
    ) -> Result<Option<Arc<Ioas<SingleThread>>>, String> {
        let _ = (bdf, map, routes);
        Ok(None)
    }

    /// Opens a volume of the ground's own ([`Place::Own`]); `space` is its initiator's.
    ///
    /// # Errors
    /// A [`Problem`]
    fn open(&self, end: &End, space: &Arc<Ioas<SingleThread>>, depth: u16) -> Result<Self::Volume, Problem>;

    /// Memory behind BARs that needs no driver and may be written.
    fn lent(&self) -> Vec<DeviceMemory>;

    /// Memory of an end's device that the ground itself manages, and what the device can do with data in it.
    fn memory_of(&self, end: &End) -> Option<(DeviceMemory, OwnData)> {
        let _ = end;
        None
    }

    /// Does an end's volume take RAM alone, whatever its device could do?
    fn takes_ram_alone(&self, end: &End) -> bool {
        let _ = end;
        false
    }

    /// Has memory of an end, which begins `offset_bytes` into its BAR, hold nothing that could be taken for data that was moved there.
    fn poison(&self, memory: &DeviceMemory, offset_bytes: u64) {
        let _ = (memory, offset_bytes);
    }

    /// The same for the slots of a plan, once there is one.
    fn poison_slots(&self, layout: &Layout) {
        let _ = layout;
    }

    /// Does somebody else want a device back that is in use? What uses it is to end then.
    fn is_recalled(&self) -> bool {
        false
    }

    /// What the kernel refused last when memory was to be mapped for devices.
    fn refused(&self) -> Option<VfioError> {
        None
    }

    /// All counters now.
    fn mark(&self) -> Self::Mark;

    /// What was moved since these counters were taken.
    fn traffic(&self, since: &Self::Mark) -> Traffic;

    /// Where volumes count what their commands name; nothing where the machine itself counts.
    fn moved(&self) -> Option<Rc<Moved>> {
        None
    }

    /// What initiators are called that are no function of the topology.
    fn names(&self) -> Names<'_> {
        Names::new(self.topology())
    }
}

/// A sort of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// A simulated one: its time is simulated, and it counts what passes links.
    Simulated,
    /// The one that runs us.
    Live,
}

impl Sort {
    /// Its name in output.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Live => "live",
        }
    }

    /// What to do where a namespace cannot be used.
    const fn mend_namespace(self) -> &'static str {
        match self {
            Self::Simulated => "look at the namespace in the machine file",
            Self::Live => {
                "name another namespace, or format it with blocks of 512 or 4096 bytes without metadata"
            }
        }
    }

    /// What to do where a controller cannot be driven.
    const fn mend_controller(self) -> &'static str {
        match self {
            Self::Simulated => {
                "look at it with `peerdma topo -v`: memory and bus mastering must be on, its link up, its payload no larger than the ports above take"
            }
            Self::Live => {
                "look at it as root with `peerdma topo -v` (is its link up, is its payload no larger than the ports above take?), and at `dmesg`"
            }
        }
    }

    /// What to do where RAM is short.
    const fn mend_ram(self) -> &'static str {
        match self {
            Self::Simulated => "ask for less at once, or give the machine more RAM",
            Self::Live => "ask for less at once, or allow more locked memory (ulimit -l)",
        }
    }
}

/// What an initiator's requests pass, and who else shares it.
pub(crate) struct AddressSpace {
    pub(crate) translation: Translation<SingleThread>,
    /// All that use it, the initiator included.
    pub(crate) members: Vec<Bdf>,
}

/// What was moved since some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Bytes of user data that devices read from host RAM or wrote there.
    pub(crate) ram_payload_bytes: u64,
    /// Bytes of commands, completions and lists there; nothing where nobody counts them.
    pub(crate) ram_queue_bytes: Option<u64>,
    /// Links that carried user data; nothing where nobody counts.
    pub(crate) links: Option<Vec<LinkTraffic>>,
}

/// User data on one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkTraffic {
    /// The port above the link.
    pub(crate) port: Bdf,
    /// The first function below it; nothing where the slot is empty.
    pub(crate) device: Option<Bdf>,
    /// Bytes towards the root complex.
    pub(crate) up_bytes: u64,
    /// Bytes away from it.
    pub(crate) down_bytes: u64,
}
