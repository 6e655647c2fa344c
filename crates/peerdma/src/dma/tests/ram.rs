//! RAM that an initiator does not reach.

use super::model::*;
use crate::addr::{Address, Iova};
use crate::addr::{Bdf, Origin, PhysAddr, PhysVec};
use crate::dma::{
    Constraints, Direction, Initiator, Ioas, MapError, PeerRoute, Refused, Routes, SingleThread, Translation,
};
use crate::iommu::Translations;
use crate::memory::MemoryMap;
use crate::route::spec::{Form, Refusal};
use crate::route::{Access, MapType, TlpClass};
use alloc::boxed::Box;
use alloc::sync::Arc;

/// It writes RAM, and cannot read it.
struct WritesOnly;

const REFUSED: Refused = Refused::Stopped {
    at: Bdf::from_devfn(0, 1, 0),
    why: Refusal::MalformedTlp,
};

impl Routes for WritesOnly {
    fn route(&self, _: Bdf, provider: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
        PeerRoute::Refused(Refused::NoSuchFunction(provider))
    }

    fn ram(&self, _: Bdf, access: Access, _: TlpClass) -> Result<(), Refused> {
        match access {
            Access::Read => Err(REFUSED),
            Access::Write => Ok(()),
        }
    }
}

fn map() -> MemoryMap {
    let (map, _) = MemoryMap::new().with_ram(phys(0x10_0000, 0x1f_ffff)).unwrap();
    map
}

fn space(is_translated: bool) -> Arc<Ioas<SingleThread>> {
    let iommu = || Iommu {
        apertures: [iova(0, 0xffff_ffff)].to_vec(),
        ..Iommu::default()
    };
    let translation = match is_translated {
        false => Translation::Direct,
        true => Translation::Translated(Box::new(iommu()) as Box<dyn Translations>),
    };
    let ioas = Ioas::new(translation, map(), &[]);
    ioas.add_initiator(initiator(0), &WritesOnly).unwrap();
    ioas
}

/// Is it mapped, and is that forced?
fn mapped(ioas: &Arc<Ioas<SingleThread>>, direction: Direction) -> Result<bool, MapError> {
    let mut mapper = ioas.mapper(bdf(0)).unwrap();
    let piece = PhysVec::new(PhysAddr::from_u64(0x10_0010), 16, Origin::Ram).unwrap();
    let located = mapper.look_up(&[piece]).unwrap();
    let mapping = mapper.map(located, direction, &Constraints::NONE)?;
    let is_forced = mapping.is_forced();
    mapper.unmap(mapping).unwrap();
    Ok(is_forced)
}

#[test]
fn ram_that_is_not_reached_is_refused_unless_forced_and_that_is_seen() {
    let region = map().regions()[0].id;
    for (is_translated, is_registered) in [(false, false), (true, false), (true, true)] {
        let ioas = space(is_translated);
        if is_registered {
            ioas.register(region).unwrap();
        }
        let refused = Err(MapError::RamUnreachable {
            initiator: bdf(0),
            access: Access::Read,
            refused: REFUSED,
        });
        assert_eq!(mapped(&ioas, Direction::DeviceWrites), Ok(false));
        assert_eq!(mapped(&ioas, Direction::DeviceReads), refused);
        assert_eq!(mapped(&ioas, Direction::Both), refused);
        let force = |map_type| ioas.force(bdf(0), region, Access::Read, map_type, Form::HostAddress);
        force(MapType::ThruHostBridge);
        assert_eq!(mapped(&ioas, Direction::DeviceReads), Ok(true));
        assert_eq!(mapped(&ioas, Direction::Both), Ok(true));
        assert_eq!(mapped(&ioas, Direction::DeviceWrites), Ok(false));
        force(MapType::NotSupported);
        assert_eq!(mapped(&ioas, Direction::DeviceReads), refused);
    }
}

#[test]
fn an_override_of_a_ram_route_that_its_judge_allows_is_none() {
    let ioas = space(false);
    let region = map().regions()[0].id;
    ioas.force(
        bdf(0),
        region,
        Access::Write,
        MapType::ThruHostBridge,
        Form::HostAddress,
    );
    assert_eq!(mapped(&ioas, Direction::DeviceWrites), Ok(false));
}

#[test]
fn ram_whose_name_for_translated_requests_lies_in_a_window_is_refused() {
    let iommu = Iommu {
        apertures: [iova(0x100_0000, 0xffff_ffff)].to_vec(),
        ..Iommu::default()
    };
    let translation = Translation::Translated(Box::new(iommu) as Box<dyn Translations>);
    let ioas = Ioas::<SingleThread>::new(translation, map(), &[iova(0x10_0000, 0x10_0fff)]);
    let translated = Initiator {
        class: TlpClass::Translated,
        ..initiator(0)
    };
    ioas.add_initiator(translated, &Table::default()).unwrap();
    ioas.add_initiator(initiator(1), &Table::default()).unwrap();
    let map = |device, at| {
        let mut mapper = ioas.mapper(bdf(device)).unwrap();
        let piece = PhysVec::new(PhysAddr::from_u64(at), 16, Origin::Ram).unwrap();
        let located = mapper.look_up(&[piece]).unwrap();
        let mapping = mapper.map(located, Direction::DeviceReads, &Constraints::NONE)?;
        let segment = mapping.list().segments()[0];
        mapper.unmap(mapping).unwrap();
        Ok(Iova::from_u64(segment.addr))
    };
    assert_eq!(
        map(0, 0x10_0ff0),
        Err(MapError::AddressMeansTwoThings { addr: 0x10_0ff0 })
    );
    assert!(map(0, 0x10_1000).is_ok() && map(1, 0x10_0ff0).is_ok());
}

#[test]
fn registered_ram_keeps_its_number_where_that_is_free() {
    for (reserved, expected) in [(&[][..], true), (&[iova(0x1f_f000, 0x1f_ffff)][..], false)] {
        let iommu = Iommu {
            apertures: [iova(0, 0xffff_ffff)].to_vec(),
            ..Iommu::default()
        };
        let translation = Translation::Translated(Box::new(iommu) as Box<dyn Translations>);
        let ioas = Ioas::<SingleThread>::new(translation, map(), reserved);
        ioas.add_initiator(initiator(0), &WritesOnly).unwrap();
        let region = map().regions()[0].id;
        ioas.register(region).unwrap();
        let mut mapper = ioas.mapper(bdf(0)).unwrap();
        let piece = PhysVec::new(PhysAddr::from_u64(0x10_0010), 16, Origin::Ram).unwrap();
        let located = mapper.look_up(&[piece]).unwrap();
        let mapping = (mapper.map(located, Direction::DeviceWrites, &Constraints::NONE)).unwrap();
        assert_eq!(mapping.list().segments()[0].addr == 0x10_0010, expected);
        mapper.unmap(mapping).unwrap();
    }
}
