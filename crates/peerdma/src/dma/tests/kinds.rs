//! The kinds one by one, and what is refused for which reason.

use super::model::*;
use crate::addr::{Address, Origin, PhysAddr, PhysVec};
use crate::dma::{
    Constraints, Direction, DmaSegment, Initiator, IoasError, MapBarError, MapError, MemoryKind, OwnBase,
    Refused, Space,
};
use crate::memory::{BarMemory, CpuView, MemoryMap};
use crate::route::spec::Form;
use crate::route::{Access, MapType, TlpClass};
use alloc::vec::Vec;

fn piece(at: u64, len: u32) -> PhysVec {
    PhysVec::new(PhysAddr::from_u64(at), len, Origin::LookUp).unwrap()
}

fn one(machine: &Machine, vector: &[PhysVec], direction: Direction) -> Result<Vec<DmaSegment>, MapError> {
    let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
    let located = mapper.look_up(vector).unwrap();
    let mapping = mapper.map(located, direction, &Constraints::NONE)?;
    let segments = mapping.list().segments().to_vec();
    mapper.unmap(mapping).unwrap();
    Ok(segments)
}

fn direct(map: MemoryMap, reserved: &[(u64, u64)], routes: Table, inbound_offset: u64) -> Machine {
    let mut issuer = initiator(0);
    issuer.inbound_offset = inbound_offset;
    let reserved = reserved.iter().map(|(first, last)| iova(*first, *last)).collect();
    Machine::new(map, false, reserved, Vec::new(), [issuer].to_vec(), routes)
}

fn routes(accesses: &[(Access, MapType, Form)]) -> Table {
    let mut table = Table::default();
    for &(access, map_type, form) in accesses {
        table.0.insert((bdf(0), bdf(2), access), (map_type, form));
    }
    table
}

/// RAM at 1 MiB, a peer's BAR at 16 MiB that lies 256 MiB higher on the bus, the initiator's own at 32 MiB.
fn map() -> MemoryMap {
    let (map, _) = MemoryMap::new().with_ram(phys(0x10_0000, 0x1f_ffff)).unwrap();
    let (map, _) = map
        .with_bar(phys(0x100_0000, 0x10f_ffff), bar(2, 0, 0x1000_0000))
        .unwrap();
    map.with_bar(phys(0x200_0000, 0x20f_ffff), bar(0, 4, 0x1000_0000))
        .unwrap()
        .0
}

const ON_BUS: [(Access, MapType, Form); 2] = [
    (Access::Read, MapType::BusAddr, Form::BusAddress),
    (Access::Write, MapType::BusAddr, Form::BusAddress),
];

#[test]
fn each_kind_has_its_own_address() {
    let machine = direct(map(), &[], routes(&ON_BUS), 0x1_0000);
    let own = OwnBase {
        bar: 4,
        offset_bytes: 0x1000,
        len_bytes: 0x2000,
        base: 0x7000_0000,
    };
    machine.ioas.set_own_base(bdf(0), Some(own)).unwrap();
    let vector = [piece(0x10_0000, 16), piece(0x100_0000, 16), piece(0x200_1010, 16)];
    let segment = |addr, space, kind| DmaSegment {
        addr,
        len_bytes: 16,
        space,
        kind,
    };
    let expected = [
        segment(0xf_0000, Space::Iova, MemoryKind::Ram),
        segment(0x1100_0000, Space::Bus, MemoryKind::PeerOnBus),
        segment(0x7000_0010, Space::Own, MemoryKind::OwnBar),
    ];
    assert_eq!(one(&machine, &vector, Direction::Both).unwrap(), expected);
    let not_named = |addr| {
        let error = one(&machine, &[piece(addr, 16)], Direction::DeviceReads).unwrap_err();
        matches!(
            error,
            MapError::Unreachable {
                refused: Refused::NotNamed(_),
                ..
            }
        )
    };
    assert!(not_named(0x200_0ff8) && not_named(0x200_3000) && not_named(0x200_2ff8));
}

#[test]
fn a_function_names_each_of_its_bars_by_a_base_of_its_own() {
    let (map, _) = MemoryMap::new()
        .with_bar(phys(0x200_0000, 0x200_ffff), bar(0, 2, 0x1000_0000))
        .unwrap();
    let (map, _) = map
        .with_bar(phys(0x300_0000, 0x300_ffff), bar(0, 4, 0x1000_0000))
        .unwrap();
    let machine = direct(map, &[], routes(&ON_BUS), 0);
    let base = |bar, offset_bytes, base| OwnBase {
        bar,
        offset_bytes,
        len_bytes: 0x1000,
        base,
    };
    let bases = [
        base(4, 0, 0x7000_0000),
        base(2, 0x3000, 0x7000_1000),
        base(2, 0x1000, 0x5000_0000),
    ];
    machine.ioas.set_own_bases(bdf(0), &bases).unwrap();
    for (at, named) in [
        (0x200_1010, 0x5000_0010),
        (0x200_3ff0, 0x7000_1ff0),
        (0x300_0010, 0x7000_0010),
    ] {
        let segments = one(&machine, &[piece(at, 16)], Direction::Both).unwrap();
        assert_eq!(segments.len(), 1);
        assert_eq!((segments[0].addr, segments[0].space), (named, Space::Own));
        let back = machine.ioas.resolve(bdf(0), &segments[0]);
        assert_eq!(back, Some(PhysAddr::from_u64(at)));
    }
    for at in [0x200_0ff8, 0x200_2000, 0x300_1000] {
        assert!(one(&machine, &[piece(at, 16)], Direction::Both).is_err());
    }
    // Two things by one address, one byte by two names: what was said before holds.
    let bad = Err(IoasError::BadOwnBase(bdf(0)));
    for other in [base(5, 0, 0x7000_0fff), base(4, 0xfff, 0), base(6, 0, 0)] {
        assert_eq!(machine.ioas.set_own_bases(bdf(0), &[bases[0], other]), bad);
    }
    assert!(one(&machine, &[piece(0x200_1010, 16)], Direction::Both).is_ok());
    machine.ioas.set_own_base(bdf(0), None).unwrap();
    assert!(one(&machine, &[piece(0x200_1010, 16)], Direction::Both).is_err());
}

#[test]
fn an_address_leads_back_to_where_it_came_from() {
    let machine = direct(map(), &[], routes(&ON_BUS), 0x1_0000);
    let own = OwnBase {
        bar: 4,
        offset_bytes: 0x1000,
        len_bytes: 0x2000,
        base: 0x7000_0000,
    };
    machine.ioas.set_own_base(bdf(0), Some(own)).unwrap();
    for at in [0x10_0010, 0x100_0020, 0x200_1030] {
        let segments = one(&machine, &[piece(at, 8)], Direction::DeviceWrites).unwrap();
        let back = machine.ioas.resolve(bdf(0), &segments[0]);
        assert_eq!(back, Some(PhysAddr::from_u64(at)));
    }
}

#[test]
fn a_direction_that_is_not_reached_is_refused_unless_forced_and_that_is_seen() {
    let machine = direct(map(), &[], routes(&ON_BUS[1..]), 0);
    let vector = [piece(0x100_0000, 16)];
    assert!(one(&machine, &vector, Direction::DeviceWrites).is_ok());
    for direction in [Direction::DeviceReads, Direction::Both] {
        let error = one(&machine, &vector, direction).unwrap_err();
        assert!(matches!(
            error,
            MapError::Unreachable {
                access: Access::Read,
                ..
            }
        ));
    }
    let region = machine.map.regions()[1].id;
    let force = |map_type| {
        machine
            .ioas
            .force(bdf(0), region, Access::Read, map_type, Form::BusAddress)
    };
    force(MapType::BusAddr);
    let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
    for (direction, is_forced) in [
        (Direction::DeviceReads, true),
        (Direction::DeviceWrites, false),
        (Direction::Both, true),
    ] {
        let located = mapper.look_up(&vector).unwrap();
        let mapping = mapper.map(located, direction, &Constraints::NONE).unwrap();
        assert_eq!(mapping.is_forced(), is_forced);
        mapper.unmap(mapping).unwrap();
    }
    force(MapType::NotSupported);
    assert!(one(&machine, &vector, Direction::DeviceReads).is_err());
}

#[test]
fn two_addresses_for_one_mapping_are_refused_and_one_by_two_ways_is_not() {
    let through = (Access::Write, MapType::ThruHostBridge, Form::HostAddress);
    let machine = direct(map(), &[], routes(&[ON_BUS[0], through]), 0);
    let vector = [piece(0x100_0000, 16)];
    let error = one(&machine, &vector, Direction::Both).unwrap_err();
    assert!(matches!(error, MapError::TwoAddresses(_)));
    let by_bus = (Access::Write, MapType::ThruHostBridge, Form::BusAddress);
    let machine = direct(map(), &[], routes(&[ON_BUS[0], by_bus]), 0);
    let segments = one(&machine, &vector, Direction::Both).unwrap();
    assert_eq!(segments[0].kind, MemoryKind::PeerThroughHostBridge);
}

#[test]
fn ram_whose_address_lies_in_a_window_is_refused_and_what_lies_beside_it_is_not() {
    let machine = direct(map(), &[(0x18_0000, 0x18_0fff)], Table::default(), 0);
    assert!(one(&machine, &[piece(0x17_f000, 0x1000)], Direction::Both).is_ok());
    assert!(one(&machine, &[piece(0x18_1000, 0x1000)], Direction::Both).is_ok());
    let error = one(&machine, &[piece(0x17_f000, 0x1001)], Direction::Both).unwrap_err();
    assert_eq!(error, MapError::AddressMeansTwoThings { addr: 0x18_0000 });
    // What a function calls its own is such a window, too.
    let own = OwnBase {
        bar: 4,
        offset_bytes: 0,
        len_bytes: 0x1000,
        base: 0x12_0000,
    };
    machine.ioas.set_own_base(bdf(0), Some(own)).unwrap();
    let error = one(&machine, &[piece(0x12_0ff0, 16)], Direction::Both).unwrap_err();
    assert_eq!(error, MapError::AddressMeansTwoThings { addr: 0x12_0ff0 });
}

#[test]
fn ram_below_the_inbound_offset_has_no_address() {
    let machine = direct(map(), &[], Table::default(), 0x18_0000);
    let error = one(&machine, &[piece(0x17_0000, 16)], Direction::Both).unwrap_err();
    assert_eq!(error, MapError::NoAddress(PhysAddr::from_u64(0x17_0000)));
    assert_eq!(
        one(&machine, &[piece(0x18_0000, 16)], Direction::Both).unwrap()[0].addr,
        0
    );
}

#[test]
fn what_a_function_calls_its_own_is_never_mapped_for_something_else() {
    let aperture = [iova(0, 0xffff_ffff)].to_vec();
    let machine = Machine::new(
        map(),
        true,
        Vec::new(),
        aperture,
        [initiator(0)].to_vec(),
        Table::default(),
    );
    let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
    let located = mapper.look_up(&[piece(0x10_0000, 0x1000)]).unwrap();
    let mapping = mapper.map(located, Direction::Both, &Constraints::NONE).unwrap();
    let base = mapping.list().segments()[0].addr;
    let own = OwnBase {
        bar: 4,
        offset_bytes: 0,
        len_bytes: 0x1000,
        base,
    };
    let refused = machine.ioas.set_own_base(bdf(0), Some(own));
    assert_eq!(refused, Err(IoasError::AddressMeansTwoThings { addr: base }));
    mapper.unmap(mapping).unwrap();
    machine.ioas.set_own_base(bdf(0), Some(own)).unwrap();
    let addr = one(&machine, &[piece(0x10_0000, 0x1000)], Direction::Both).unwrap()[0].addr;
    assert!(!(base..base + 0x1000).contains(&addr));
}

#[test]
fn a_part_of_a_bar_is_found_by_its_offset() {
    let machine = direct(map(), &[], routes(&ON_BUS), 0);
    let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
    let mapping = mapper
        .map_bar(bdf(2), 0, 0x10, 16, Direction::Both, &Constraints::NONE)
        .unwrap();
    assert_eq!(mapping.list().segments()[0].addr, 0x1100_0010);
    mapper.unmap(mapping).unwrap();
    let error = mapper.map_bar(bdf(2), 1, 0x10, 16, Direction::Both, &Constraints::NONE);
    assert!(matches!(error, Err(MapBarError::NoSuchMemory { .. })));
    let error = mapper.map_bar(bdf(2), 0, 0xf_fff0, 17, Direction::Both, &Constraints::NONE);
    assert!(matches!(error, Err(MapBarError::LookUp(_))));
}

#[test]
fn what_the_device_cannot_issue_is_refused() {
    let mut issuer = initiator(0);
    issuer.address_mask = 0xf_ffff;
    let machine = Machine::new(
        map(),
        false,
        Vec::new(),
        Vec::new(),
        [issuer].to_vec(),
        Table::default(),
    );
    let error = one(&machine, &[piece(0x10_0000, 16)], Direction::Both).unwrap_err();
    assert!(matches!(error, MapError::BeyondMask { mask: 0xf_ffff, .. }));
}

#[test]
fn two_bars_that_touch_are_never_one_segment_and_two_regions_of_ram_are() {
    let (map, _) = MemoryMap::new().with_ram(phys(0x10_0000, 0x1f_ffff)).unwrap();
    let (map, _) = map.with_ram(phys(0x20_0000, 0x2f_ffff)).unwrap();
    let (map, _) = map.with_bar(phys(0x100_0000, 0x10f_ffff), bar(2, 0, 0)).unwrap();
    let (map, _) = map.with_bar(phys(0x110_0000, 0x11f_ffff), bar(2, 2, 0)).unwrap();
    let machine = direct(map, &[], routes(&ON_BUS), 0);
    let lens = |vector: &[PhysVec]| -> Vec<u32> {
        let segments = one(&machine, vector, Direction::Both).unwrap();
        segments.iter().map(|segment| segment.len_bytes).collect()
    };
    assert_eq!(
        lens(&[piece(0x10f_f000, 0x1000), piece(0x110_0000, 0x1000)]),
        [0x1000, 0x1000]
    );
    assert_eq!(
        lens(&[piece(0x10f_f000, 0x800), piece(0x10f_f800, 0x800)]),
        [0x1000]
    );
    assert_eq!(
        lens(&[piece(0x1f_f000, 0x2000), piece(0x20_1000, 0x1000)]),
        [0x3000]
    );
    // Through the host bridge RAM and a BAR may have neighbouring addresses: still two kinds.
    let (map, _) = MemoryMap::new().with_ram(phys(0xff_0000, 0xff_ffff)).unwrap();
    let (map, _) = map
        .with_bar(phys(0x100_0000, 0x10f_ffff), bar(2, 0, 0x1000_0000))
        .unwrap();
    let through = (Access::Write, MapType::ThruHostBridge, Form::HostAddress);
    let machine = direct(map, &[], routes(&[through]), 0);
    let vector = [piece(0xff_f000, 0x1000), piece(0x100_0000, 0x1000)];
    assert_eq!(one(&machine, &vector, Direction::DeviceWrites).unwrap().len(), 2);
}

#[test]
fn a_peer_whose_host_address_lies_in_a_window_is_refused_unless_it_is_its_bus_address() {
    let through = (Access::Write, MapType::ThruHostBridge, Form::HostAddress);
    let window = [(0x100_0000, 0x1ff_ffff)];
    let machine = direct(map(), &window, routes(&[through]), 0);
    let error = one(&machine, &[piece(0x100_0000, 16)], Direction::DeviceWrites).unwrap_err();
    assert_eq!(error, MapError::AddressMeansTwoThings { addr: 0x100_0000 });
    let (same, _) = MemoryMap::new()
        .with_bar(phys(0x100_0000, 0x10f_ffff), bar(2, 0, 0))
        .unwrap();
    let machine = direct(same, &window, routes(&[through]), 0);
    assert!(one(&machine, &[piece(0x100_0000, 16)], Direction::DeviceWrites).is_ok());
}

#[test]
fn no_address_of_a_bar_is_given_to_something_else_whoever_reaches_it() {
    // Its bus addresses are the first that could be given.
    let (map, _) = MemoryMap::new().with_ram(phys(0x10_0000, 0x1f_ffff)).unwrap();
    let to_page_one = 0x1000u64.wrapping_sub(0x100_0000);
    let (map, _) = map
        .with_bar(phys(0x100_0000, 0x100_ffff), bar(2, 0, to_page_one))
        .unwrap();
    let aperture = [iova(0, 0xffff_ffff)].to_vec();
    let machine = Machine::new(
        map,
        true,
        Vec::new(),
        aperture,
        [initiator(0)].to_vec(),
        Table::default(),
    );
    let segments = one(&machine, &[piece(0x10_0000, 0x1000)], Direction::Both).unwrap();
    assert!(segments[0].addr > 0x1_0fff);
}

#[test]
fn a_request_gives_the_rights_of_its_direction_and_no_more() {
    let aperture = [iova(0, 0xffff_ffff)].to_vec();
    let machine = Machine::new(
        map(),
        true,
        Vec::new(),
        aperture,
        [initiator(0)].to_vec(),
        Table::default(),
    );
    let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
    for direction in [Direction::DeviceReads, Direction::DeviceWrites, Direction::Both] {
        let located = mapper.look_up(&[piece(0x10_0010, 0x1000)]).unwrap();
        let mapping = mapper.map(located, direction, &Constraints::NONE).unwrap();
        let pages = machine.tables.borrow().pages.clone();
        assert_eq!(pages.len(), 2);
        let (rights, target) = (direction.rights(), crate::iommu::Target::Ram);
        assert!(
            pages
                .values()
                .all(|(_, given, to)| (*given, *to) == (rights, target))
        );
        mapper.unmap(mapping).unwrap();
    }
}

#[test]
fn a_peer_used_by_its_bus_address_is_translated_at_the_same_address() {
    let aperture = [iova(0, 0xffff_ffff)].to_vec();
    let issuers = [initiator(0)].to_vec();
    let machine = Machine::new(map(), true, Vec::new(), aperture, issuers, routes(&ON_BUS));
    let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
    let located = mapper.look_up(&[piece(0x100_0000, 16)]).unwrap();
    let mapping = mapper.map(located, Direction::Both, &Constraints::NONE).unwrap();
    let segment = mapping.list().segments()[0];
    assert_eq!((segment.addr, segment.space), (0x1100_0000, Space::Bus));
    let leads_to = machine.tables.borrow().pages.get(&0x1100_0000).copied();
    let (phys, _, target) = leads_to.unwrap();
    assert_eq!((phys, target), (0x100_0000, crate::iommu::Target::Mmio));
    mapper.unmap(mapping).unwrap();
    assert!(machine.tables.borrow().pages.is_empty());
}

#[test]
fn no_address_leads_by_way_of_the_name_of_memory_that_the_cpu_cannot_address() {
    let hidden = BarMemory {
        cpu: CpuView::None,
        ..bar(2, 0, 0x1000_0000)
    };
    let (map, region) = MemoryMap::new()
        .with_bar(phys(0x100_0000, 0x10f_ffff), hidden)
        .unwrap();
    let through = [
        (Access::Read, MapType::ThruHostBridge, Form::HostAddress),
        (Access::Write, MapType::BusAddr, Form::BusAddress),
    ];
    let vector = [piece(0x100_0000, 16)];
    let is_none = |result| matches!(result, Err(MapError::NoAddress(_)));
    for class in [TlpClass::Strict, TlpClass::Translated] {
        for is_translated in [false, true] {
            let issuer = Initiator {
                class,
                ..initiator(0)
            };
            let apertures = [iova(0, (1 << 40) - 1)].to_vec();
            let issuers = [issuer].to_vec();
            let machine = Machine::new(
                map.clone(),
                is_translated,
                Vec::new(),
                apertures,
                issuers,
                routes(&through),
            );
            machine.ioas.register(region).unwrap();
            assert!(is_none(one(&machine, &vector, Direction::DeviceReads)));
            let written = one(&machine, &vector, Direction::DeviceWrites);
            match is_translated && class.is_translated() {
                true => assert!(is_none(written)),
                false => assert_eq!(written.unwrap()[0].addr, 0x1100_0000),
            }
            assert!(machine.tables.borrow().pages.is_empty());
        }
    }
}
