//! A device's BARs: where they are, what of them can be mapped, and their mappings.

use super::config::MsixTable;
use super::info::{Mapping, Region};
use crate::sys::Memory;
use peerdma::addr::{BusAddr, PhysAddr, Span};
use std::ops::Range;
use std::sync::Arc;

/// A memory BAR that has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarInfo {
    /// Its number.
    pub bar: u8,
    /// Where the CPU sees it (from sysfs: the registers that VFIO shows are not the true ones).
    pub phys: Span<PhysAddr>,
    /// Its address on the bus (from sysfs); unknown for virtual functions, which have no BAR registers of their own.
    pub bus: Option<BusAddr>,
    /// Is the memory free of side effects on reading?
    pub prefetchable: bool,
    /// What of it can be mapped: whole pages, sorted, without those of the MSI-X table. Empty where nothing can.
    pub areas: Vec<Area>,
    /// Where in the device's file it is.
    pub(super) file_offset_bytes: u64,
}

/// A part of a BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Where in the BAR it begins.
    pub offset_bytes: u64,
    /// Bytes of it: at least 1.
    pub len_bytes: u64,
}

/// A BAR in this process's memory.
#[derive(Debug, Clone)]
pub struct BarMapping {
    /// Its areas: the offset in the BAR at which each begins, and its memory.
    pub areas: Arc<[(u64, Arc<Memory>)]>,
}

impl BarInfo {
    /// Bytes of it.
    pub fn len_bytes(&self) -> u64 {
        self.phys.len_minus_one().saturating_add(1)
    }
}

impl BarMapping {
    /// Has any of it lost the device ([`Memory::is_gone`])?
    pub fn is_gone(&self) -> bool {
        self.areas.iter().any(|(_, memory)| memory.is_gone())
    }

    /// The memory in which `len_bytes` from an offset of the BAR on lie, and where in it.
    pub fn find(&self, offset_bytes: u64, len_bytes: u64) -> Option<(&Arc<Memory>, u64)> {
        let end = offset_bytes.checked_add(len_bytes)?;
        self.areas.iter().find_map(|(start, memory)| {
            let within = offset_bytes.checked_sub(*start)?;
            (end - start <= memory.len_bytes()).then_some((memory, within))
        })
    }
}

impl Area {
    /// The bytes from `start` up to `end`; nothing where those are none.
    pub(super) fn new(start: u64, end: u64) -> Option<Self> {
        let len_bytes = end.checked_sub(start).filter(|len_bytes| *len_bytes != 0)?;
        Some(Self {
            offset_bytes: start,
            len_bytes,
        })
    }

    pub(super) fn start(self) -> u64 {
        self.offset_bytes
    }

    pub(super) fn end(self) -> u64 {
        self.offset_bytes.saturating_add(self.len_bytes)
    }
}

/// What of BAR `bar` can be mapped: whole pages, and none of the MSI-X table, by which devices that write to it could forge interrupts.
///
/// Where pages are larger than 4 KiB, registers may share one with the table; if the kernel allows it, that page is mapped.
pub(super) fn areas(region: &Region, bar: u8, msix: Option<&MsixTable>, page_bytes: u64) -> Vec<Area> {
    let len_bytes = region.len_bytes;
    let table = msix.filter(|table| table.bar == bar).map(|table| &table.bytes);
    let areas = match (&region.mapping, table) {
        (Mapping::Nothing, _) => Vec::new(),
        (Mapping::Areas(areas), _) => areas.clone(),
        (Mapping::Everything, Some(table)) if page_bytes <= 4096 => around(table, len_bytes, page_bytes),
        (Mapping::AroundMsix, Some(table)) => around(table, len_bytes, page_bytes),
        (Mapping::Everything | Mapping::AroundMsix, _) => Area::new(0, len_bytes).into_iter().collect(),
    };
    let in_pages = areas.into_iter().filter_map(|area| {
        let start = area.start().checked_next_multiple_of(page_bytes)?;
        Area::new(start, area.end() / page_bytes * page_bytes)
    });
    in_pages.collect()
}

/// What lies before and behind the pages of a table.
fn around(table: &Range<u64>, len_bytes: u64, page_bytes: u64) -> Vec<Area> {
    let before = Area::new(0, (table.start / page_bytes * page_bytes).min(len_bytes));
    let behind = Area::new(
        table.end.div_ceil(page_bytes).saturating_mul(page_bytes),
        len_bytes,
    );
    before.into_iter().chain(behind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(mapping: Mapping) -> Region {
        Region {
            offset_bytes: 0,
            len_bytes: 0x4000,
            mapping,
        }
    }

    fn ends(areas: &[Area]) -> Vec<(u64, u64)> {
        areas.iter().map(|area| (area.start(), area.end())).collect()
    }

    #[test]
    fn the_pages_of_the_msix_table_are_left_out() {
        let table = MsixTable {
            bar: 0,
            bytes: 0x2010..0x2810,
        };
        for mapping in [Mapping::AroundMsix, Mapping::Everything] {
            let region = region(mapping);
            assert_eq!(
                ends(&areas(&region, 0, Some(&table), 4096)),
                [(0, 0x2000), (0x3000, 0x4000)]
            );
            assert_eq!(ends(&areas(&region, 2, Some(&table), 4096)), [(0, 0x4000)]);
        }
        let region = region(Mapping::AroundMsix);
        let at_start = MsixTable {
            bar: 0,
            bytes: 0..0x1001,
        };
        assert_eq!(
            ends(&areas(&region, 0, Some(&at_start), 4096)),
            [(0x2000, 0x4000)]
        );
        let beyond = MsixTable {
            bar: 0,
            bytes: 0x3ff0..u64::MAX,
        };
        assert_eq!(ends(&areas(&region, 0, Some(&beyond), 4096)), [(0, 0x3000)]);
    }

    #[test]
    fn large_pages_that_hold_the_table_are_mapped_only_where_the_kernel_allows_it() {
        let mut region = region(Mapping::AroundMsix);
        region.len_bytes = 0x1_0000;
        let table = MsixTable {
            bar: 0,
            bytes: 0x2000..0x2800,
        };
        assert_eq!(ends(&areas(&region, 0, Some(&table), 0x1_0000)), []);
        region.mapping = Mapping::Everything;
        assert_eq!(ends(&areas(&region, 0, Some(&table), 0x1_0000)), [(0, 0x1_0000)]);
    }

    #[test]
    fn what_shares_a_page_with_others_is_not_mapped() {
        let given = [(0x800, 0x2800), (0x3000, 0x3800)].map(|(start, end)| Area::new(start, end).unwrap());
        let mut region = region(Mapping::Areas(given.into()));
        assert_eq!(ends(&areas(&region, 0, None, 4096)), [(0x1000, 0x2000)]);
        region.mapping = Mapping::Nothing;
        assert_eq!(ends(&areas(&region, 0, None, 4096)), []);
        region.mapping = Mapping::AroundMsix;
        region.len_bytes = u64::MAX;
        assert_eq!(ends(&areas(&region, 0, None, 4096)), [(0, u64::MAX - 4095)]);
    }

    #[test]
    fn a_place_in_a_bar_is_found_in_the_area_that_holds_all_of_it() {
        let area = |start, len_bytes| (start, Arc::new(Memory::anonymous(len_bytes).unwrap()));
        let mapping = BarMapping {
            areas: [area(0, 0x2000), area(0x3000, 0x1000)].into(),
        };
        assert_eq!(mapping.find(0x3010, 4).map(|(_, within)| within), Some(0x10));
        assert!(mapping.find(0x1ffe, 4).is_none());
        assert!(mapping.find(0x2000, 4).is_none());
        assert!(mapping.find(u64::MAX, 4).is_none());
    }
}
