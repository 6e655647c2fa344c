//! The handle of the machine as this process sees it: its memory map, and what an address space must know.

use super::arena::{Arena, PAGE_BYTES};
use super::devices::Devices;
use super::place::{Ground, Windows, both, place};
use super::registry::{NAMES, NotRegistered, Registry, Resolved};
use super::spaces::{Spaces, is_same};
use super::sync::{Mutex, lock};
use super::{IoSpace, IoSpaceError, ProcessError, reserved};
use crate::sys::Memory;
use crate::vfio::{Api, Backend, VfioError};
use peerdma::addr::{Address, Bdf, Iova, PhysAddr, Span};
use peerdma::dma::Initiator;
use peerdma::fact::Fact;
use peerdma::iova::joined;
use peerdma::memory::MemoryMap;
use peerdma::route::TlpClass;
use peerdma::topology::Topology;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// The machine as this process sees it, shared by all who drive its devices: clones are the same.
#[derive(Debug, Clone)]
pub struct Process {
    pub(super) shared: Arc<Shared>,
}

/// Choices for a [`Process`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessOptions {
    /// How much RAM for devices there may be: rounded up to whole pages. It is taken from the system where it is written or mapped.
    ///
    /// Its place in the memory map is chosen with no regard to how many bits of an address a device has, and may lie above 4 GiB. That is no limit: VFIO
    /// gives every device an I/O address space, and an [`peerdma::dma::Ioas`] gives memory that lies beyond an initiator's
    /// [`address_mask`](Initiator::address_mask) I/O addresses within it. Set that mask in what [`Process::initiator`] returns.
    pub ram_bytes: u64,
    /// By which of the kernel's interfaces devices are opened; nothing: by what there is.
    pub api: Option<Api>,
}

impl Default for ProcessOptions {
    fn default() -> Self {
        Self {
            ram_bytes: 256 << 20,
            api: None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    // In the order in which they go: devices, what they may still reach, memory.
    pub(super) devices: Mutex<Devices>,
    /// Held while devices are opened.
    pub(super) opening: Mutex<()>,
    pub(super) spaces: Arc<Spaces>,
    pub(super) registry: Arc<Registry>,
    ram: OnceLock<Ram>,
    /// Held while a place for it is chosen.
    placing: Mutex<()>,
    ram_memory: Arc<Memory>,
    pub(super) topology: Topology,
    /// Where sysfs is.
    pub(super) sys: PathBuf,
    reserved: Vec<Span<Iova>>,
    pub(super) options: ProcessOptions,
    pub(super) started: Instant,
}

/// The RAM of the process, once it has a place.
#[derive(Debug)]
pub(super) struct Ram {
    pub(super) span: Span<PhysAddr>,
    pub(super) memory: Arc<Memory>,
    pub(super) arena: Mutex<Arena>,
}

impl Process {
    /// Takes the machine of a topology, which [`crate::source::live`] reads, as this process's own; no device is opened.
    ///
    /// The place of its RAM is chosen when it is first asked for: devices that were taken before have a say in it. Where they, or what was imported, leave
    /// none, memory cannot be allocated until enough of them was released.
    ///
    /// # Errors
    /// [`ProcessError::NoRam`], [`ProcessError::NoPlace`]
    pub fn new(topology: Topology, options: ProcessOptions) -> Result<Self, ProcessError> {
        Self::with_sys(topology, options, Path::new("/sys"))
    }

    /// [`Self::new`], with the folder where sysfs is.
    pub(super) fn with_sys(
        topology: Topology,
        options: ProcessOptions,
        sys: &Path,
    ) -> Result<Self, ProcessError> {
        let ram_bytes = options.ram_bytes;
        let whole = ram_bytes.checked_next_multiple_of(page_bytes());
        let whole = whole.ok_or(ProcessError::NoPlace { ram_bytes })?;
        let memory = Memory::anonymous(whole).map_err(|errno| ProcessError::NoRam { ram_bytes, errno })?;
        let process = Self {
            shared: Arc::new(Shared {
                devices: Mutex::new(Devices::default()),
                opening: Mutex::new(()),
                spaces: Spaces::new(),
                registry: Arc::new(Registry::new()),
                ram: OnceLock::new(),
                placing: Mutex::new(()),
                ram_memory: Arc::new(memory),
                reserved: reserved::reserved(&topology, &sys.join("kernel/iommu_groups")),
                topology,
                sys: sys.to_owned(),
                options,
                started: Instant::now(),
            }),
        };
        match place(whole, &process.ground(None)) {
            Some(_) => Ok(process),
            None => Err(ProcessError::NoPlace { ram_bytes }),
        }
    }

    /// What was found where in the machine, before anything of it was taken: not to be judged by ([`Self::driven`]).
    pub fn topology(&self) -> &Topology {
        &self.shared.topology
    }

    /// All addresses that mean something else than memory that is mapped: what any bridge claims, BARs, where interrupts are written, and what
    /// the kernel reserves for IOMMU groups. In ascending order; none overlaps another.
    pub fn reserved(&self) -> Vec<Span<Iova>> {
        self.shared.reserved.clone()
    }

    /// What an address space must know of a function that issues requests. No register tells how many bits of an address it has: those of all
    /// memory that there is, which leaves out the names of memory whose address nobody knows.
    pub fn initiator(&self, bdf: Bdf) -> Option<Initiator> {
        let topology = &self.shared.topology;
        topology.find(bdf)?;
        let bridge = topology.host_bridge(bdf);
        let offset = bridge.and_then(|bridge| bridge.inbound_offset.known());
        Some(Initiator {
            bdf,
            address_mask: NAMES - 1,
            class: TlpClass::Strict,
            inbound_offset: offset.unwrap_or(0).cast_unsigned(),
        })
    }

    /// The RAM of the process, memory behind BARs of functions that were taken, and what was imported.
    pub fn memory_map(&self) -> MemoryMap {
        self.ram();
        self.shared.registry.map()
    }

    /// Where the process has all of a range of the memory map; nothing where it lies in no region, in several, or where the process cannot see
    /// it. It stays mapped for as long as the result is held.
    pub fn resolve(&self, at: PhysAddr, len_bytes: u64) -> Option<Resolved> {
        self.shared.registry.resolve(at, len_bytes)
    }

    /// The physical pieces behind a range of this process's own addresses: its RAM for devices, mapped BARs, p2pmem. The pointer is looked up and
    /// never followed.
    ///
    /// # Errors
    /// [`NotRegistered`] where a part of it is anything else.
    pub fn map_user<T>(
        &self,
        pointer: *const T,
        len_bytes: u64,
    ) -> Result<Vec<peerdma::addr::PhysVec>, NotRegistered> {
        self.shared.registry.map_user(pointer.addr() as u64, len_bytes)
    }

    /// An address space for functions that were taken, and all that share an IOMMU group with one of them, under all names that their requests
    /// carry. Always one: VFIO lets no device go without an IOMMU.
    ///
    /// # Errors
    /// [`IoSpaceError`]
    pub fn io_space(&self, functions: &[Bdf]) -> Result<Option<IoSpace>, IoSpaceError> {
        let mut requesters = BTreeSet::new();
        let mut backends: Vec<Arc<dyn Backend>> = Vec::new();
        for bdf in functions {
            let group = self.shared.topology.requesters(*bdf);
            requesters.extend(group.ok_or(IoSpaceError::NoSuchFunction(*bdf))?);
            let backend = lock(&self.shared.devices).backend(*bdf);
            let backend = backend.ok_or(IoSpaceError::NotTaken(*bdf))?;
            if !backends.iter().any(|other| is_same(other, &backend)) {
                backends.push(backend);
            }
        }
        let Some(first) = functions.first() else {
            return Ok(None);
        };
        let claim = self.shared.spaces.claim(&backends);
        let claim = claim.ok_or(IoSpaceError::InUse(*first))?;
        let space = IoSpace::new(backends, requesters, self.shared.registry.clone(), claim);
        match peerdma::iommu::Translations::apertures(&space).is_empty() {
            true => Err(IoSpaceError::NoAperture),
            false => Ok(Some(space)),
        }
    }

    /// What the kernel refused last when memory was to be mapped for devices: an [`peerdma::iommu::IommuError`] has its number alone, this says what to
    /// do.
    pub fn refused(&self) -> Option<VfioError> {
        self.shared.spaces.refused()
    }

    /// RAM that was allocated and not freed.
    pub fn allocations(&self) -> Vec<Span<PhysAddr>> {
        let span = |(first, last)| Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).ok();
        match self.ram() {
            Some(ram) => lock(&ram.arena).taken().filter_map(span).collect(),
            None => Vec::new(),
        }
    }

    /// The RAM, placed if it has no place yet; nothing where devices and imports have left none. It is looked for again the next time: they may be gone
    /// by then.
    pub(super) fn ram(&self) -> Option<&Ram> {
        let ram = &self.shared.ram;
        if let Some(ram) = ram.get() {
            return Some(ram);
        }
        let _placing = lock(&self.shared.placing);
        match ram.get() {
            Some(ram) => Some(ram),
            None => {
                let placed = self.place_ram()?;
                Some(ram.get_or_init(|| placed))
            }
        }
    }

    fn place_ram(&self) -> Option<Ram> {
        let memory = self.shared.ram_memory.clone();
        let apertures = lock(&self.shared.devices).apertures();
        // Where the IOMMUs let no place be an I/O address as well, it gets I/O addresses of its own.
        let span = place(memory.len_bytes(), &self.ground(apertures))
            .or_else(|| place(memory.len_bytes(), &self.ground(None)))?;
        self.shared.registry.add_ram(span, memory.clone()).ok()?;
        let arena = Arena::new(span.first().to_u64(), span.last().to_u64(), page_bytes());
        Some(Ram {
            span,
            memory,
            arena: Mutex::new(arena),
        })
    }

    /// What is known of the machine's addresses.
    fn ground(&self, apertures: Option<Vec<Span<Iova>>>) -> Ground {
        let topology = &self.shared.topology;
        let map = self.shared.registry.map();
        let regions = map.regions().iter().filter_map(|region| {
            let (first, last) = (region.span.first().to_u64(), region.span.last().to_u64());
            Span::new(Iova::from_u64(first), Iova::from_u64(last)).ok()
        });
        let taken = (self.shared.reserved.iter().copied())
            .chain(reserved::seen_by_cpu(topology))
            .chain(regions);
        let has_bridge = |root: &peerdma::topology::Root| {
            let bridges = topology.host_bridges().iter();
            let mut its = bridges.filter(|bridge| (bridge.domain, bridge.bus) == (root.domain, root.bus));
            its.any(|bridge| bridge.windows.is_known())
        };
        Ground {
            taken: joined(taken),
            ram: match &topology.snapshot().host.ram {
                Fact::Known(ram) => ram.clone(),
                Fact::Unknown(_) => Vec::new(),
            },
            windows: match topology.roots().iter().all(has_bridge) {
                true => Windows::Known,
                false => Windows::Unknown,
            },
            apertures,
        }
    }
}

/// What IOMMUs map, and what is given to one owner alone, is a multiple of this: the system's page, where that is larger than theirs.
fn page_bytes() -> u64 {
    PAGE_BYTES.max(rustix::param::page_size() as u64)
}

/// The addresses that all of these can map; nothing where there are none of them.
pub(super) fn common<'b>(backends: impl Iterator<Item = &'b Arc<dyn Backend>>) -> Option<Vec<Span<Iova>>> {
    backends
        .map(|backend| backend.apertures())
        .reduce(|one, other| both(&one, &other))
}
