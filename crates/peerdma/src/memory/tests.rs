//! The map against a table of addresses.

use super::*;
use crate::addr::{Address, Bdf, PhysAddr, Span};
use alloc::vec::Vec;
use proptest::prelude::*;

fn span(first: u64, len: u64) -> Span<PhysAddr> {
    Span::new(
        PhysAddr::from_u64(first),
        PhysAddr::from_u64(first.saturating_add(len)),
    )
    .unwrap()
}

fn bar(bar: u8, offset_bytes: u64, bus_offset: u64) -> BarMemory {
    BarMemory {
        provider: Bdf::from_devfn(0, 1, 0),
        bar,
        offset_bytes,
        bus_offset,
        cpu: CpuView::None,
    }
}

proptest! {
    #[test]
    fn each_address_lies_in_the_region_that_was_put_there(
        steps in proptest::collection::vec((0..200u64, 0..20u64, any::<bool>(), any::<u8>()), 0..40),
    ) {
        let mut map = MemoryMap::new();
        let mut table: Vec<Option<RegionId>> = std::vec![None; 256];
        let mut ids = Vec::new();
        for (first, len, removes, which) in steps {
            let before = map.clone();
            if removes && !ids.is_empty() {
                let id = ids.swap_remove(usize::from(which) % ids.len());
                map = map.without(id).unwrap();
                prop_assert!(map.without(id).is_err());
                for cell in table.iter_mut().filter(|cell| **cell == Some(id)) {
                    *cell = None;
                }
            } else {
                let cells = first as usize..=(first + len) as usize;
                let is_free = table[cells.clone()].iter().all(Option::is_none);
                match map.with_ram(span(first, len)) {
                    Ok((next, id)) => {
                        prop_assert!(is_free);
                        prop_assert!(!ids.contains(&id) && before.get(id).is_none());
                        table[cells].fill(Some(id));
                        ids.push(id);
                        map = next;
                    }
                    Err(error) => {
                        let is_overlap = matches!(error, MapError::Overlap { .. });
                        prop_assert!(is_overlap && !is_free);
                    }
                }
            }
            prop_assert!(map.epoch() >= before.epoch());
            for (at, id) in table.iter().enumerate() {
                let found = map.find(PhysAddr::from_u64(at as u64)).map(|region| region.id);
                prop_assert_eq!(found, *id);
            }
        }
    }

    #[test]
    fn no_region_makes_the_map_panic(first: u64, len: u64, number: u8, offset: u64, bus_offset: u64) {
        if let Ok((map, id)) = MemoryMap::new().with_bar(span(first, len), bar(number, offset, bus_offset)) {
            let region = map.get(id).unwrap();
            prop_assert!(number < 6);
            let Memory::Bar(bar) = region.memory else { panic!("a BAR became RAM") };
            prop_assert!(bar.bus_address(region.span.first()) <= bar.bus_address(region.span.last()));
        }
    }
}

#[test]
fn the_last_byte_can_be_registered() {
    let (map, id) = MemoryMap::new().with_ram(span(u64::MAX - 4095, 4095)).unwrap();
    assert_eq!(map.find(PhysAddr::from_u64(u64::MAX)).unwrap().id, id);
}

#[test]
fn a_part_of_a_bar_lies_in_the_map_once() {
    let (map, _) = MemoryMap::new()
        .with_bar(span(0x1000, 0xfff), bar(2, 0x1000, 0))
        .unwrap();
    let refused = map.with_bar(span(0x4000, 0xfff), bar(2, 0x1fff, 0));
    assert!(matches!(refused, Err(MapError::SamePart { .. })));
    assert!(map.with_bar(span(0x4000, 0xfff), bar(2, 0x2000, 0)).is_ok());
    assert!(map.with_bar(span(0x4000, 0xfff), bar(3, 0x1000, 0)).is_ok());
    let refused = map.with_bar(span(0x4000, 0xfff), bar(3, u64::MAX, 0));
    assert!(matches!(refused, Err(MapError::TooFarIn { .. })));
}
