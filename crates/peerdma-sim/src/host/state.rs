//! All that a machine holds at a moment: what tests compare before and after.

use super::Computer;
use crate::fabric::Mapped;
use crate::memory::{Banks, Place};
use peerdma::addr::{Address, Bdf, PhysAddr, Span};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A stretch of memory of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// RAM, by physical address.
    Ram,
    /// Memory behind a BAR, from its start.
    Bar {
        /// Whose.
        bdf: Bdf,
        /// Which.
        bar: u8,
    },
    /// A namespace of an NVMe controller, from its start.
    Namespace {
        /// Whose.
        bdf: Bdf,
        /// Its number.
        number: u32,
    },
}

/// All bytes of RAM, of memory behind BARs and of namespaces, all mappings of the IOMMU, and all RAM that is allocated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What is not all zeros, by area and offset, in pages.
    pages: BTreeMap<(Area, u64), Box<[u8]>>,
    mappings: Vec<Mapped>,
    allocations: Vec<Span<PhysAddr>>,
}

/// Bytes that are not the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub area: Area,
    /// The first such byte: a physical address in RAM, else from the start of the area.
    pub first: u64,
    /// The last of those that follow each other.
    pub last: u64,
}

const PAGE_BYTES: u64 = 4096;
static ZEROS: [u8; PAGE_BYTES as usize] = [0; PAGE_BYTES as usize];

impl Computer {
    /// All that the machine holds now: costs memory and real time by what was ever written. Of a namespace in a file, what was
    /// read from it so far.
    pub fn state(&self) -> State {
        let mut areas: Vec<(Area, u64, Place, u64)> = Vec::new();
        for bank in self.bar_banks() {
            let (bdf, bar) = (bank.bdf, bank.bar);
            areas.push((Area::Bar { bdf, bar }, 0, bank.place, bank.len_bytes));
        }
        for function in self.shared.topology.snapshot().functions() {
            let bdf = function.bdf;
            for namespace in self.namespaces(bdf) {
                let number = namespace.number;
                areas.push((
                    Area::Namespace { bdf, number },
                    0,
                    namespace.place,
                    namespace.len_bytes(),
                ));
            }
        }
        let mut machine = self.shared.machine.borrow_mut();
        for span in self.ram_spans() {
            let first = span.first().to_u64();
            if let Some((place, len_bytes)) = machine.ram(first) {
                areas.push((Area::Ram, first, place, len_bytes));
            }
        }
        let banks = machine.banks();
        let mut pages = BTreeMap::new();
        for (area, base, place, len_bytes) in areas {
            add_pages(banks, area, base, place, len_bytes, &mut pages);
        }
        let mappings = machine.fabric().iommu().mappings().collect();
        State {
            pages,
            mappings,
            allocations: self.allocations(),
        }
    }
}

/// Adds the pages of a stretch of a bank, whose first byte is the area's at `base`.
fn add_pages(
    banks: &Banks,
    area: Area,
    base: u64,
    place: Place,
    len_bytes: u64,
    pages: &mut BTreeMap<(Area, u64), Box<[u8]>>,
) {
    let end = place.offset.saturating_add(len_bytes);
    let mut buffer = [0; PAGE_BYTES as usize];
    for unit in banks.written(place.bank) {
        let mut offset = unit.max(place.offset);
        let unit_end = unit.saturating_add(Banks::unit_bytes()).min(end);
        while offset < unit_end {
            // Pages are the area's, wherever its bank begins.
            let at = base + (offset - place.offset);
            let within = at % PAGE_BYTES;
            let count = (PAGE_BYTES - within).min(unit_end - offset);
            let part = &mut buffer[..count as usize];
            let read = banks.read(Place { offset, ..place }, part);
            if read.is_ok() && *part != ZEROS[..count as usize] {
                let page =
                    (pages.entry((area, at - within))).or_insert_with(|| vec![0; PAGE_BYTES as usize].into());
                page[within as usize..(within + count) as usize].copy_from_slice(part);
            }
            offset += count;
        }
    }
}

impl State {
    /// All mappings of the IOMMU.
    pub fn mappings(&self) -> &[Mapped] {
        &self.mappings
    }

    /// All RAM that was allocated.
    pub fn allocations(&self) -> &[Span<PhysAddr>] {
        &self.allocations
    }

    /// A number that is the same for the same bytes, mappings and allocations.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.pages.hash(&mut hasher);
        self.mappings.hash(&mut hasher);
        self.allocations.hash(&mut hasher);
        hasher.finish()
    }

    /// Bytes that are not the same in both, in order.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut found: Vec<Difference> = Vec::new();
        let mut places: Vec<&(Area, u64)> = self.pages.keys().chain(other.pages.keys()).collect();
        places.sort_unstable();
        places.dedup();
        for place in places {
            let (area, base) = *place;
            let (one, two) = (self.pages.get(place), other.pages.get(place));
            if one == two {
                continue;
            }
            let byte = |page: Option<&Box<[u8]>>, at: usize| {
                page.and_then(|page| page.get(at)).copied().unwrap_or(0)
            };
            for at in 0..PAGE_BYTES as usize {
                if byte(one, at) == byte(two, at) {
                    continue;
                }
                let offset = base + at as u64;
                match found.last_mut() {
                    Some(last) if last.area == area && last.last.checked_add(1) == Some(offset) => {
                        last.last = offset;
                    }
                    _ => found.push(Difference {
                        area,
                        first: offset,
                        last: offset,
                    }),
                }
            }
        }
        found
    }

    /// The state with these bytes in an area: what was to become of it.
    #[must_use]
    pub fn with_bytes(mut self, area: Area, offset: u64, bytes: &[u8]) -> Self {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = at % PAGE_BYTES;
            let count = rest.len().min((PAGE_BYTES - within) as usize);
            let (now, later) = rest.split_at(count);
            let key = (area, at - within);
            let page = self
                .pages
                .entry(key)
                .or_insert_with(|| vec![0; PAGE_BYTES as usize].into());
            if let Some(place) = page.get_mut(within as usize..within as usize + count) {
                place.copy_from_slice(now);
            }
            if page.iter().all(|byte| *byte == 0) {
                self.pages.remove(&key);
            }
            at += count as u64;
            rest = later;
        }
        self
    }
}
