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
    /// What of it can be mapped, as offsets in bytes: whole pages, sorted, without those of the MSI-X table. Empty where nothing can.
    pub areas: Vec<Range<u64>>,
    /// Where in the device's file it is.
    pub(super) file_offset_bytes: u64,
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
    /// The memory in which `len_bytes` from an offset of the BAR on lie, and where in it.
    pub fn find(&self, offset_bytes: u64, len_bytes: u64) -> Option<(&Arc<Memory>, u64)> {
        let end = offset_bytes.checked_add(len_bytes)?;
        self.areas.iter().find_map(|(start, memory)| {
            let within = offset_bytes.checked_sub(*start)?;
            (end - start <= memory.len_bytes()).then_some((memory, within))
        })
    }
}

/// What of BAR `bar` can be mapped: whole pages, and none of the MSI-X table, by which devices that write to it could forge interrupts.
///
/// Where pages are larger than 4 KiB, registers may share one with the table; if the kernel allows it, that page is mapped.
pub(super) fn areas(region: &Region, bar: u8, msix: Option<&MsixTable>, page_bytes: u64) -> Vec<Range<u64>> {
    let whole = 0..region.len_bytes / page_bytes * page_bytes;
    let table = msix.filter(|table| table.bar == bar).map(|table| {
        let start = table.bytes.start / page_bytes * page_bytes;
        start..table.bytes.end.div_ceil(page_bytes).saturating_mul(page_bytes)
    });
    let areas = match &region.mapping {
        Mapping::Nothing => Vec::new(),
        Mapping::Areas(areas) => areas.clone(),
        Mapping::Everything if page_bytes > 4096 => Vec::from([whole]),
        Mapping::Everything | Mapping::AroundMsix => match table {
            Some(table) => Vec::from([0..table.start.min(whole.end), table.end..whole.end]),
            None => Vec::from([whole]),
        },
    };
    let in_pages = areas.into_iter().filter_map(|area| {
        let start = area.start.checked_next_multiple_of(page_bytes)?;
        Some(start..area.end / page_bytes * page_bytes)
    });
    in_pages.filter(|area| area.start < area.end).collect()
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

    #[test]
    fn the_pages_of_the_msix_table_are_left_out() {
        let table = MsixTable {
            bar: 0,
            bytes: 0x2010..0x2810,
        };
        for mapping in [Mapping::AroundMsix, Mapping::Everything] {
            assert_eq!(
                areas(&region(mapping.clone()), 0, Some(&table), 4096),
                [0..0x2000, 0x3000..0x4000]
            );
            assert_eq!(areas(&region(mapping), 2, Some(&table), 4096), [0..0x4000]);
        }
        let at_start = MsixTable {
            bar: 0,
            bytes: 0..0x1001,
        };
        assert_eq!(
            areas(&region(Mapping::AroundMsix), 0, Some(&at_start), 4096),
            [0x2000..0x4000]
        );
        let beyond = MsixTable {
            bar: 0,
            bytes: 0x3ff0..u64::MAX,
        };
        assert_eq!(
            areas(&region(Mapping::AroundMsix), 0, Some(&beyond), 4096),
            [0..0x3000]
        );
    }

    #[test]
    fn large_pages_that_hold_the_table_are_mapped_only_where_the_kernel_allows_it() {
        let mut region = region(Mapping::AroundMsix);
        region.len_bytes = 0x1_0000;
        let table = MsixTable {
            bar: 0,
            bytes: 0x2000..0x2800,
        };
        assert_eq!(
            areas(&region, 0, Some(&table), 0x1_0000),
            Vec::<Range<u64>>::new()
        );
        region.mapping = Mapping::Everything;
        assert_eq!(areas(&region, 0, Some(&table), 0x1_0000), [0..0x1_0000]);
    }

    #[test]
    fn what_shares_a_page_with_others_is_not_mapped() {
        let mut region = region(Mapping::Areas(Vec::from([0x800..0x2800, 0x3000..0x3800])));
        assert_eq!(areas(&region, 0, None, 4096), [0x1000..0x2000]);
        region.mapping = Mapping::Nothing;
        assert!(areas(&region, 0, None, 4096).is_empty());
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
