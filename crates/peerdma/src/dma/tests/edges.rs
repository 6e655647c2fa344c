//! The last byte of the space, the end of a BAR, the edge of a page: where arithmetic and neighbours go wrong.

use super::model::*;
use crate::addr::{Address, Bdf, Origin, PhysAddr, PhysVec};
use crate::device::{DeviceError, Host};
use crate::dma::{Constraints, Direction, IoasError, MapBarError, MapError, OwnBase, PeerRoute, Routes};
use crate::iomem;
use crate::iommu::IommuError;
use crate::memory::{BarMemory, CpuView, MemoryMap, Widths};
use crate::route::spec::Form;
use crate::route::{Access, MapType, TlpClass};
use alloc::vec::Vec;

/// All BAR memory reads as the low byte of its address, and takes what is written.
struct Echo;

impl Host for Echo {
    fn allocate(&self, len_bytes: u64, _: u64) -> Result<PhysAddr, DeviceError> {
        Err(DeviceError::NoMemory { len_bytes })
    }

    fn free(&self, _: PhysAddr) {}

    fn read_ram(&self, at: PhysAddr, _: &mut [u8]) -> Result<(), DeviceError> {
        Err(DeviceError::NoSuchMemory { at })
    }

    fn write_ram(&self, at: PhysAddr, _: &[u8]) -> Result<(), DeviceError> {
        Err(DeviceError::NoSuchMemory { at })
    }

    fn load_acquire(&self, at: PhysAddr) -> Result<u32, DeviceError> {
        Err(DeviceError::NoSuchMemory { at })
    }

    fn load_bar(&self, at: PhysAddr, width_bytes: u8) -> Result<u64, DeviceError> {
        let mut bytes = [0; 8];
        for (place, number) in bytes.iter_mut().take(width_bytes.into()).zip(0..) {
            *place = (at.to_u64() + number) as u8;
        }
        Ok(u64::from_le_bytes(bytes))
    }

    fn store_bar(&self, _: PhysAddr, _: u8, _: u64) -> Result<(), DeviceError> {
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        0
    }

    fn relax(&self) {}
}

fn piece(at: u64, len: u32) -> PhysVec {
    PhysVec::new(PhysAddr::from_u64(at), len, Origin::LookUp).unwrap()
}

#[test]
fn memory_that_ends_at_the_last_byte_of_the_space_is_copied_to_its_end() {
    for widths in [Widths::ALL, Widths::DWORD, Widths::DWORD_QWORD] {
        let mut memory = bar(2, 0, 0);
        memory.cpu = CpuView::Mmio(widths);
        let span = phys(u64::MAX - 0xfff, u64::MAX);
        let (map, _) = MemoryMap::new().with_bar(span, memory).unwrap();
        for len in [4_u32, 8, 12, 16, 24, 64, 4096] {
            let vector = [piece(u64::MAX - u64::from(len - 1), len)];
            let mut bytes = alloc::vec![0; len as usize];
            iomem::copy_from(&Echo, &map, &vector, &mut bytes).unwrap();
            let expected: Vec<u8> = (0..len).rev().map(|from_end| 255 - from_end as u8).collect();
            assert_eq!(bytes, expected);
            iomem::copy_to(&Echo, &map, &vector, &bytes).unwrap();
        }
    }
}

#[test]
fn a_part_of_a_bar_does_not_run_on_into_another_one() {
    let all = |access| ((bdf(0), bdf(2), access), (MapType::BusAddr, Form::BusAddress));
    let routes = Table([Access::Read, Access::Write].into_iter().map(all).collect());
    let (map, _) = MemoryMap::new()
        .with_bar(phys(0x100_0000, 0x100_0fff), bar(2, 0, 0))
        .unwrap();
    // Another BAR of the same function follows at once, then a later part of the first.
    let (map, _) = map.with_bar(phys(0x100_1000, 0x100_1fff), bar(2, 2, 0)).unwrap();
    let far = BarMemory {
        offset_bytes: 0x8000,
        ..bar(2, 2, 0)
    };
    let (map, _) = map.with_bar(phys(0x100_2000, 0x100_2fff), far).unwrap();
    let machine = Machine::new(
        map,
        false,
        Vec::new(),
        Vec::new(),
        [initiator(0)].to_vec(),
        routes,
    );
    let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
    let mut ask = |number, offset_bytes, len| {
        let all = &Constraints::NONE;
        let mapping = mapper.map_bar(bdf(2), number, offset_bytes, len, Direction::Both, all)?;
        mapper.unmap(mapping).unwrap();
        Ok::<_, MapBarError>(())
    };
    assert_eq!(ask(0, 0x800, 0x800), Ok(()));
    for (number, offset_bytes) in [(0, 0x800), (2, 0x800)] {
        let none = MapBarError::NoSuchMemory {
            provider: bdf(2),
            bar: number,
            offset_bytes: 0x1000,
        };
        assert_eq!(ask(number, offset_bytes, 0x801), Err(none));
    }
}

/// Says that all is reached, by a map type that says that nothing is.
struct Absurd;

impl Routes for Absurd {
    fn route(&self, _: Bdf, _: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
        PeerRoute::Reached {
            map_type: MapType::NotSupported,
            form: Form::BusAddress,
        }
    }
}

#[test]
fn a_route_of_a_type_that_is_not_supported_is_no_route() {
    let (map, _) = MemoryMap::new()
        .with_bar(phys(0x100_0000, 0x100_0fff), bar(2, 0, 0))
        .unwrap();
    let machine = Machine::new(map, false, Vec::new(), Vec::new(), Vec::new(), Table::default());
    machine.ioas.add_initiator(initiator(0), &Absurd).unwrap();
    let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
    let located = mapper.look_up(&[piece(0x100_0000, 16)]).unwrap();
    let result = mapper.map(located, Direction::DeviceWrites, &Constraints::NONE);
    assert!(matches!(result, Err(MapError::Unreachable { .. })), "{result:?}");
}

#[test]
fn what_was_revoked_is_not_reached_by_the_translation_of_a_neighbour_in_the_same_page() {
    let (map, taken) = MemoryMap::new().with_ram(phys(0x10_0000, 0x10_07ff)).unwrap();
    let (map, kept) = map.with_ram(phys(0x10_0800, 0x10_1fff)).unwrap();
    let aperture = [iova(0, 0xffff_ffff)].to_vec();
    let machine = Machine::new(
        map,
        true,
        Vec::new(),
        aperture,
        [initiator(0)].to_vec(),
        Table::default(),
    );
    machine.ioas.register(kept).unwrap();
    let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
    let located = mapper.look_up(&[piece(0x10_0900, 16)]).unwrap();
    let mapping = mapper
        .map(located, Direction::DeviceWrites, &Constraints::NONE)
        .unwrap();
    machine.ioas.begin_revoke(taken);
    let is_revoked = machine.ioas.finish_revoke(taken).is_ok();
    let leads_there = machine
        .tables
        .borrow()
        .pages
        .values()
        .any(|(page, ..)| *page == 0x10_0000);
    assert!(!(is_revoked && leads_there), "a device still reaches the page");
    mapper.unmap(mapping).unwrap();
}

/// The initiator reaches device 2 by its bus address, where RAM or its own memory may have the same.
fn beside_a_peer(ram_at: u64, inbound_offset: u64) -> Machine {
    let all = |access| ((bdf(0), bdf(2), access), (MapType::BusAddr, Form::BusAddress));
    let routes = Table([Access::Read, Access::Write].into_iter().map(all).collect());
    let (map, _) = MemoryMap::new().with_ram(phys(ram_at, ram_at + 0xffff)).unwrap();
    let (map, _) = map
        .with_bar(phys(0x900_0000, 0x900_ffff), bar(2, 0, 0x1000_0000))
        .unwrap();
    let (map, _) = map
        .with_bar(phys(0x800_0000, 0x800_ffff), bar(0, 4, 0x1000_0000))
        .unwrap();
    let mut issuer = initiator(0);
    issuer.inbound_offset = inbound_offset;
    Machine::new(map, false, Vec::new(), Vec::new(), [issuer].to_vec(), routes)
}

fn writes(machine: &Machine, at: u64) -> Result<(), MapError> {
    let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
    let located = mapper.look_up(&[piece(at, 16)]).unwrap();
    let mapping = mapper.map(located, Direction::DeviceWrites, &Constraints::NONE)?;
    mapper.unmap(mapping).unwrap();
    Ok(())
}

#[test]
fn ram_is_not_named_by_an_address_at_which_a_peer_is_reached_on_the_bus() {
    let at = 0x1900_0000_u64;
    assert_eq!(
        writes(&beside_a_peer(0x3900_0000, 0x1000_0000), 0x3900_0000),
        Ok(())
    );
    let result = writes(&beside_a_peer(at + 0x1000_0000, 0x1000_0000), at + 0x1000_0000);
    assert_eq!(result, Err(MapError::AddressMeansTwoThings { addr: at }));
}

#[test]
fn a_peer_is_not_named_by_an_address_that_the_initiator_takes_for_its_own() {
    let machine = beside_a_peer(0x10_0000, 0);
    assert_eq!(writes(&machine, 0x900_0000), Ok(()));
    let own = OwnBase {
        bar: 4,
        offset_bytes: 0,
        len_bytes: 0x1000,
        base: 0x1900_0000,
    };
    machine.ioas.set_own_base(bdf(0), Some(own)).unwrap();
    let two = MapError::AddressMeansTwoThings { addr: 0x1900_0000 };
    assert_eq!(writes(&machine, 0x900_0000), Err(two));
    assert_eq!(writes(&machine, 0x900_1000), Ok(()));
}

#[test]
fn a_bus_address_that_the_root_complex_sees_and_no_aperture_holds_is_refused() {
    let through = |access| {
        let way = (MapType::ThruHostBridge, Form::BusAddress);
        ((bdf(0), bdf(2), access), way)
    };
    for (last, is_mapped) in [(0xffff_ffff, true), (0xfff_ffff, false)] {
        let routes = Table([Access::Read, Access::Write].into_iter().map(through).collect());
        let (map, _) = MemoryMap::new()
            .with_bar(phys(0x900_0000, 0x900_ffff), bar(2, 0, 0x1000_0000))
            .unwrap();
        let aperture = [iova(0, last)].to_vec();
        let machine = Machine::new(map, true, Vec::new(), aperture, [initiator(0)].to_vec(), routes);
        let expected = match is_mapped {
            true => Ok(()),
            false => Err(MapError::Iommu(IommuError::BadRange)),
        };
        assert_eq!(writes(&machine, 0x900_0000), expected);
    }
}

#[test]
fn memory_that_the_iommu_did_not_unmap_does_not_leave_the_map() {
    let (map, region) = MemoryMap::new().with_ram(phys(0x10_0000, 0x10_ffff)).unwrap();
    let aperture = [iova(0, 0xffff_ffff)].to_vec();
    let machine = Machine::new(
        map,
        true,
        Vec::new(),
        aperture,
        [initiator(0)].to_vec(),
        Table::default(),
    );
    let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
    let located = mapper
        .look_up(&[piece(0x10_0000, 16), piece(0x10_4000, 16)])
        .unwrap();
    // The second piece is not mapped, and the first not unmapped again.
    let made = machine.faults.borrow().made;
    *machine.faults.borrow_mut() = Faults {
        made,
        fail_from: Some(made + 1),
        fail_count: 2,
    };
    assert!(
        mapper
            .map(located, Direction::DeviceWrites, &Constraints::NONE)
            .is_err()
    );
    assert_eq!(machine.tables.borrow().pages.len(), 1);
    let without = machine.map.without(region).unwrap();
    let left = machine.ioas.replace_map(without.clone(), &Table::default());
    assert!(matches!(left, Err(IoasError::InUse(_))), "{left:?}");
    machine.ioas.finish_revoke(region).unwrap();
    assert!(machine.tables.borrow().pages.is_empty());
    assert_eq!(machine.ioas.replace_map(without, &Table::default()), Ok(()));
}
