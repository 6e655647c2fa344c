//! Every call of the IOMMU made to fail in turn: what fails has changed nothing, and nothing is lost.

use super::model::*;
use crate::addr::{Address, Origin, PhysAddr, PhysVec};
use crate::dma::{Constraints, Direction, MapError, Mapper, Mapping, NotUnmapped, SingleThread};
use crate::iommu::IommuError;
use crate::memory::{MemoryMap, RegionId};
use crate::route::spec::Form;
use crate::route::{Access, MapType};
use alloc::vec::Vec;

/// RAM at 1 and 2 MiB, a peer reached through the host bridge at 16 MiB, one on the bus at 32 MiB.
fn machine() -> (Machine, [RegionId; 4]) {
    let map = MemoryMap::new();
    let (map, first) = map.with_ram(phys(0x10_0000, 0x1f_ffff)).unwrap();
    let (map, second) = map.with_ram(phys(0x20_0000, 0x2f_ffff)).unwrap();
    let (map, far) = map.with_bar(phys(0x100_0000, 0x10f_ffff), bar(2, 0, 0)).unwrap();
    let (map, near) = map
        .with_bar(phys(0x200_0000, 0x20f_ffff), bar(3, 0, 0x1000_0000))
        .unwrap();
    let mut routes = Table::default();
    for access in [Access::Read, Access::Write] {
        let through = (MapType::ThruHostBridge, Form::HostAddress);
        routes.0.insert((bdf(0), bdf(2), access), through);
        routes
            .0
            .insert((bdf(0), bdf(3), access), (MapType::BusAddr, Form::BusAddress));
    }
    let aperture = iova(0, 0xffff_ffff);
    let machine = Machine::new(
        map,
        true,
        Vec::new(),
        [aperture].to_vec(),
        [initiator(0)].to_vec(),
        routes,
    );
    (machine, [first, second, far, near])
}

fn vector() -> Vec<PhysVec> {
    let piece = |at, len| PhysVec::new(PhysAddr::from_u64(at), len, Origin::LookUp).unwrap();
    [
        piece(0x10_0000, 0x1000),
        piece(0x10_5000, 0x2000),
        piece(0x100_0000, 0x800),
        piece(0x20_0000, 0x3000),
        piece(0x200_0000, 0x1000),
        piece(0x100_0000, 0x800),
    ]
    .to_vec()
}

/// Makes each call fail that a deed makes, `count` in a row, until it makes no more.
fn with_each_call_failing(count: usize, mut deed: impl FnMut(&Machine, [RegionId; 4])) -> usize {
    for number in 0.. {
        let (machine, regions) = machine();
        let at = Faults {
            made: 0,
            fail_from: Some(number),
            fail_count: count,
        };
        *machine.faults.borrow_mut() = at;
        deed(&machine, regions);
        let made = machine.faults.borrow().made;
        mend(&machine);
        for region in regions {
            assert_eq!(machine.ioas.finish_revoke(region), Ok(()), "call {number}");
        }
        let (tables, taken, holds, uses, stuck) = machine.state();
        assert_eq!(tables, Tables::default(), "call {number}");
        assert_eq!((taken, stuck), (0, 0), "call {number}");
        assert!(
            holds.iter().chain(&uses).all(|count| *count == 0),
            "call {number}"
        );
        if made <= number {
            return number;
        }
    }
    0
}

fn mend(machine: &Machine) {
    machine.faults.borrow_mut().fail_from = None;
}

fn map(mapper: &mut Mapper<SingleThread>) -> Result<Mapping, MapError> {
    let located = mapper.look_up(&vector()).unwrap();
    mapper.map(located, Direction::Both, &Constraints::NONE)
}

fn unmap_at_last(machine: &Machine, mapper: &mut Mapper<SingleThread>, mapping: Mapping) {
    let Err(error) = mapper.unmap(mapping) else { return };
    assert_eq!(error.why, NotUnmapped::Iommu(IommuError::System(5)));
    // Its regions are still in use.
    for region in [0, 1] {
        let region = machine.map.regions()[region].id;
        assert!(machine.ioas.finish_revoke(region).is_err());
    }
    mend(machine);
    assert!(mapper.unmap(error.mapping).is_ok());
}

#[test]
fn a_request_that_fails_at_any_call_leaves_all_as_it_was() {
    let calls = with_each_call_failing(1, |machine, _| {
        let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
        let before = machine.state();
        match map(&mut mapper) {
            Ok(mapping) => unmap_at_last(machine, &mut mapper, mapping),
            Err(error) => {
                assert_eq!(error, MapError::Iommu(IommuError::System(5)));
                assert_eq!(before, machine.state());
            }
        }
    });
    assert_eq!(
        calls,
        2 * 5,
        "three stretches of RAM and two regions, mapped and unmapped"
    );
}

#[test]
fn a_request_whose_undoing_fails_keeps_its_regions_in_use_until_it_is_undone() {
    for count in 2..6 {
        with_each_call_failing(count, |machine, regions| {
            let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
            let result = map(&mut mapper);
            let was_stuck = machine.state().4 > 0;
            match result {
                Ok(mapping) => unmap_at_last(machine, &mut mapper, mapping),
                Err(_) if was_stuck => {
                    machine.faults.borrow_mut().fail_from = Some(0);
                    machine.faults.borrow_mut().fail_count = usize::MAX;
                    assert!(machine.ioas.finish_revoke(regions[0]).is_err());
                }
                Err(_) => {}
            }
        });
    }
}

#[test]
fn a_registration_that_fails_at_any_call_leaves_all_as_it_was() {
    with_each_call_failing(1, |machine, regions| {
        for region in regions {
            let before = machine.state();
            if machine.ioas.register(region).is_err() {
                assert_eq!(before, machine.state());
            }
        }
        let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
        for region in regions {
            let before = machine.state();
            if machine.ioas.deregister(region).is_err() {
                assert_eq!(before, machine.state());
                // It still serves.
                mend(machine);
                let mapping = map(&mut mapper).unwrap();
                unmap_at_last(machine, &mut mapper, mapping);
            }
        }
    });
}

#[test]
fn a_revocation_that_fails_at_any_call_can_be_finished_later() {
    with_each_call_failing(2, |machine, regions| {
        for region in regions {
            let _ = machine.ioas.register(region);
        }
        let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
        for region in regions {
            machine.ioas.begin_revoke(region);
            let _ = machine.ioas.finish_revoke(region);
            assert!(matches!(
                map(&mut mapper),
                Err(MapError::Revoked(_) | MapError::Iommu(_))
            ));
        }
    });
}

#[test]
fn an_initiator_that_cannot_be_served_is_not_added() {
    with_each_call_failing(1, |machine, regions| {
        for region in regions {
            let _ = machine.ioas.register(region);
        }
        let mut routes = machine.routes.clone();
        for access in [Access::Read, Access::Write] {
            // The far one by its bus address, the near one by another: each needs what nobody needed before.
            let (by_bus, through) = (Form::BusAddress, Form::HostAddress);
            routes
                .0
                .insert((bdf(1), bdf(2), access), (MapType::BusAddr, by_bus));
            routes
                .0
                .insert((bdf(1), bdf(3), access), (MapType::ThruHostBridge, through));
        }
        let before = machine.state();
        if machine.ioas.add_initiator(initiator(1), &routes).is_err() {
            assert_eq!(before, machine.state());
            assert!(machine.ioas.mapper(bdf(1)).is_err());
        }
    });
}
