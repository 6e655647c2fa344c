//! Threads that map and one that takes the memory away, on a real processor. Every order of the steps is tried by `revocation_model.rs`.
#![cfg(feature = "std")]

use peerdma::addr::{Address, Bdf, Origin, PhysAddr, PhysVec, Span};
use peerdma::dma::{
    Constraints, Direction, Initiator, Ioas, MapError, Mapper, PeerRoute, Refused, Routes, Threads,
    Translation,
};
use peerdma::memory::MemoryMap;
use peerdma::route::{Access, TlpClass};
use std::sync::atomic::{AtomicUsize, Ordering};
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

#[test]
fn nothing_is_mapped_once_a_revocation_has_returned() {
    is_shared::<Ioas<Threads>>();
    is_sent::<Mapper<Threads>>();
    for _ in 0..200 {
        let span = Span::new(PhysAddr::from_u64(0), PhysAddr::from_u64(0xffff)).unwrap();
        let (map, ram) = MemoryMap::new().with_ram(span).unwrap();
        let ioas = Ioas::<Threads>::new(Translation::Direct, map, &[]);
        let bdf = Bdf::from_devfn(0, 1, 0);
        let initiator = Initiator {
            bdf,
            address_mask: u64::MAX,
            class: TlpClass::Strict,
            inbound_offset: 0,
        };
        ioas.add_initiator(initiator, &Alone).unwrap();
        let mapped = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                let (mut mapper, mapped) = (ioas.mapper(bdf).unwrap(), &mapped);
                scope.spawn(move || {
                    let piece = PhysVec::new(PhysAddr::from_u64(0x1000), 64, Origin::Ram).unwrap();
                    loop {
                        let located = mapper.look_up(&[piece]).unwrap();
                        match mapper.map(located, Direction::Both, &Constraints::NONE) {
                            Ok(mapping) => {
                                mapped.fetch_add(1, Ordering::SeqCst);
                                mapped.fetch_sub(1, Ordering::SeqCst);
                                mapper.unmap(mapping).unwrap();
                            }
                            Err(error) => return assert_eq!(error, MapError::Revoked(ram)),
                        }
                    }
                });
            }
            while ioas.finish_revoke(ram).is_err() {
                thread::yield_now();
            }
            assert_eq!(mapped.load(Ordering::SeqCst), 0);
        });
    }
}
