//! Threads that map and one that takes the memory away, on a real processor. Every order of the steps is tried by `revocation_model.rs`.
#![cfg(feature = "std")]

use peerdma::addr::{Address, Bdf, Origin, PhysAddr, PhysVec, Span};
use peerdma::dma::{
    Constraints, Direction, Initiator, Ioas, MapError, Mapper, PeerRoute, Refused, Routes, Threads,
    Translation,
};
use peerdma::memory::MemoryMap;
use peerdma::route::{Access, TlpClass};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// There are no peers.
struct Alone;

impl Routes for Alone {
    fn route(&self, _: Bdf, provider: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
        PeerRoute::Refused(Refused::NoSuchFunction(provider))
    }
}

fn is_shared<T: Send + Sync>() {}
fn is_sent<T: Send>() {}

/// Pieces before the one whose region is taken away: the more there are, the longer a mapper is between looking and counting.
const BEFORE: u64 = 4096;

fn span(first: u64, last: u64) -> Span<PhysAddr> {
    Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).unwrap()
}

#[test]
fn nothing_is_mapped_once_a_revocation_has_returned() {
    is_shared::<Ioas<Threads>>();
    is_sent::<Mapper<Threads>>();
    let pieces = (0..=BEFORE).map(|number| PhysVec::new(PhysAddr::from_u64(number * 128), 64, Origin::Ram));
    let vector: Vec<_> = pieces.map(Result::unwrap).collect();
    for round in 0..300 {
        let (map, _) = MemoryMap::new().with_ram(span(0, BEFORE * 128 - 1)).unwrap();
        let (map, taken) = map.with_ram(span(BEFORE * 128, BEFORE * 256)).unwrap();
        let ioas = Ioas::<Threads>::new(Translation::Direct, map, &[]);
        let bdf = Bdf::from_devfn(0, 1, 0);
        let initiator = Initiator {
            bdf,
            address_mask: u64::MAX,
            class: TlpClass::Strict,
            inbound_offset: 0,
        };
        ioas.add_initiator(initiator, &Alone).unwrap();
        let has_returned = AtomicBool::new(false);
        let maps = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                let mut mapper = ioas.mapper(bdf).unwrap();
                let (vector, has_returned, maps) = (&vector, &has_returned, &maps);
                scope.spawn(move || {
                    loop {
                        let located = mapper.look_up(vector).unwrap();
                        match mapper.map(located, Direction::Both, &Constraints::NONE) {
                            Ok(mapping) => {
                                assert!(!has_returned.load(Ordering::SeqCst), "mapped, and taken away");
                                maps.fetch_add(1, Ordering::Relaxed);
                                mapper.unmap(mapping).unwrap();
                            }
                            Err(error) => return assert_eq!(error, MapError::Revoked(taken)),
                        }
                    }
                });
            }
            // Each round at another moment of the mappers' way.
            while maps.load(Ordering::Relaxed) < round % 7 {
                std::hint::spin_loop();
            }
            while ioas.finish_revoke(taken).is_err() {
                std::hint::spin_loop();
            }
            has_returned.store(true, Ordering::SeqCst);
        });
    }
}
