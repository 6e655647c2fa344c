//! An address space with registered regions, and vectors of their memory: what the benchmarks of mapping share with the test that nothing
//! is allocated.
#![allow(dead_code, unreachable_pub, reason = "each user takes a part of it")]

use peerdma::addr::{Address, Bdf, Iova, Origin, PhysAddr, PhysVec, Span};
use peerdma::dma::{
    Constraints, Direction, Initiator, Ioas, Mapper, PeerRoute, Routes, SingleThread, Translation,
};
use peerdma::iommu::{IommuError, Rights, Target, Translations};
use peerdma::memory::{BarMemory, CpuView, MemoryMap, Widths};
use peerdma::route::spec::Form;
use peerdma::route::{Access, MapType, TlpClass};
use std::hint::black_box;

const PAGE_BYTES: u64 = 4096;
/// Each region has so many, and as many addresses lie between two regions.
const REGION_BYTES: u64 = 1 << 20;
/// The first address of BARs.
const BARS_AT: u64 = if cfg!(feature = "phys32") {
    1 << 31
} else {
    1 << 44
};

/// What a vector's pieces lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// RAM of one region, no piece beside the one before.
    Ram,
    /// RAM of one region, each piece right after the one before: one segment.
    RamInOnePiece,
    /// One BAR of a peer, no piece beside the one before.
    OneBar,
    /// RAM and the BAR of a peer by turns.
    Mixed,
    /// RAM and BARs, each piece in a region chosen at random.
    Anywhere,
}

/// Does an IOMMU translate?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Iommu {
    /// No.
    Off,
    /// Yes, and takes everything.
    On,
}

/// Takes everything and remembers nothing.
struct Open([Span<Iova>; 1]);

impl Translations for Open {
    fn page_bytes(&self) -> u64 {
        PAGE_BYTES
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

fn span<A: Address>(first: u64, len_bytes: u64) -> Span<A> {
    Span::new(A::from_u64(first), A::from_u64(first + (len_bytes - 1))).expect("it does not wrap")
}

/// Where the region of this number begins, of RAM or of BARs.
fn region_at(base: u64, number: u64) -> u64 {
    base + 2 * number * REGION_BYTES
}

/// A handle to a space of `regions` regions, all registered: half of them RAM, half BARs, each of a function of its own.
pub fn mapper(iommu: Iommu, regions: u64) -> Mapper<SingleThread> {
    let mut map = MemoryMap::new();
    for number in 0..regions / 2 {
        let (with, _) = map
            .with_ram(span(region_at(0, number), REGION_BYTES))
            .expect("it is free");
        let memory = BarMemory {
            provider: Bdf::from_devfn(1 + (number >> 8) as u32, number as u8, 0),
            bar: 0,
            offset_bytes: 0,
            bus_offset: 0x1000_0000,
            cpu: CpuView::Mmio(Widths::ALL),
        };
        let at = span(region_at(BARS_AT, number), REGION_BYTES);
        (map, _) = with.with_bar(at, memory).expect("it is free");
    }
    let translation = match iommu {
        Iommu::Off => Translation::Direct,
        Iommu::On => Translation::Translated(Box::new(Open([span(0, u64::MAX)])) as _),
    };
    let ids: Vec<_> = map.regions().iter().map(|region| region.id).collect();
    let ioas = Ioas::new(translation, map, &[]);
    let bdf = Bdf::from_devfn(0, 1, 0);
    let initiator = Initiator {
        bdf,
        address_mask: u64::MAX,
        class: TlpClass::Strict,
        inbound_offset: 0,
    };
    ioas.add_initiator(initiator, &OnBus).expect("it is new");
    for id in ids {
        ioas.register(id).expect("it can be mapped");
    }
    ioas.mapper(bdf).expect("it was added")
}

/// A vector of `pieces` pages; `seed` chooses where they lie, if [`Mix::Anywhere`].
pub fn vector(mix: Mix, pieces: u64, regions: u64, seed: u64) -> Vec<PhysVec> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ seed;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let apart = |number: u64| (3 * number * PAGE_BYTES) % REGION_BYTES;
    let mut at = |number: u64| match mix {
        Mix::Ram => apart(number),
        Mix::RamInOnePiece => number * PAGE_BYTES,
        Mix::OneBar => BARS_AT + apart(number),
        Mix::Mixed if number.is_multiple_of(2) => apart(number),
        Mix::Mixed => BARS_AT + apart(number),
        Mix::Anywhere => {
            let base = [0, BARS_AT][random(2) as usize];
            region_at(base, random(regions / 2)) + PAGE_BYTES * random(REGION_BYTES / PAGE_BYTES)
        }
    };
    let mut piece = |number| {
        let at = PhysAddr::from_u64(at(number));
        PhysVec::new(at, PAGE_BYTES as u32, Origin::LookUp).expect("it is a piece")
    };
    (0..pieces).map(&mut piece).collect()
}

/// Looks a vector up, maps it, and unmaps it; how many segments the device is told.
#[inline]
pub fn round(mapper: &mut Mapper<SingleThread>, vector: &[PhysVec]) -> usize {
    let located = mapper.look_up(black_box(vector)).expect("it is registered");
    let mapping = mapper.map(located, Direction::DeviceReads, &Constraints::NONE);
    let mapping = mapping.expect("it is reached");
    let segments = black_box(mapping.list().segments()).len();
    mapper.unmap(mapping).expect("it was mapped here");
    segments
}
