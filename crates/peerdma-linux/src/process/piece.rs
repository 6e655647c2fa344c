//! One region of the memory map, as the process has it: its pages, and where a dma-buf of it comes from.

use crate::sys::Memory;
use crate::vfio::Device;
use peerdma::addr::{PhysAddr, Span};
use peerdma::memory::RegionId;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// One region, as the process has it.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) region: RegionId,
    pub(super) span: Span<PhysAddr>,
    pub(super) kind: Kind,
    pub(super) pages: Pages,
}

/// By what the process has a region.
#[derive(Debug)]
pub(super) struct Pages {
    /// Its pages in the process, and where in them it begins; nothing where the process cannot see it.
    pub(super) memory: Option<(Arc<Memory>, u64)>,
    /// Where a dma-buf of it comes from.
    pub(super) dma_buf: Option<DmaBuf>,
}

/// Where a dma-buf of a region comes from.
#[derive(Debug)]
pub(super) enum DmaBuf {
    /// There is one; where in it the region begins.
    Given(Arc<OwnedFd>, u64),
    /// Its device exports one for each mapping, since a reset takes all back that there are; where in the BAR the region begins.
    ByDevice(Device, u8, u64),
}

/// What memory is to the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// RAM of the process.
    Ram,
    /// Memory behind a BAR.
    Bar,
    /// Memory behind a BAR that the kernel gives out (`p2pmem/allocate`).
    P2pmem,
}

impl Piece {
    /// First and last address in this process.
    pub(super) fn user_range(&self) -> Option<(u64, u64)> {
        let (memory, start) = self.pages.memory.as_ref()?;
        let first = memory.address().checked_add(*start)?;
        Some((first, first.checked_add(self.span.len_minus_one())?))
    }
}
