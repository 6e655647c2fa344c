//! [`Ground`] for the machine that runs us.

use super::Live;
use crate::error::Problem;
use crate::ground::{AddressSpace, End, Ground, Moved, Names, Place, Sort, Traffic};
use peerdma::addr::{Address, Bdf, Iova, PhysAddr, Span};
use peerdma::device::{DeviceError, Host};
use peerdma::dma::{Initiator, Ioas, Routes, SingleThread, Translation};
use peerdma::memory::{CpuView, Memory, MemoryMap};
use peerdma::plan::{DeviceMemory, Layout, OwnData};
use peerdma::route::TlpClass;
use peerdma::topology::Topology;
use peerdma_linux::process::Process;
use peerdma_linux::ring::{NOBODY, RingError, RingOptions, RingVolume, kernel_space};
use peerdma_linux::vfio;
use std::rc::Rc;
use std::sync::Arc;

/// NVMe controllers (PCI Code and ID Assignment, 1.9).
const NVME: u32 = 0x01_0802;
/// What the slots hold before a copy: neither zeros nor what an earlier run left.
const POISON: u64 = 0xa5a5_a5a5_a5a5_a5a5;
/// No block is smaller.
const POISON_STRIDE_BYTES: u64 = 512;

impl Host for Live {
    fn allocate(&self, len_bytes: u64, align_bytes: u64) -> Result<PhysAddr, DeviceError> {
        self.process.allocate(len_bytes, align_bytes)
    }

    fn free(&self, at: PhysAddr) {
        self.process.free(at);
    }

    fn read_ram(&self, at: PhysAddr, into: &mut [u8]) -> Result<(), DeviceError> {
        self.process.read_ram(at, into)
    }

    fn write_ram(&self, at: PhysAddr, from: &[u8]) -> Result<(), DeviceError> {
        self.process.write_ram(at, from)
    }

    fn load_acquire(&self, at: PhysAddr) -> Result<u32, DeviceError> {
        self.process.load_acquire(at)
    }

    fn load_bar(&self, at: PhysAddr, width_bytes: u8) -> Result<u64, DeviceError> {
        self.process.load_bar(at, width_bytes)
    }

    fn store_bar(&self, at: PhysAddr, width_bytes: u8, value: u64) -> Result<(), DeviceError> {
        self.process.store_bar(at, width_bytes, value)
    }

    fn now_ns(&self) -> u64 {
        self.process.now_ns()
    }

    fn relax(&self) {
        self.process.relax();
    }
}

impl Ground for Live {
    type Function = vfio::Function;
    type Volume = RingVolume<SingleThread, Process>;
    type Mark = u64;

    const SORT: Sort = Sort::Live;

    fn topology(&self) -> &Topology {
        self.shared.driven.topology()
    }

    fn memory_map(&self) -> MemoryMap {
        self.process.memory_map()
    }

    fn reserved(&self) -> Vec<Span<Iova>> {
        self.process.reserved()
    }

    fn routes(&self) -> Box<dyn Routes + '_> {
        Box::new(self.shared.driven.routes())
    }

    fn initiator(&self, bdf: Bdf) -> Option<Initiator> {
        self.process.initiator(bdf)
    }

    fn address_space(&self, bdf: Bdf) -> Result<AddressSpace, String> {
        let space = self.process.io_space(&[bdf]).map_err(|error| error.to_string())?;
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

    fn function(&self, bdf: Bdf) -> Result<vfio::Function, String> {
        let function = self.process.function(bdf);
        function.ok_or_else(|| "it was not taken from the kernel".into())
    }

    fn is_controller(&self, bdf: Bdf) -> bool {
        let topology = self.topology();
        let class = topology
            .find(bdf)
            .and_then(|node| topology.function(node).class());
        self.shared.driven.taken().contains(&bdf)
            && class.is_some_and(|class| class.class() == (NVME >> 8) as u16)
    }

    fn foreign_space(
        &self,
        bdf: Bdf,
        map: &MemoryMap,
        routes: &dyn Routes,
    ) -> Result<Option<Arc<Ioas<SingleThread>>>, String> {
        if self.shared.driven.taken().contains(&bdf) {
            return Ok(None);
        }
        let space = kernel_space(map.clone(), bdf, TlpClass::Strict, routes);
        space.map(Some).map_err(|error| error.to_string())
    }

    fn open(&self, end: &End, space: &Arc<Ioas<SingleThread>>, depth: u16) -> Result<Self::Volume, Problem> {
        let device = match end.place {
            Place::Own(place) => {
                let mut volumes = self.shared.volumes.borrow_mut();
                volumes.get_mut(place).and_then(Option::take)
            }
            Place::Namespace(_) => None,
        };
        let bad = |why: &dyn std::fmt::Display| {
            Problem::new(
                format_args!("{} cannot be used", end.name),
                why,
                "io_uring may be switched off here (sysctl kernel.io_uring_disabled), or too little memory may be locked (ulimit -l)",
            )
        };
        let device = device.ok_or_else(|| bad(&"it is in use already"))?;
        let options = RingOptions {
            depth,
            mode: self.shared.mode,
        };
        let volume = RingVolume::new(device, self.process.clone(), space, options);
        volume.map_err(|error| match error {
            RingError::NotPolled { .. } => Problem::new(
                format_args!("{} cannot be polled", end.name),
                "its driver has no queues for that",
                "leave out --polled; NVMe has them with the module's parameter poll_queues (kernel command line: nvme.poll_queues=1)",
            ),
            error => bad(&error),
        })
    }

    fn lent(&self) -> Vec<DeviceMemory> {
        let pools = self.shared.pools.iter().copied();
        // A controller's memory is its driver's to give.
        let lent = self.shared.lent.filter(|lent| !self.is_controller(lent.provider));
        pools.chain(lent).collect()
    }

    fn memory_of(&self, end: &End) -> Option<(DeviceMemory, OwnData)> {
        let is_its = |pool: &&DeviceMemory| pool.provider == end.initiator;
        let pool = self.shared.pools.iter().find(is_its)?;
        Some((*pool, OwnData::BOTH))
    }

    /// The kernel pins its own pools and RAM, and no BAR that VFIO has.
    fn takes_ram_alone(&self, end: &End) -> bool {
        matches!(end.place, Place::Own(_)) && self.shared.pools.is_empty()
    }

    fn poison_slots(&self, layout: &Layout) {
        let Some(len_bytes) = layout.stride_bytes.checked_mul(layout.slots.into()) else {
            return;
        };
        let map = self.memory_map();
        let region = map.find(layout.slots_at).map(|region| region.memory);
        let mut offset = 0;
        while offset < len_bytes {
            let Some(at) = layout.slots_at.checked_add(offset) else {
                return;
            };
            // Slots that cannot be written by the CPU hold what they hold; the proof does not depend on it.
            let stored = match region {
                Some(Memory::Bar(bar)) => match bar.cpu {
                    CpuView::Mmio(widths) if !widths.allow(8) => self.store_bar(at, 4, POISON & 0xffff_ffff),
                    CpuView::None => return,
                    CpuView::Mmio(_) | CpuView::Memory => self.store_bar(at, 8, POISON),
                },
                _ => self.write_ram(at, &POISON.to_le_bytes()),
            };
            if stored.is_err() {
                return;
            }
            offset += POISON_STRIDE_BYTES;
        }
    }

    /// The kernel waits with unbinding or removing a device until its file is closed.
    fn is_recalled(&self) -> bool {
        self.recalled().is_some()
    }

    fn refused(&self) -> Option<vfio::VfioError> {
        self.process.refused()
    }

    fn mark(&self) -> u64 {
        self.shared.moved.ram_bytes()
    }

    fn traffic(&self, since: &u64) -> Traffic {
        Traffic {
            ram_payload_bytes: self.shared.moved.ram_bytes().saturating_sub(*since),
            ram_queue_bytes: None,
            links: None,
        }
    }

    fn moved(&self) -> Option<Rc<Moved>> {
        Some(self.shared.moved.clone())
    }

    fn names(&self) -> Names<'_> {
        Names::new(self.topology()).with(NOBODY, "the kernel")
    }
}
