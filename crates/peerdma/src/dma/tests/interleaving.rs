//! A revocation that comes whole between a mapper's looking and its counting: by a lock that calls somebody whenever it is given back.

use super::model::{bdf, initiator, phys};
use crate::addr::{Address, Origin, PhysAddr, PhysVec};
use crate::dma::tests::model::Table;
use crate::dma::{Constraints, Direction, Ioas, Locks, MapError, Translation};
use crate::iommu::Translations;
use crate::memory::MemoryMap;
use alloc::boxed::Box;
use core::cell::RefCell;

std::thread_local! {
    static NEXT: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Not shared; who waits comes in as soon as the lock is free.
struct Interrupted;

impl Locks for Interrupted {
    type Lock<T> = RefCell<T>;
    type Translations = dyn Translations;

    fn lock<T>(value: T) -> RefCell<T> {
        RefCell::new(value)
    }

    fn with<T, R>(lock: &RefCell<T>, inside: impl FnOnce(&mut T) -> R) -> R {
        let result = inside(&mut lock.borrow_mut());
        if let Some(next) = NEXT.with(|next| next.borrow_mut().take()) {
            next();
        }
        result
    }
}

#[test]
fn a_region_that_is_revoked_after_the_last_look_is_not_mapped() {
    let (map, taken) = MemoryMap::new().with_ram(phys(0x10_0000, 0x10_ffff)).unwrap();
    let (map, other) = map.with_ram(phys(0x20_0000, 0x20_ffff)).unwrap();
    let ioas = Ioas::<Interrupted>::new(Translation::Direct, map, &[]);
    ioas.add_initiator(initiator(0), &Table::default()).unwrap();
    let mut mapper = ioas.mapper(bdf(0)).unwrap();
    let piece = PhysVec::new(PhysAddr::from_u64(0x10_0000), 16, Origin::Ram).unwrap();
    let located = mapper.look_up(&[piece]).unwrap();
    // Something else has changed, so that the mapper looks anew; as soon as it has, the region goes.
    ioas.begin_revoke(other);
    let revoker = ioas.clone();
    NEXT.with(|next| {
        *next.borrow_mut() = Some(Box::new(move || assert_eq!(revoker.finish_revoke(taken), Ok(()))));
    });
    let result = mapper.map(located, Direction::DeviceWrites, &Constraints::NONE);
    assert!(
        matches!(result, Err(MapError::Revoked(region)) if region == taken),
        "{result:?}"
    );
    assert!(NEXT.with(|next| next.borrow().is_none()), "it never came in");
}
