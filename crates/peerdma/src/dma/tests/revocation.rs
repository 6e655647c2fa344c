//! What is taken away is reached no more, and what is in use is not taken away.

use super::model::*;
use crate::addr::{Address, Origin, PhysAddr, PhysVec};
use crate::dma::{Constraints, Direction, InUse, IoasError, MapError, NotUnmapped};
use crate::memory::MemoryMap;
use alloc::vec::Vec;

fn piece(at: u64, len: u32) -> PhysVec {
    PhysVec::new(PhysAddr::from_u64(at), len, Origin::LookUp).unwrap()
}

fn machine(is_translated: bool) -> (Machine, crate::memory::RegionId) {
    let (map, ram) = MemoryMap::new().with_ram(phys(0x10_0000, 0x1f_ffff)).unwrap();
    let aperture = [iova(0, 0xffff_ffff)].to_vec();
    let all = [initiator(0), initiator(1)].to_vec();
    (
        Machine::new(map, is_translated, Vec::new(), aperture, all, Table::default()),
        ram,
    )
}

#[test]
fn a_revocation_waits_for_who_uses_the_region_and_nothing_leads_there_afterwards() {
    for (is_translated, is_registered) in [(false, false), (true, false), (true, true)] {
        let (machine, ram) = machine(is_translated);
        if is_registered {
            machine.ioas.register(ram).unwrap();
        }
        let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
        let mut other = machine.ioas.mapper(bdf(1)).unwrap();
        let located = mapper.look_up(&[piece(0x10_0000, 0x1000)]).unwrap();
        let early = other.look_up(&[piece(0x10_0000, 0x1000)]).unwrap();
        let mapping = mapper.map(located, Direction::Both, &Constraints::NONE).unwrap();
        machine.ioas.begin_revoke(ram);
        let refused = other.map(early, Direction::Both, &Constraints::NONE);
        assert_eq!(refused.unwrap_err(), MapError::Revoked(ram));
        let in_use = InUse {
            region: ram,
            uses: 1,
            iommu: None,
        };
        assert_eq!(machine.ioas.finish_revoke(ram), Err(in_use));
        assert!(mapping.uses(ram));
        mapper.unmap(mapping).unwrap();
        assert_eq!(machine.ioas.finish_revoke(ram), Ok(()));
        assert!(machine.tables.borrow().pages.is_empty());
        let map = machine.map.without(ram).unwrap();
        machine.ioas.replace_map(map, &machine.routes).unwrap();
        assert!(mapper.look_up(&[piece(0x10_0000, 1)]).is_err());
    }
}

#[test]
fn a_mapping_that_is_dropped_keeps_its_memory_mapped_and_in_use() {
    let (machine, ram) = machine(true);
    let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
    let located = mapper.look_up(&[piece(0x10_0000, 0x1000)]).unwrap();
    drop(
        mapper
            .map(located, Direction::DeviceWrites, &Constraints::NONE)
            .unwrap(),
    );
    drop(mapper);
    assert!(machine.ioas.finish_revoke(ram).is_err());
    assert_eq!(machine.tables.borrow().pages.len(), 1);
    let refused = machine.ioas.replace_map(MemoryMap::new(), &machine.routes);
    assert!(matches!(refused, Err(IoasError::InUse(_))));
}

#[test]
fn a_region_that_is_used_or_registered_stays_in_the_map() {
    for is_translated in [false, true] {
        let (machine, ram) = machine(is_translated);
        let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
        let located = mapper.look_up(&[piece(0x10_0000, 0x1000)]).unwrap();
        let mapping = mapper
            .map(located, Direction::DeviceWrites, &Constraints::NONE)
            .unwrap();
        assert!(
            machine
                .ioas
                .replace_map(MemoryMap::new(), &machine.routes)
                .is_err()
        );
        let located = mapper.look_up(&[piece(0x10_0000, 0x1000)]).unwrap();
        let (map, more) = machine.map.with_ram(phys(0x80_0000, 0x8f_ffff)).unwrap();
        machine.ioas.replace_map(map, &machine.routes).unwrap();
        // What was looked up before the map grew is still good, and so is what was mapped.
        let second = mapper
            .map(located, Direction::DeviceReads, &Constraints::NONE)
            .unwrap();
        mapper.unmap(mapping).unwrap();
        mapper.unmap(second).unwrap();
        machine.ioas.register(ram).unwrap();
        assert!(
            machine
                .ioas
                .replace_map(MemoryMap::new(), &machine.routes)
                .is_err()
        );
        machine.ioas.deregister(ram).unwrap();
        machine
            .ioas
            .replace_map(MemoryMap::new(), &machine.routes)
            .unwrap();
        assert!(machine.ioas.register(more).is_err());
        assert_eq!(machine.state().0, Tables::default());
    }
}

#[test]
fn a_mapping_is_ended_by_the_handle_that_made_it() {
    let (machine, _) = machine(true);
    let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
    let mut other = machine.ioas.mapper(bdf(0)).unwrap();
    let located = mapper.look_up(&[piece(0x10_0000, 0x1000)]).unwrap();
    let refused = other.map(located, Direction::Both, &Constraints::NONE);
    assert_eq!(refused.unwrap_err(), MapError::Stale);
    let located = mapper.look_up(&[piece(0x10_0000, 0x1000)]).unwrap();
    let mapping = mapper.map(located, Direction::Both, &Constraints::NONE).unwrap();
    let error = other.unmap(mapping).unwrap_err();
    assert_eq!(error.why, NotUnmapped::Foreign);
    mapper.unmap(error.mapping).unwrap();
}

#[test]
fn a_map_that_is_refused_leaves_all_as_it_was() {
    let (machine, ram) = machine(true);
    let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
    let located = mapper.look_up(&[piece(0x10_0000, 0x1000)]).unwrap();
    let mapping = mapper
        .map(located, Direction::DeviceWrites, &Constraints::NONE)
        .unwrap();
    let taken = mapping.list().segments()[0].addr;
    // A BAR whose bus address is what the device has just been told for RAM.
    let bus_offset = taken.wrapping_sub(0x100_0000);
    let (map, _) = machine
        .map
        .with_bar(phys(0x100_0000, 0x100_0fff), bar(2, 0, bus_offset))
        .unwrap();
    let before = machine.state();
    let refused = machine.ioas.replace_map(map.clone(), &machine.routes);
    assert_eq!(refused, Err(IoasError::AddressMeansTwoThings { addr: taken }));
    assert_eq!(before, machine.state());
    let located = mapper.look_up(&[piece(0x10_1000, 0x1000)]).unwrap();
    let second = mapper
        .map(located, Direction::DeviceWrites, &Constraints::NONE)
        .unwrap();
    mapper.unmap(mapping).unwrap();
    mapper.unmap(second).unwrap();
    // What was looked up in a map that had the region is refused by one that has not.
    let located = mapper.look_up(&[piece(0x10_0000, 0x1000)]).unwrap();
    machine
        .ioas
        .replace_map(map.without(ram).unwrap(), &machine.routes)
        .unwrap();
    let stale = mapper.map(located, Direction::Both, &Constraints::NONE);
    assert_eq!(stale.unwrap_err(), MapError::Stale);
}

/// Asks the space that asks it.
struct Curious<'m>(&'m Machine);

impl crate::dma::Routes for Curious<'_> {
    fn route(
        &self,
        initiator: crate::addr::Bdf,
        provider: crate::addr::Bdf,
        bar: u8,
        access: crate::route::Access,
        class: crate::route::TlpClass,
    ) -> crate::dma::PeerRoute {
        assert!(!self.0.ioas.map_snapshot().regions().is_empty());
        self.0.routes.route(initiator, provider, bar, access, class)
    }
}

#[test]
fn who_judges_routes_may_ask_the_space() {
    let (machine, _) = machine(true);
    let (map, _) = machine
        .map
        .with_bar(phys(0x100_0000, 0x100_0fff), bar(2, 0, 0))
        .unwrap();
    machine.ioas.replace_map(map, &Curious(&machine)).unwrap();
    machine
        .ioas
        .add_initiator(initiator(3), &Curious(&machine))
        .unwrap();
}
