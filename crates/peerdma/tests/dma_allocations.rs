//! Requests for registered memory allocate nothing once each size has been seen.

use peerdma::addr::{Address, Bdf, Iova, Origin, PhysAddr, PhysVec, Span};
use peerdma::dma::{
    Constraints, Direction, Initiator, Ioas, Mapper, PeerRoute, Routes, SingleThread, Translation,
};
use peerdma::iommu::{IommuError, Rights, Target, Translations};
use peerdma::memory::{BarMemory, CpuView, MemoryMap};
use peerdma::route::spec::Form;
use peerdma::route::{Access, MapType, TlpClass};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Takes everything and remembers nothing.
struct Open([Span<Iova>; 1]);

impl Translations for Open {
    fn page_bytes(&self) -> u64 {
        4096
    }

    fn apertures(&self) -> &[Span<Iova>] {
        &self.0
    }

    fn map(&mut self, _: Iova, _: PhysAddr, _: u64, _: Rights, _: Target) -> Result<(), IommuError> {
        Ok(())
    }

    fn unmap(&mut self, _: Iova, _: u64) -> Result<(), IommuError> {
        Ok(())
    }

    fn look_up(&self, _: Iova) -> Option<(PhysAddr, u64)> {
        None
    }
}

/// Everybody reaches everybody on the bus.
struct OnBus;

impl Routes for OnBus {
    fn route(&self, _: Bdf, _: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
        PeerRoute::Reached {
            map_type: MapType::BusAddr,
            form: Form::BusAddress,
        }
    }
}

fn span<A: Address>(first: u64, last: u64) -> Span<A> {
    Span::new(A::from_u64(first), A::from_u64(last)).unwrap()
}

fn mapper(translation: Translation<SingleThread>) -> Mapper<SingleThread> {
    let (map, ram) = MemoryMap::new().with_ram(span(0, 0xfff_ffff)).unwrap();
    let peer = BarMemory {
        provider: Bdf::from_devfn(0, 2, 0),
        bar: 0,
        offset_bytes: 0,
        bus_offset: 0x1000_0000,
        cpu: CpuView::None,
    };
    let (map, bar) = map.with_bar(span(0x8000_0000, 0x8fff_ffff), peer).unwrap();
    let ioas = Ioas::new(translation, map, &[]);
    let bdf = Bdf::from_devfn(0, 1, 0);
    let initiator = Initiator {
        bdf,
        address_mask: u64::MAX,
        class: TlpClass::Strict,
        inbound_offset: 0,
    };
    ioas.add_initiator(initiator, &OnBus).unwrap();
    ioas.register(ram).unwrap();
    ioas.register(bar).unwrap();
    ioas.mapper(bdf).unwrap()
}

/// RAM and BAR memory by turns, a page each, none next to the one before.
fn vector(pieces: u64) -> Vec<PhysVec> {
    let piece = |number: u64| {
        let base = if number.is_multiple_of(2) { 0 } else { 0x8000_0000 };
        PhysVec::new(PhysAddr::from_u64(base + number * 0x3000), 0x1000, Origin::LookUp).unwrap()
    };
    (0..pieces).map(piece).collect()
}

/// No test harness: its threads would allocate, too, and the counter is of the whole program.
fn main() {
    a_request_for_registered_memory_allocates_nothing();
}

fn a_request_for_registered_memory_allocates_nothing() {
    let open = || Translation::Translated(Box::new(Open([span(0, u64::MAX)])) as Box<dyn Translations>);
    for translation in [Translation::Direct, open()] {
        let mut mapper = mapper(translation);
        let vectors = [1, 8, 32, 256].map(vector);
        let mut held = Vec::with_capacity(8);
        let mut rounds = |rounds: usize| {
            for _ in 0..rounds {
                for vector in &vectors {
                    let located = mapper.look_up(vector).unwrap();
                    held.push(mapper.map(located, Direction::Both, &Constraints::NONE).unwrap());
                }
                // The last first, so that each size meets each vector that is used again.
                while let Some(mapping) = held.pop() {
                    mapper.unmap(mapping).unwrap();
                }
            }
        };
        rounds(8);
        let counted = Region::new(COUNTED);
        rounds(100);
        let change = counted.change();
        assert_eq!(
            (change.allocations, change.reallocations, change.deallocations),
            (0, 0, 0)
        );
    }
}
