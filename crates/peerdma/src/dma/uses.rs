//! Who uses which region: one counter for each region and mapper, written by that mapper alone.
//!
//! A mapper that maps and a revoker that takes a region away must not both go on. Neither takes a lock; each first says what it does and then
//! looks what the other does:
//!
//! ```text
//! mapper                                   revoker
//!   counts its uses                          marks the region, then counts the generation up
//!   fence (SeqCst)                           fence (SeqCst)
//!   reads the generation                     reads the counters
//!   changed? take the uses back, look again  not zero? the region is in use
//! ```
//!
//! Of two such fences one comes first, so at least one of the two sees what the other wrote. `tests/revocation_model.rs` tries every order.

use crate::memory::{MemoryMap, RegionId};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Counters of one mapper, in the order of the regions of a memory map.
#[derive(Debug)]
pub(super) struct Uses {
    pub(super) mapper: usize,
    map: Arc<MemoryMap>,
    counts: Box<[AtomicUsize]>,
}

/// A use that was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) region: RegionId,
    /// The region's place in the memory map that was used.
    pub(super) place: u32,
}

impl Uses {
    pub(super) fn new(mapper: usize, map: Arc<MemoryMap>) -> Self {
        let counts = map.regions().iter().map(|_| AtomicUsize::new(0)).collect();
        Self { mapper, map, counts }
    }

    /// The same counters for another map. What it no longer has is not in use: who changes the map sees to it.
    pub(super) fn moved_to(&self, map: Arc<MemoryMap>) -> Self {
        let moved = Self::new(self.mapper, map);
        for (count, region) in moved.counts.iter().zip(moved.map.regions()) {
            count.store(self.of(region.id), Ordering::Relaxed);
        }
        moved
    }

    /// Only its mapper calls it.
    pub(super) fn add(&self, place: u32) {
        if let Some(count) = self.counts.get(place as usize) {
            count.store(count.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Only its mapper calls it. Who sees the lower count also sees all that was done before.
    pub(super) fn remove(&self, place: u32) {
        if let Some(count) = self.counts.get(place as usize) {
            count.store(count.load(Ordering::Relaxed).saturating_sub(1), Ordering::Release);
        }
    }

    pub(super) fn place_of(&self, region: RegionId) -> Option<u32> {
        let place = self.map.regions().iter().position(|other| other.id == region)?;
        u32::try_from(place).ok()
    }

    pub(super) fn of(&self, region: RegionId) -> usize {
        let count = self
            .place_of(region)
            .and_then(|place| self.counts.get(place as usize));
        count.map_or(0, |count| count.load(Ordering::Acquire))
    }

    pub(super) fn are_none(&self) -> bool {
        self.counts.iter().all(|count| count.load(Ordering::Acquire) == 0)
    }
}
