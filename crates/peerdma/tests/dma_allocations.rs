//! Requests for registered memory allocate nothing once each size has been seen: the vectors are those of the benchmarks.

#[path = "../benches/space/mod.rs"]
mod space;

use peerdma::dma::{Constraints, Direction};
use space::{Iommu, Mix, mapper, round, vector};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const REGIONS: u64 = 64;

/// No test harness: its threads would allocate, too, and the counter is of the whole program.
fn main() {
    a_request_for_registered_memory_allocates_nothing();
}

fn a_request_for_registered_memory_allocates_nothing() {
    let mixes = [
        Mix::Ram,
        Mix::RamInOnePiece,
        Mix::OneBar,
        Mix::Mixed,
        Mix::Anywhere,
    ];
    for iommu in [Iommu::Off, Iommu::On] {
        let mut mapper = mapper(iommu, REGIONS);
        let of_mix = |mix| [1, 8, 32, 256].map(|pieces| vector(mix, pieces, REGIONS, 0));
        let vectors = mixes.map(of_mix);
        let mut held = Vec::with_capacity(vectors.len() * 4);
        let mut rounds = |rounds: usize| {
            for _ in 0..rounds {
                for vector in vectors.as_flattened() {
                    round(&mut mapper, vector);
                    let located = mapper.look_up(vector).unwrap();
                    held.push(mapper.map(located, Direction::Both, &Constraints::NONE).unwrap());
                }
                // The last first, so that each size meets each vector that is used again.
                while let Some(mapping) = held.pop() {
                    mapper.unmap(mapping).unwrap();
                }
            }
        };
        rounds(50);
        let counted = Region::new(COUNTED);
        rounds(100);
        let change = counted.change();
        assert_eq!(
            (change.allocations, change.reallocations, change.deallocations),
            (0, 0, 0)
        );
    }
}
