//! Memory behind BARs as regions of the memory map: of functions that were taken, by dma-bufs of others, and of the kernel's pools.

use super::piece::{DmaBuf, Kind, Pages};
use super::sync::lock;
use super::{Process, ProcessError};
use crate::sys::Memory;
use crate::vfio::{BarInfo, Device, VfioError};
use peerdma::addr::{Address, Bdf, BusAddr, PhysAddr, Span};
use peerdma::fact::Fact;
use peerdma::memory::{BarMemory, CpuView, MapError, RegionId, Widths};
use rustix::fs::SeekFrom;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// A part of a BAR that is to be memory for devices.
#[derive(Debug)]
pub(super) struct Face {
    pub(super) bar: u8,
    /// Where in the BAR it begins.
    pub(super) offset_bytes: u64,
    /// Where the CPU sees it.
    pub(super) span: Span<PhysAddr>,
    /// Added to a physical address to give the one on the bus.
    pub(super) bus_offset: u64,
    pub(super) pages: Pages,
}

/// Where a part of a BAR lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) span: Span<PhysAddr>,
    pub(super) bus_offset: u64,
}

impl Process {
    /// Adds memory of a BAR that somebody else has exported: of a GPU, by its driver, or of a device that another process has by VFIO. `fd` must
    /// show `len_bytes` of the BAR from `offset_bytes` on. Where its exporter lets it be mapped into the process the CPU can touch it, too.
    ///
    /// A container of type 1 maps it for devices only where the process could map it; iommufd takes those dma-bufs that VFIO has exported.
    ///
    /// # Errors
    /// [`ProcessError::NoSuchMemory`] (also where it is shorter than is said), [`ProcessError::Map`]
    pub fn import_dma_buf(
        &self,
        fd: OwnedFd,
        provider: Bdf,
        bar: u8,
        offset_bytes: u64,
        len_bytes: u64,
    ) -> Result<Span<PhysAddr>, ProcessError> {
        let part = self.part(provider, bar, offset_bytes, len_bytes)?;
        // A dma-buf tells its length so (`dma_buf_llseek` in drivers/dma-buf/dma-buf.c). What lies behind it is not there: touching it would end the process.
        if rustix::fs::seek(&fd, SeekFrom::End(0)).is_ok_and(|has_bytes| has_bytes < len_bytes) {
            return Err(ProcessError::NoSuchMemory {
                provider,
                bar,
                offset_bytes,
                len_bytes,
            });
        }
        let memory = Memory::of_device(fd.as_fd(), 0, len_bytes).ok();
        let face = Face {
            bar,
            offset_bytes,
            span: part.span,
            bus_offset: part.bus_offset,
            pages: Pages {
                memory: memory.map(|memory| (Arc::new(memory), 0)),
                dma_buf: Some(DmaBuf::Given(Arc::new(fd), 0)),
            },
        };
        self.expose(provider, face)?;
        Ok(part.span)
    }

    /// Adds a part of a BAR of a function that was taken: one that is memory though its register does not say so (it is not prefetchable). What
    /// cannot be mapped, around the MSI-X table, is left out; so are parts of pages. All of the BAR is mapped, whatever part of it is added.
    ///
    /// # Errors
    /// [`ProcessError::NoSuchMemory`], [`ProcessError::BarNotMapped`], [`ProcessError::Map`]
    pub fn add_bar(
        &self,
        provider: Bdf,
        bar: u8,
        offset_bytes: u64,
        len_bytes: u64,
    ) -> Result<Vec<Span<PhysAddr>>, ProcessError> {
        let none = ProcessError::NoSuchMemory {
            provider,
            bar,
            offset_bytes,
            len_bytes,
        };
        let device = lock(&self.shared.devices).device(provider).ok_or(none.clone())?;
        let end = offset_bytes.checked_add(len_bytes).ok_or(none.clone())?;
        let info = device.bar(bar).ok_or(none.clone())?;
        let faces = self.faces(&device, info, offset_bytes..end)?;
        let spans: Vec<_> = faces.iter().map(|face| face.span).collect();
        match spans.is_empty() {
            true => Err(none),
            false => self.expose_all(provider, faces).map(|_| spans),
        }
    }

    /// Adds memory that the kernel has given out of a BAR, at its address where that is known; elsewhere at one that names it alone.
    ///
    /// # Errors
    /// [`ProcessError::NoSuchMemory`], [`ProcessError::Map`]
    pub fn add_p2pmem(
        &self,
        provider: Bdf,
        bar: u8,
        at: Option<PhysAddr>,
        memory: Arc<Memory>,
    ) -> Result<Span<PhysAddr>, ProcessError> {
        let len_bytes = memory.len_bytes();
        let none = ProcessError::NoSuchMemory {
            provider,
            bar,
            offset_bytes: 0,
            len_bytes,
        };
        let pages = Pages {
            memory: Some((memory, 0)),
            dma_buf: None,
        };
        if let Some(at) = at {
            let offset_bytes = self
                .whole_bar(provider, bar)
                .and_then(|(whole, _)| at.to_u64().checked_sub(whole.first().to_u64()));
            let part = self.part(provider, bar, offset_bytes.ok_or(none)?, len_bytes)?;
            let memory = BarMemory {
                provider,
                bar,
                offset_bytes: offset_bytes.unwrap_or(0),
                bus_offset: part.bus_offset,
                cpu: CpuView::Mmio(Widths::ALL),
            };
            (self.shared.registry).add_bar(part.span, memory, Kind::P2pmem, pages)?;
            return Ok(part.span);
        }
        let registry = &self.shared.registry;
        registry
            .add_named(provider, bar, len_bytes, pages)
            .map_err(|error| match error {
                Some(error) => ProcessError::Map(error),
                None => none,
            })
    }

    /// Takes memory out of the memory map that was imported or added. Address spaces that map it keep it in the process for as long as they do.
    ///
    /// # Errors
    /// [`MapError::NoSuchRegion`]
    pub fn remove(&self, region: RegionId) -> Result<(), MapError> {
        self.shared.registry.remove(region)
    }

    /// What can be mapped of a part of a BAR: whole pages. Nothing of one whose address on the bus nobody knows.
    pub(super) fn faces(
        &self,
        device: &Device,
        info: &BarInfo,
        part: Range<u64>,
    ) -> Result<Vec<Face>, ProcessError> {
        let Some(bus_offset) = self.bus_offset(device.bdf(), info.phys.first(), info.bus) else {
            return Ok(Vec::new());
        };
        let mapping = match device.map_bar(info.bar) {
            Ok(mapping) => mapping,
            Err(VfioError::NotMappable { .. }) => return Ok(Vec::new()),
            Err(source) => {
                return Err(ProcessError::BarNotMapped {
                    provider: device.bdf(),
                    bar: info.bar,
                    len_bytes: info.len_bytes(),
                    source,
                });
            }
        };
        let page = rustix::param::page_size() as u64;
        let face = |(start, memory): &(u64, Arc<Memory>)| {
            let first = part.start.max(*start).checked_next_multiple_of(page)?;
            let end = part.end.min(start.checked_add(memory.len_bytes())?) / page * page;
            let len_bytes = end.checked_sub(first).filter(|len_bytes| *len_bytes > 0)?;
            let at = info.phys.first().checked_add(first)?;
            Some(Face {
                bar: info.bar,
                offset_bytes: first,
                span: Span::new(at, at.checked_add(len_bytes - 1)?).ok()?,
                bus_offset,
                pages: Pages {
                    memory: Some((memory.clone(), first - start)),
                    dma_buf: Some(DmaBuf::ByDevice(device.clone(), info.bar, first)),
                },
            })
        };
        Ok(mapping.areas.iter().filter_map(face).collect())
    }

    /// What a function's bridge adds to the address of a BAR: by the BAR's own register, else by the window that it lies in; on x86 nothing.
    /// A register that holds 0 has no address, or has lost it in a reset.
    fn bus_offset(&self, bdf: Bdf, first: PhysAddr, register: Option<BusAddr>) -> Option<u64> {
        let register = register.filter(|address| address.to_u64() != 0);
        let windows = || {
            let bridge = self.shared.topology.host_bridge(bdf)?;
            bridge
                .windows()
                .iter()
                .find_map(|window| window.bus_address(first))
        };
        let is_x86 = matches!(&self.shared.topology.snapshot().host.cpu, Fact::Known(cpu) if cpu.is_x86());
        match register.or_else(windows) {
            Some(bus) => Some(bus.to_u64().wrapping_sub(first.to_u64())),
            None => is_x86.then_some(0),
        }
    }

    /// Adds parts of BARs to the memory map; on an error none.
    pub(super) fn expose_all(&self, provider: Bdf, faces: Vec<Face>) -> Result<Vec<RegionId>, ProcessError> {
        let mut regions = Vec::new();
        for face in faces {
            match self.expose(provider, face) {
                Ok(region) => regions.push(region),
                Err(error) => {
                    self.withdraw(regions);
                    return Err(error);
                }
            }
        }
        Ok(regions)
    }

    /// Takes back what [`Self::expose_all`] added a moment ago.
    pub(super) fn withdraw(&self, regions: Vec<RegionId>) {
        for region in regions {
            // Whoever else has seen it may have taken it out.
            let _ = self.shared.registry.remove(region);
        }
    }

    /// Adds a part of a BAR to the memory map.
    fn expose(&self, provider: Bdf, face: Face) -> Result<RegionId, ProcessError> {
        let memory = BarMemory {
            provider,
            bar: face.bar,
            offset_bytes: face.offset_bytes,
            bus_offset: face.bus_offset,
            cpu: CpuView::Mmio(Widths::ALL),
        };
        let registry = &self.shared.registry;
        Ok(registry.add_bar(face.span, memory, Kind::Bar, face.pages)?)
    }

    /// A part of a BAR, from what the machine's own description says.
    fn part(&self, provider: Bdf, bar: u8, offset_bytes: u64, len_bytes: u64) -> Result<Part, ProcessError> {
        let part = || {
            let (whole, bus_offset) = self.whole_bar(provider, bar)?;
            let first = whole.first().checked_add(offset_bytes)?;
            let last = first.checked_add(len_bytes.checked_sub(1)?)?;
            let span = Span::new(first, last).ok()?;
            whole.contains(last).then_some(Part { span, bus_offset })
        };
        part().ok_or(ProcessError::NoSuchMemory {
            provider,
            bar,
            offset_bytes,
            len_bytes,
        })
    }

    fn whole_bar(&self, provider: Bdf, bar: u8) -> Option<(Span<PhysAddr>, u64)> {
        let topology = &self.shared.topology;
        let bars = topology.function(topology.find(provider)?).bars().known()?;
        let facts = bars
            .into_iter()
            .find(|facts| facts.index == bar && facts.kind.is_memory())?;
        let phys = facts.phys.known()?;
        let bus_offset = self.bus_offset(provider, phys.first(), facts.bus_address.known());
        Some((phys, bus_offset?))
    }
}
