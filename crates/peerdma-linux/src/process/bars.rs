//! Memory behind BARs as regions of the memory map: of functions that were taken, by dma-bufs of others, and of the kernel's pools.

use super::registry::{Kind, Pages};
use super::{Process, ProcessError};
use crate::sys::Memory;
use peerdma::addr::{Address, Bdf, PhysAddr, Span};
use peerdma::fact::Fact;
use peerdma::memory::{BarMemory, CpuView, MapError, RegionId, Widths};
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
    /// [`ProcessError::NoSuchMemory`], [`ProcessError::Map`]
    pub fn import_dma_buf(
        &self,
        fd: OwnedFd,
        provider: Bdf,
        bar: u8,
        offset_bytes: u64,
        len_bytes: u64,
    ) -> Result<Span<PhysAddr>, ProcessError> {
        let part = self.part(provider, bar, offset_bytes, len_bytes)?;
        let memory = Memory::of_file(fd.as_fd(), 0, len_bytes).ok();
        let face = Face {
            bar,
            offset_bytes,
            span: part.span,
            bus_offset: part.bus_offset,
            pages: Pages {
                memory: memory.map(|memory| (Arc::new(memory), 0)),
                dma_buf: Some((Arc::new(fd), 0)),
            },
        };
        self.expose(provider, face)?;
        Ok(part.span)
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

    /// Adds a part of a BAR to the memory map.
    pub(super) fn expose(&self, provider: Bdf, face: Face) -> Result<RegionId, ProcessError> {
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
        match (facts.phys, facts.bus_address) {
            (Fact::Known(phys), Fact::Known(bus)) => {
                Some((phys, bus.to_u64().wrapping_sub(phys.first().to_u64())))
            }
            _ => None,
        }
    }
}
