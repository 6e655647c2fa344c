//! Random machines, random vectors: refused, or every byte exactly where the vector says.

use super::model::*;
use crate::addr::{Address, Origin, PhysAddr, PhysVec};
use crate::dma::{Constraints, Direction, LookUpError, MapError, MemoryKind, OwnBase, Space};
use crate::memory::{Memory, MemoryMap};
use crate::route::spec::Form;
use crate::route::{Access, MapType, TlpClass};
use alloc::vec::Vec;
use proptest::prelude::*;

/// Where regions may lie: slots of 64 pages, so that some touch each other.
const SLOT: u64 = 64 * PAGE;

#[derive(Debug, Clone)]
struct Plan {
    slots: Vec<Slot>,
    is_translated: bool,
    inbound: [i64; 2],
    masks: [u64; 2],
    classes: [TlpClass; 2],
    routes: Vec<(u8, u8, Access, MapType, Form)>,
    own: Option<(u64, u64, u64)>,
    reserved: Vec<(u64, u64)>,
    registered: Vec<bool>,
    aperture_pages: u64,
}

#[derive(Debug, Clone, Copy)]
enum Slot {
    Hole,
    Ram { pages: u64, trim: u64 },
    Bar { provider: u8, bus_offset: i64 },
}

fn slot() -> impl Strategy<Value = Slot> {
    prop_oneof![
        1 => Just(Slot::Hole),
        6 => (prop_oneof![1..=64u64, Just(64)], prop_oneof![3 => Just(0u64), 1 => 0..PAGE]).prop_map(|(pages, trim)| Slot::Ram { pages, trim }),
        5 => (0..4u8, prop_oneof![Just(0i64), Just(0x4000_0000), Just(-0x10_0000), Just(0x800)])
            .prop_map(|(provider, bus_offset)| Slot::Bar { provider, bus_offset }),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let access = prop_oneof![Just(Access::Read), Just(Access::Write)];
    let map_type = prop_oneof![Just(MapType::BusAddr), Just(MapType::ThruHostBridge)];
    let form = prop_oneof![Just(Form::BusAddress), Just(Form::HostAddress)];
    let class = || prop_oneof![3 => Just(TlpClass::Strict), 1 => Just(TlpClass::Translated)];
    let inbound = || prop_oneof![3 => Just(0i64), 1 => Just(0x10_0000), 1 => Just(-0x100_0000)];
    let mask = || prop_oneof![4 => Just(u64::MAX), 1 => Just(0xff_ffff), 1 => Just(u64::from(u32::MAX))];
    (
        proptest::collection::vec(slot(), 3..9),
        any::<bool>(),
        [inbound(), inbound()],
        [mask(), mask()],
        [class(), class()],
        proptest::collection::vec((0..2u8, 0..4u8, access, map_type, form), 0..40),
        proptest::option::of((
            0..40 * PAGE,
            1..64 * PAGE,
            prop_oneof![Just(0x8000_0000u64), 0..0x100_0000u64],
        )),
        proptest::collection::vec((0..0x300_0000u64, 0..0x8000u64), 0..3),
        proptest::collection::vec(any::<bool>(), 9),
        prop_oneof![Just(1u64 << 18), Just(2048u64)],
    )
        .prop_map(
            |(
                slots,
                is_translated,
                inbound,
                masks,
                classes,
                routes,
                own,
                reserved,
                registered,
                aperture_pages,
            )| Plan {
                slots,
                is_translated,
                inbound,
                masks,
                classes,
                routes,
                own,
                reserved,
                registered,
                aperture_pages,
            },
        )
}

fn build(plan: &Plan) -> Machine {
    let mut map = MemoryMap::new();
    for (number, slot) in (16u64..).zip(&plan.slots) {
        let first = number * SLOT;
        let next = match *slot {
            Slot::Hole => continue,
            Slot::Ram { pages, trim } => map.with_ram(phys(first, first + pages * PAGE - 1 - trim)),
            Slot::Bar { provider, bus_offset } => {
                let mut memory = bar(provider, (number % 6) as u8, bus_offset as u64);
                // No part of a BAR lies twice in the map.
                memory.offset_bytes = if number < 22 { 0 } else { SLOT };
                if provider == 3 {
                    memory.bar = 1;
                    memory.offset_bytes = number * SLOT;
                }
                map.with_bar(phys(first, first + SLOT - 1), memory)
            }
        };
        map = next.unwrap().0;
    }
    let mut routes = Table::default();
    for &(from, to, access, map_type, form) in &plan.routes {
        routes.0.insert((bdf(from), bdf(to), access), (map_type, form));
    }
    let initiators = (0..2)
        .map(|number| {
            let mut one = initiator(number as u8);
            one.inbound_offset = plan.inbound[number] as u64;
            one.address_mask = plan.masks[number];
            one.class = plan.classes[number];
            one
        })
        .collect();
    let reserved = plan.reserved.iter().map(|(first, len)| iova(*first, first + len));
    let mut machine = Machine::new(
        map,
        plan.is_translated,
        reserved.collect(),
        [iova(0, plan.aperture_pages * PAGE - 1)].to_vec(),
        initiators,
        routes,
    );
    if let Some((offset_bytes, len_bytes, base)) = plan.own {
        let own_bar = machine
            .map
            .regions()
            .iter()
            .find_map(|region| match region.memory {
                Memory::Bar(bar) if bar.provider == bdf(0) => Some(bar.bar),
                _ => None,
            });
        let own = OwnBase {
            bar: own_bar.unwrap_or(0),
            offset_bytes,
            len_bytes,
            base,
        };
        if machine.ioas.set_own_base(bdf(0), Some(own)).is_ok() {
            machine.own[0] = Some(own);
        }
    }
    for (region, registered) in machine.map.regions().iter().zip(&plan.registered) {
        if *registered {
            let _ = machine.ioas.register(region.id);
        }
    }
    machine
}

/// A vector by place in a slot, so that most of it lies in some memory.
fn vector(plan: &Plan, wanted: &[(usize, u64, u32, bool)]) -> Vec<PhysVec> {
    let pieces = wanted.iter().filter_map(|&(slot, into, len, flagged)| {
        let slot = 16 + (slot % plan.slots.len()) as u64;
        let origin = match flagged {
            true => Origin::LookUp,
            false => Origin::Ram,
        };
        PhysVec::new(PhysAddr::from_u64(slot * SLOT + into), len, origin).ok()
    });
    pieces.collect()
}

fn wanted() -> impl Strategy<Value = Vec<(usize, u64, u32, bool)>> {
    let into = prop_oneof![
        (0..16u64).prop_map(|page| page * PAGE),
        (0..60 * PAGE).prop_map(|at| at & !3),
    ];
    let len = prop_oneof![
        (1..6u32).prop_map(|pages| pages * PAGE as u32),
        (1..2048u32).prop_map(|dwords| dwords * 4),
        Just(1u32)
    ];
    let flagged = prop_oneof![9 => Just(true), 1 => Just(false)];
    proptest::collection::vec((0..9usize, into, len, flagged), 0..6)
}

fn constraints() -> impl Strategy<Value = Constraints> {
    let segment = prop_oneof![2 => Just(u32::MAX), 1 => Just(PAGE as u32), 1 => 0..0x3000u32];
    let boundary = prop_oneof![2 => Just(u64::MAX), 1 => Just(0xfffu64), 1 => Just(0x1_ffff)];
    let gap = prop_oneof![4 => Just(0u64), 1 => Just(0xfffu64)];
    let align = prop_oneof![4 => Just(1u32), 2 => Just(4u32)];
    let most = prop_oneof![4 => Just(u32::MAX), 1 => 0..4u32];
    let mask = prop_oneof![4 => Just(u64::MAX), 1 => Just(0x7f_ffffu64)];
    (segment, boundary, gap, align, most, mask).prop_map(
        |(max_segment_bytes, boundary_mask, gap_mask, align_bytes, max_segments, address_mask)| Constraints {
            max_segment_bytes,
            max_segments,
            boundary_mask,
            gap_mask,
            align_bytes,
            address_mask,
        },
    )
}

fn accesses(direction: Direction) -> impl Iterator<Item = Access> {
    let both = [Access::Read, Access::Write].into_iter();
    both.filter(move |access| direction.includes(*access))
}

/// Is a refusal of the look-up the one that a search of every byte's region gives?
fn expected_look_up(map: &MemoryMap, vector: &[PhysVec]) -> Option<LookUpError> {
    if vector.is_empty() {
        return Some(LookUpError::Empty);
    }
    let region_of = |at: u64| {
        let is_there = |region: &&crate::memory::Region| region.span.contains(PhysAddr::from_u64(at));
        map.regions()
            .iter()
            .find(is_there)
            .map(|region| match region.memory {
                Memory::Ram => None,
                Memory::Bar(bar) => Some(bar.provider),
            })
    };
    for (index, piece) in vector.iter().enumerate() {
        let mut first = None;
        for at in piece.addr().to_u64()..=piece.last().to_u64() {
            let here = PhysAddr::from_u64(at);
            let Some(provider) = region_of(at) else {
                return Some(LookUpError::Hole { index, at: here });
            };
            if *first.get_or_insert(provider) != provider {
                return Some(LookUpError::CrossesRegions { index, at: here });
            }
            if let Some(provider) = provider
                && piece.origin() == Origin::Ram
            {
                return Some(LookUpError::UnflaggedPeer { index, provider });
            }
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_byte_lies_where_the_vector_says_or_nothing_is_mapped(
        plan in plan(),
        requests in proptest::collection::vec((wanted(), 0..2usize, 0..3u8, constraints()), 1..6),
    ) {
        let machine = build(&plan);
        let mut mappers = [0, 1].map(|number| machine.ioas.mapper(bdf(number)).unwrap());
        let before = machine.state();
        let mut mapped = Vec::new();
        for (wanted, who, direction, constraints) in &requests {
            let direction = [Direction::DeviceReads, Direction::DeviceWrites, Direction::Both][*direction as usize];
            let vector = vector(&plan, wanted);
            let expected = expected_look_up(&machine.map, &vector);
            let located = match (mappers[*who].look_up(&vector), expected) {
                (Ok(located), None) => located,
                (Err(error), Some(expected)) => {
                    prop_assert_eq!(error, expected);
                    continue;
                }
                (Ok(_), Some(error)) => panic!("looked up in spite of {error:?}"),
                (Err(error), None) => panic!("{error:?}"),
            };
            let held = machine.tables.borrow().clone();
            match mappers[*who].map(located, direction, constraints) {
                Ok(mapping) => {
                    judge(&machine, *who, &vector, direction, constraints, mapping.list());
                    mapped.push((*who, mapping));
                }
                Err(error) => {
                    prop_assert_ne!(error, MapError::Stale);
                    prop_assert_eq!(&held, &*machine.tables.borrow());
                }
            }
        }
        // All together still lead where they should.
        for (who, mapping) in mapped.into_iter().rev() {
            prop_assert!(mappers[who].unmap(mapping).is_ok());
        }
        drop(mappers);
        prop_assert_eq!(before, machine.state());
    }
}

fn judge(
    machine: &Machine,
    who: usize,
    vector: &[PhysVec],
    direction: Direction,
    constraints: &Constraints,
    list: &crate::dma::DmaList,
) {
    let expected = runs(
        vector
            .iter()
            .map(|piece| (piece.addr().to_u64(), piece.len_bytes().into())),
    );
    for access in accesses(direction) {
        let mut reached = Vec::new();
        for segment in list.segments() {
            let (mut at, end) = (segment.addr, segment.addr + u64::from(segment.len_bytes));
            while at < end {
                let found = machine.reaches(who, *segment, at, access);
                let (phys, len) = found.unwrap_or_else(|| panic!("{segment:?} leads nowhere at {at:#x}"));
                // What is told by tables is told byte by byte elsewhere: a stretch of one page at most.
                let len = if len == 1 {
                    (PAGE - phys % PAGE).min(PAGE - at % PAGE).min(16)
                } else {
                    len
                };
                let len = len.min(end - at);
                reached.push((phys, len));
                at += len;
            }
        }
        assert_eq!(runs(reached.into_iter()), expected, "{list:?}");
    }
    let total: u64 = vector.iter().map(|piece| u64::from(piece.len_bytes())).sum();
    assert_eq!(list.len_bytes(), total);
    assert!(list.segments().len() <= constraints.max_segments as usize);
    for (index, segment) in list.segments().iter().enumerate() {
        let (first, last) = (segment.addr, segment.addr + u64::from(segment.len_bytes) - 1);
        assert!(segment.len_bytes <= constraints.max_segment_bytes);
        assert!(last <= constraints.address_mask);
        assert!(segment.space == Space::Own || last <= machine.initiators[who].address_mask);
        assert_eq!(
            first & !constraints.boundary_mask,
            last & !constraints.boundary_mask
        );
        assert_eq!(first % u64::from(constraints.align_bytes), 0);
        assert_eq!(segment.len_bytes % constraints.align_bytes, 0);
        if index > 0 {
            assert_eq!(first & constraints.gap_mask, 0);
        }
        if index + 1 < list.segments().len() {
            assert_eq!((last + 1) & constraints.gap_mask, 0);
        }
        check_means_one_thing(machine, who, segment);
    }
}

/// Invariant 6, address by address at both ends: what is reserved, or a BAR's on the bus, leads to exactly that or is not issued.
fn check_means_one_thing(machine: &Machine, who: usize, segment: &crate::dma::DmaSegment) {
    if segment.space != Space::Iova {
        return;
    }
    for at in [segment.addr, segment.addr + u64::from(segment.len_bytes) - 1] {
        let (phys, _) = (machine.reaches(who, *segment, at, Access::Read))
            .or_else(|| machine.reaches(who, *segment, at, Access::Write))
            .unwrap();
        let is_itself =
            machine
                .map
                .find(PhysAddr::from_u64(phys))
                .is_some_and(|region| match region.memory {
                    Memory::Bar(bar) => bar.bus_address(PhysAddr::from_u64(phys)).to_u64() == at,
                    Memory::Ram => false,
                });
        let in_reserved = machine
            .reserved
            .iter()
            .any(|span| span.contains(crate::addr::Iova::from_u64(at)));
        assert!(!in_reserved || is_itself, "{at:#x} is reserved");
        if let Some(own) = machine.own[who] {
            assert!(
                !(own.base..own.base + own.len_bytes).contains(&at),
                "{at:#x} is its own"
            );
        }
        for region in machine.map.regions() {
            let Memory::Bar(bar) = region.memory else { continue };
            let on_bus = PhysAddr::from_u64(at.wrapping_sub(bar.bus_offset));
            let is_near = bar.provider == bdf(who as u8) || machine.is_translated;
            if is_near && region.span.contains(on_bus) {
                assert!(
                    segment.kind != MemoryKind::Ram && on_bus.to_u64() == phys,
                    "{at:#x} is a BAR's"
                );
            }
        }
    }
}
