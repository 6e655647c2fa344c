//! What lies where in the process's memory map, and where the process itself has it: the registry that addresses and pointers are looked up in.

use super::piece::{Kind, Pages, Piece};
use super::sync::{RwLock, change, value};
use crate::sys::Memory;
use peerdma::addr::{Address, Bdf, Origin, PhysAddr, PhysVec, Span};
use peerdma::memory::{BarMemory, CpuView, MapError, Memory as Kinds, MemoryMap, Region, RegionId, Widths};
use std::sync::Arc;

/// Names for memory whose address nobody knows begin here: processors have 52 bits, and [`super::Process::initiator`] issues no more.
pub(super) const NAMES: u64 = 1 << 52;

/// All memory that the process knows. What is looked up stays mapped for as long as the result is held.
#[derive(Debug)]
pub(super) struct Registry {
    regions: RwLock<Arc<Regions>>,
}

/// Replaced as a whole by each change.
#[derive(Debug, Clone, Default)]
struct Regions {
    map: MemoryMap,
    /// By address.
    pieces: Vec<Arc<Piece>>,
    /// How many bytes of names were given. None is given again: an address space that still knows it would take other memory for what it meant.
    named_bytes: u64,
}

/// Where the process has what lies at a physical address.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The pages.
    pub memory: Arc<Memory>,
    /// Where in them.
    pub offset_bytes: u64,
    /// What they are.
    pub kind: Kind,
}

/// A pointer leads to memory that the process did not register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "at {at:#x} in this process there is no memory that devices can be given; take it from `Process::allocate`, or from a mapped BAR or p2pmem"
)]
pub struct NotRegistered {
    /// The first such byte, as a number.
    pub at: u64,
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            regions: RwLock::new(Arc::default()),
        }
    }

    /// The memory map as it is now.
    pub(super) fn map(&self) -> MemoryMap {
        value(&self.regions).map.clone()
    }

    /// Adds RAM.
    pub(super) fn add_ram(&self, span: Span<PhysAddr>, memory: Arc<Memory>) -> Result<RegionId, MapError> {
        let pages = Pages {
            memory: Some((memory, 0)),
            dma_buf: None,
        };
        self.add(span, Kind::Ram, pages, |map| map.with_ram(span))
    }

    /// Adds memory behind a BAR.
    pub(super) fn add_bar(
        &self,
        span: Span<PhysAddr>,
        bar: BarMemory,
        kind: Kind,
        pages: Pages,
    ) -> Result<RegionId, MapError> {
        self.add(span, kind, pages, |map| map.with_bar(span, bar))
    }

    /// Adds memory behind a BAR whose address nobody knows, at one that is nothing else's; an error without a reason where none is left.
    pub(super) fn add_named(
        &self,
        provider: Bdf,
        bar: u8,
        len_bytes: u64,
        pages: Pages,
    ) -> Result<Span<PhysAddr>, Option<MapError>> {
        change(&self.regions, |regions| {
            let span = || {
                let first = NAMES.checked_add(regions.named_bytes)?;
                let first = first.checked_next_multiple_of(super::arena::PAGE_BYTES)?;
                let last = first.checked_add(len_bytes.checked_sub(1)?)?;
                Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).ok()
            };
            let span = span().ok_or(None)?;
            let memory = BarMemory {
                provider,
                bar,
                offset_bytes: span.first().to_u64() - NAMES,
                bus_offset: 0,
                // The process sees it by its name.
                cpu: CpuView::Mmio(Widths::ALL),
            };
            regions.add(span, Kind::P2pmem, pages, |map| map.with_bar(span, memory))?;
            Arc::make_mut(regions).named_bytes = (span.last().to_u64() - NAMES).saturating_add(1);
            Ok(span)
        })
    }

    /// Takes a region out. Its pages stay in the process for as long as someone holds them, as address spaces do that map them.
    pub(super) fn remove(&self, region: RegionId) -> Result<(), MapError> {
        // What leaves is dropped outside of the lock: it may be unmapped.
        let (_left, result) = change(&self.regions, |regions| {
            let map = match regions.map.without(region) {
                Ok(map) => map,
                Err(error) => return (None, Err(error)),
            };
            let mut pieces = regions.pieces.clone();
            pieces.retain(|piece| piece.region != region);
            let changed = Regions {
                map,
                pieces,
                ..**regions
            };
            let left = std::mem::replace(regions, Arc::new(changed));
            (Some(left), Ok(()))
        });
        result
    }

    /// Takes out all memory of a function.
    pub(super) fn remove_all_of(&self, provider: Bdf) {
        let is_its = |region: &&Region| matches!(region.memory, Kinds::Bar(bar) if bar.provider == provider);
        for region in self.map().regions().iter().filter(is_its) {
            // Somebody else may have taken it out.
            let _ = self.remove(region.id);
        }
    }

    /// The region that holds all of a range.
    pub(super) fn find(&self, at: PhysAddr, len_bytes: u64) -> Option<Arc<Piece>> {
        let regions = value(&self.regions);
        let index = regions.pieces.partition_point(|piece| piece.span.last() < at);
        let piece = regions.pieces.get(index)?;
        let last = at.checked_add(len_bytes.checked_sub(1)?)?;
        (piece.span.contains(at) && piece.span.contains(last)).then(|| piece.clone())
    }

    /// Where the process has all of a range; nothing where it lies in no region, in several, or cannot be seen.
    pub(super) fn resolve(&self, at: PhysAddr, len_bytes: u64) -> Option<Resolved> {
        let piece = self.find(at, len_bytes)?;
        let (memory, start) = piece.pages.memory.as_ref()?;
        Some(Resolved {
            memory: memory.clone(),
            offset_bytes: start + (at.to_u64() - piece.span.first().to_u64()),
            kind: piece.kind,
        })
    }

    /// The physical pieces of a range of this process's own addresses.
    pub(super) fn map_user(&self, mut at: u64, mut len_bytes: u64) -> Result<Vec<PhysVec>, NotRegistered> {
        let regions = value(&self.regions);
        let mut pieces = Vec::new();
        while len_bytes > 0 {
            let found = regions.pieces.iter().find_map(|piece| {
                let (first, last) = piece.user_range()?;
                (first <= at && at <= last).then(|| (piece, at - first, last - at))
            });
            let (piece, into, left_less_one) = found.ok_or(NotRegistered { at })?;
            let origin = match piece.kind {
                Kind::Ram => Origin::Ram,
                Kind::Bar | Kind::P2pmem => Origin::LookUp,
            };
            let most = (1 << 32) - super::arena::PAGE_BYTES;
            let len = len_bytes.min(left_less_one.saturating_add(1)).min(most);
            let vector = (piece.span.first().checked_add(into))
                .and_then(|phys| PhysVec::new(phys, u32::try_from(len).ok()?, origin).ok());
            pieces.push(vector.ok_or(NotRegistered { at })?);
            len_bytes -= len;
            at = match at.checked_add(len) {
                Some(next) => next,
                None if len_bytes == 0 => at,
                None => return Err(NotRegistered { at }),
            };
        }
        Ok(pieces)
    }

    fn add(
        &self,
        span: Span<PhysAddr>,
        kind: Kind,
        pages: Pages,
        with: impl FnOnce(&MemoryMap) -> Result<(MemoryMap, RegionId), MapError>,
    ) -> Result<RegionId, MapError> {
        change(&self.regions, |regions| regions.add(span, kind, pages, with))
    }
}

/// A change of the one that is in use: those that read it keep theirs.
impl Regions {
    fn add(
        self: &mut Arc<Self>,
        span: Span<PhysAddr>,
        kind: Kind,
        pages: Pages,
        with: impl FnOnce(&MemoryMap) -> Result<(MemoryMap, RegionId), MapError>,
    ) -> Result<RegionId, MapError> {
        let (map, region) = with(&self.map)?;
        let mut pieces = self.pieces.clone();
        let index = pieces.partition_point(|piece| piece.span.first() < span.first());
        let piece = Piece {
            region,
            span,
            kind,
            pages,
        };
        pieces.insert(index, Arc::new(piece));
        *self = Arc::new(Self {
            map,
            pieces,
            ..**self
        });
        Ok(region)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const PAGE: u64 = 4096;

    fn span(first: u64, len_bytes: u64) -> Span<PhysAddr> {
        Span::new(
            PhysAddr::from_u64(first),
            PhysAddr::from_u64(first + len_bytes - 1),
        )
        .unwrap()
    }

    fn bar(number: u8) -> BarMemory {
        BarMemory {
            provider: "0000:01:00.0".parse().unwrap(),
            bar: number,
            offset_bytes: 0,
            bus_offset: 0,
            cpu: CpuView::Mmio(Widths::ALL),
        }
    }

    fn in_part(memory: &Arc<Memory>, offset_bytes: u64) -> Pages {
        Pages {
            memory: Some((memory.clone(), offset_bytes)),
            dma_buf: None,
        }
    }

    #[test]
    fn a_range_is_found_where_one_region_holds_all_of_it() {
        let registry = Registry::new();
        let ram = Arc::new(Memory::anonymous(4 * PAGE).unwrap());
        let pages = Arc::new(Memory::anonymous(4 * PAGE).unwrap());
        registry.add_ram(span(0x10_0000, 4 * PAGE), ram.clone()).unwrap();
        let next = span(0x10_0000 + 4 * PAGE, PAGE);
        registry
            .add_bar(next, bar(2), Kind::Bar, in_part(&pages, PAGE))
            .unwrap();
        let at = |address, len| registry.resolve(PhysAddr::from_u64(address), len);
        let found = at(0x10_0010, 2 * PAGE).unwrap();
        assert_eq!((found.offset_bytes, found.kind), (0x10, Kind::Ram));
        assert!(Arc::ptr_eq(&found.memory, &ram));
        let found = at(0x10_4000, PAGE).unwrap();
        assert_eq!((found.offset_bytes, found.kind), (PAGE, Kind::Bar));
        assert!(at(0x10_3fff, 2).is_none());
        assert!(at(0x10_4fff, 2).is_none());
        assert!(at(0xf_ffff, 1).is_none());
        assert!(at(0x10_0000, 0).is_none());
        assert!(at(u64::MAX, 2).is_none());
        assert!(registry.add_ram(span(0x10_1000, PAGE), ram).is_err());
    }

    #[test]
    fn a_pointer_leads_to_the_regions_behind_it_and_to_nothing_else() {
        let registry = Registry::new();
        let memory = Arc::new(Memory::anonymous(4 * PAGE).unwrap());
        // Two regions that follow each other in the process, and not in the machine.
        registry
            .add_bar(
                span(0x80_0000, 2 * PAGE),
                bar(0),
                Kind::P2pmem,
                in_part(&memory, PAGE),
            )
            .unwrap();
        let later = registry
            .add_bar(
                span(0x20_0000, PAGE),
                bar(2),
                Kind::Bar,
                in_part(&memory, 3 * PAGE),
            )
            .unwrap();
        let start = memory.address();
        let vector = registry.map_user(start + PAGE + 8, 2 * PAGE).unwrap();
        let told: Vec<_> = (vector.iter())
            .map(|piece| (piece.addr().to_u64(), u64::from(piece.len_bytes())))
            .collect();
        assert_eq!(told, [(0x80_0008, 2 * PAGE - 8), (0x20_0000, 8)]);
        assert!(vector.iter().all(|piece| piece.origin() == Origin::LookUp));
        assert_eq!(registry.map_user(start, 1), Err(NotRegistered { at: start }));
        let end = start + 4 * PAGE;
        assert_eq!(registry.map_user(end - 1, 2), Err(NotRegistered { at: end }));
        assert_eq!(registry.map_user(start, 0), Ok(Vec::new()));
        assert_eq!(
            registry.map_user(u64::MAX, 2),
            Err(NotRegistered { at: u64::MAX })
        );
        registry.remove(later).unwrap();
        assert!(registry.remove(later).is_err());
        assert_eq!(registry.map_user(end - 1, 1), Err(NotRegistered { at: end - 1 }));
        assert_eq!(registry.map().regions().len(), 1);
    }

    #[test]
    fn a_name_that_was_given_back_never_means_other_memory() {
        let registry = Registry::new();
        let add = |provider: &str| {
            let memory = Arc::new(Memory::anonymous(PAGE).unwrap());
            let provider = provider.parse().unwrap();
            registry
                .add_named(provider, 2, PAGE, in_part(&memory, 0))
                .unwrap()
        };
        let first = add("0000:01:00.0");
        registry.remove_all_of("0000:01:00.0".parse().unwrap());
        let second = add("0000:02:00.0");
        assert!(first.last() < second.first());
        assert!(registry.resolve(first.first(), 1).is_none());
    }

    #[test]
    fn what_was_found_stays_mapped_after_its_region_was_removed() {
        let registry = Registry::new();
        let memory = Arc::new(Memory::anonymous(PAGE).unwrap());
        let weak = Arc::downgrade(&memory);
        let pages = Pages {
            memory: Some((memory, 0)),
            dma_buf: None,
        };
        let region = registry
            .add_bar(span(0x80_0000, PAGE), bar(0), Kind::Bar, pages)
            .unwrap();
        let found = registry.resolve(PhysAddr::from_u64(0x80_0000), 8).unwrap();
        registry.remove(region).unwrap();
        found.memory.store_u64(found.offset_bytes, 1).unwrap();
        drop(found);
        assert!(weak.upgrade().is_none());
    }
}
