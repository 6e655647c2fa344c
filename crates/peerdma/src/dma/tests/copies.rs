//! Copies by the CPU (`iomem`), to vectors and to lists, against an array of bytes and a host that minds how it is touched.

use super::model::*;
use crate::addr::{Address, Origin, PhysAddr, PhysVec};
use crate::device::{DeviceError, Host};
use crate::dma::{Constraints, Direction, IdleRam, MapRamError, RamBacking};
use crate::iomem::{self, IomemError};
use crate::memory::{CpuView, Memory, MemoryMap, Widths};
use crate::route::spec::Form;
use crate::route::{Access, MapType};
use alloc::vec::Vec;
use core::cell::RefCell;
use proptest::prelude::*;

/// Two regions of RAM that touch, two BARs, and a BAR that the CPU cannot address; one array for all, from this address on.
const BASE: u64 = 0x10_0000;
const REGION: u64 = 0x4000;
const REGIONS: u64 = 5;

struct Bytes {
    bytes: RefCell<Vec<u8>>,
    map: MemoryMap,
    touched: RefCell<usize>,
}

impl Bytes {
    fn new(map: &MemoryMap) -> Self {
        let bytes = (0..REGION * REGIONS).map(|at| (at % 251) as u8);
        Self {
            bytes: RefCell::new(bytes.collect()),
            map: map.clone(),
            touched: RefCell::new(0),
        }
    }

    fn range(&self, at: PhysAddr, len: usize) -> core::ops::Range<usize> {
        *self.touched.borrow_mut() += 1;
        let first = (at.to_u64() - BASE) as usize;
        first..first + len
    }

    fn check_ram(&self, at: PhysAddr, len: usize) {
        for at in [at, at.checked_add(len as u64 - 1).unwrap()] {
            assert_eq!(self.map.find(at).unwrap().memory, Memory::Ram);
        }
    }

    fn check_bar(&self, at: PhysAddr, width: u8) {
        assert!(at.to_u64().is_multiple_of(width.into()), "not aligned");
        let Memory::Bar(bar) = self.map.find(at).unwrap().memory else {
            panic!("{at} is RAM")
        };
        match bar.cpu {
            CpuView::Memory => {}
            CpuView::Mmio(widths) => assert!(widths.allow(width), "{width} bytes at {at}"),
            CpuView::None => panic!("the CPU cannot address {at}"),
        }
    }
}

impl Host for Bytes {
    fn allocate(&self, len_bytes: u64, _: u64) -> Result<PhysAddr, DeviceError> {
        Err(DeviceError::NoMemory { len_bytes })
    }

    fn free(&self, _: PhysAddr) {}

    fn read_ram(&self, at: PhysAddr, into: &mut [u8]) -> Result<(), DeviceError> {
        self.check_ram(at, into.len());
        into.copy_from_slice(&self.bytes.borrow()[self.range(at, into.len())]);
        Ok(())
    }

    fn write_ram(&self, at: PhysAddr, from: &[u8]) -> Result<(), DeviceError> {
        self.check_ram(at, from.len());
        self.bytes.borrow_mut()[self.range(at, from.len())].copy_from_slice(from);
        Ok(())
    }

    fn load_acquire(&self, at: PhysAddr) -> Result<u32, DeviceError> {
        Err(DeviceError::NoSuchMemory { at })
    }

    fn load_bar(&self, at: PhysAddr, width: u8) -> Result<u64, DeviceError> {
        self.check_bar(at, width);
        let mut value = [0; 8];
        value[..width.into()].copy_from_slice(&self.bytes.borrow()[self.range(at, width.into())]);
        Ok(u64::from_le_bytes(value))
    }

    fn store_bar(&self, at: PhysAddr, width: u8, value: u64) -> Result<(), DeviceError> {
        self.check_bar(at, width);
        let range = self.range(at, width.into());
        self.bytes.borrow_mut()[range].copy_from_slice(&value.to_le_bytes()[..width.into()]);
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        0
    }

    fn relax(&self) {}
}

fn map(widths: Widths) -> MemoryMap {
    let span = |number: u64| phys(BASE + number * REGION, BASE + (number + 1) * REGION - 1);
    let (map, _) = MemoryMap::new().with_ram(span(0)).unwrap();
    let (map, _) = map.with_ram(span(1)).unwrap();
    let mut peer = bar(2, 0, 0x1000_0000);
    peer.cpu = CpuView::Mmio(widths);
    let (map, _) = map.with_bar(span(2), peer).unwrap();
    let (map, _) = map.with_bar(span(3), bar(3, 0, 0x1000_0000)).unwrap();
    let mut dark = bar(4, 0, 0);
    dark.cpu = CpuView::None;
    map.with_bar(span(4), dark).unwrap().0
}

fn pieces() -> impl Strategy<Value = Vec<PhysVec>> {
    let at = prop_oneof![
        0..REGION * 4,
        (0..REGION).prop_map(|at| at * 4),
        (0..REGION / 2).prop_map(|at| at * 8)
    ];
    let len = prop_oneof![1..40u32, (1..600u32).prop_map(|dwords| dwords * 4)];
    let piece = (at, len).prop_map(|(at, len)| {
        let len = u64::from(len).min(REGION * 4 - at) as u32;
        PhysVec::new(PhysAddr::from_u64(BASE + at), len, Origin::LookUp).unwrap()
    });
    proptest::collection::vec(piece, 1..6)
}

fn widths() -> impl Strategy<Value = Widths> {
    (1..16u8).prop_map(|bits| Widths::from_log2((0..4).filter(|log2| bits >> log2 & 1 != 0)).unwrap())
}

fn len(vector: &[PhysVec]) -> usize {
    vector.iter().map(|piece| piece.len_bytes() as usize).sum()
}

proptest! {
    #[test]
    fn a_copy_moves_the_bytes_by_allowed_accesses_or_touches_nothing(vector in pieces(), widths in widths(), seed: u8) {
        let map = map(widths);
        let host = Bytes::new(&map);
        let before = host.bytes.borrow().clone();
        let place = |at: PhysAddr| (at.to_u64() - BASE) as usize;
        let mut read = alloc::vec![0; len(&vector)];
        let expected: Vec<u8> = vector
            .iter()
            .flat_map(|piece| before[place(piece.addr())..=place(piece.last())].iter().copied())
            .collect();
        // Regions are multiples of every width, so any word that is partly wanted lies in its region.
        iomem::copy_from(&host, &map, &vector, &mut read).unwrap();
        prop_assert_eq!(&read, &expected);
        prop_assert_eq!(&before, &*host.bytes.borrow());
        *host.touched.borrow_mut() = 0;
        let data: Vec<u8> = (0..len(&vector)).map(|at| (at as u8).wrapping_mul(7).wrapping_add(seed)).collect();
        let smallest = [1u64, 2, 4, 8].into_iter().find(|width| widths.allow(*width as u8)).unwrap();
        match iomem::copy_to(&host, &map, &vector, &data) {
            Ok(()) => {
                let mut after = before;
                let mut from = data.iter();
                for piece in &vector {
                    for byte in &mut after[place(piece.addr())..=place(piece.last())] {
                        *byte = *from.next().unwrap();
                    }
                }
                prop_assert_eq!(after, host.bytes.borrow().clone());
            }
            Err(error) => {
                prop_assert!(matches!(error, IomemError::BadAccess { .. }), "{}", error);
                prop_assert!(smallest > 1);
                prop_assert_eq!(*host.touched.borrow(), 0);
            }
        }
    }

    #[test]
    fn a_copy_by_list_is_a_copy_by_vector(vector in pieces(), is_translated: bool, most: bool) {
        let map = map(Widths::ALL);
        let mut routes = Table::default();
        for access in [Access::Read, Access::Write] {
            routes.0.insert((bdf(0), bdf(2), access), (MapType::BusAddr, Form::BusAddress));
            routes.0.insert((bdf(0), bdf(3), access), (MapType::ThruHostBridge, Form::HostAddress));
        }
        let machine = Machine::new(
            map.clone(),
            is_translated,
            Vec::new(),
            [iova(0, 0xffff_ffff)].to_vec(),
            [initiator(0)].to_vec(),
            routes,
        );
        let host = Bytes::new(&map);
        let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
        let Ok(located) = mapper.look_up(&vector) else { return Ok(()) };
        let mut constraints = Constraints::NONE;
        if most {
            constraints.max_segment_bytes = 100;
        }
        let mapping = mapper.map(located, Direction::Both, &constraints).unwrap();
        let (mut by_list, mut by_vector) = (alloc::vec![0; len(&vector)], alloc::vec![0; len(&vector)]);
        iomem::copy_from_list(&host, &machine.ioas, bdf(0), mapping.list(), &mut by_list).unwrap();
        iomem::copy_from(&host, &map, &vector, &mut by_vector).unwrap();
        prop_assert_eq!(&by_list, &by_vector);
        by_list.reverse();
        iomem::copy_to_list(&host, &machine.ioas, bdf(0), mapping.list(), &by_list).unwrap();
        let after = host.bytes.borrow().clone();
        iomem::copy_to(&host, &map, &vector, &by_list).unwrap();
        prop_assert_eq!(after, host.bytes.borrow().clone());
        prop_assert!(mapper.unmap(mapping).is_ok());
    }
}

#[test]
fn what_the_cpu_may_not_touch_is_refused_before_anything_is() {
    let map = map(Widths::DWORD);
    let host = Bytes::new(&map);
    let piece = |at, len, origin| PhysVec::new(PhysAddr::from_u64(BASE + at), len, origin).unwrap();
    let dark = [piece(0, 8, Origin::Ram), piece(4 * REGION, 8, Origin::LookUp)];
    let error = iomem::copy_from(&host, &map, &dark, &mut [0; 16]).unwrap_err();
    assert!(matches!(error, IomemError::NoCpuView { provider, .. } if provider == bdf(4)));
    let unflagged = [piece(2 * REGION, 8, Origin::Ram)];
    if !cfg!(feature = "phys32") {
        let error = iomem::copy_to(&host, &map, &unflagged, &[0; 8]).unwrap_err();
        assert!(matches!(error, IomemError::UnflaggedPeer { .. }));
    }
    let hole = [piece(5 * REGION - 4, 8, Origin::LookUp)];
    assert!(iomem::copy_to(&host, &map, &hole, &[0; 8]).is_err());
    let error = iomem::copy_to(&host, &map, &[piece(0, 8, Origin::Ram)], &[0; 7]).unwrap_err();
    assert!(matches!(error, IomemError::WrongLength { .. }));
    let at = |at| PhysAddr::from_u64(BASE + at);
    assert!(iomem::load(&host, &map, at(2 * REGION), 8).is_err(), "width");
    assert!(
        iomem::load(&host, &map, at(2 * REGION + 2), 4).is_err(),
        "alignment"
    );
    assert!(iomem::store(&host, &map, at(0), 4, 0).is_err(), "RAM");
    for width in [0, 3, 16, 255] {
        assert!(iomem::load(&host, &map, at(3 * REGION), width).is_err());
    }
    assert_eq!(*host.touched.borrow(), 0);
    iomem::store(&host, &map, at(2 * REGION), 4, 0x0403_0201).unwrap();
    assert_eq!(iomem::load(&host, &map, at(2 * REGION), 4), Ok(0x0403_0201));
}

struct Arena([u8; 64], u64);

impl RamBacking for Arena {
    fn phys(&self) -> PhysAddr {
        PhysAddr::from_u64(self.1)
    }

    fn as_slice(&self) -> &[u8] {
        &self.0
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        assert_eq!(self.0[0], 1, "memory was given back that a device may reach");
    }
}

#[test]
fn ram_has_slices_only_while_no_device_reaches_it_and_is_lost_rather_than_given_back_too_early() {
    let machine = Machine::new(
        map(Widths::ALL),
        true,
        Vec::new(),
        [iova(0, 0xffff_ffff)].to_vec(),
        [initiator(0)].to_vec(),
        Table::default(),
    );
    let mut mapper = machine.ioas.mapper(bdf(0)).unwrap();
    let mut other = machine.ioas.mapper(bdf(0)).unwrap();
    let mut ram = IdleRam::new(Arena([0; 64], BASE));
    ram.as_mut_slice()[0] = 1;
    let mapped = ram.map(&mut mapper, Direction::DeviceWrites, &Constraints::NONE);
    let Ok(mapped) = mapped else { panic!("not mapped") };
    assert_eq!(mapped.list().len_bytes(), 64);
    let Err((mapped, _)) = mapped.unmap(&mut other) else {
        panic!("unmapped by another")
    };
    let Ok(ram) = mapped.unmap(&mut mapper) else {
        panic!("not unmapped")
    };
    assert_eq!(ram.as_slice()[0], 1);
    let hole = IdleRam::new(Arena([1; 64], 0));
    let refused = hole.map(&mut mapper, Direction::Both, &Constraints::NONE);
    assert!(matches!(refused, Err((_, MapRamError::LookUp(_)))));
    let lost = IdleRam::new(Arena([0; 64], BASE));
    drop(lost.map(&mut mapper, Direction::Both, &Constraints::NONE));
}
