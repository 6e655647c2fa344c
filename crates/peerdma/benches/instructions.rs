//! How many instructions looking up, mapping and unmapping take, the same on every run: `cargo bench -p peerdma --bench instructions`
//! (needs valgrind, and `gungraun-runner` of the version in Cargo.lock).
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the macros of the benchmark harness make public items"
)]

mod space;

use gungraun::{library_benchmark, library_benchmark_group, main};
use peerdma::addr::PhysVec;
use peerdma::dma::{Mapper, SingleThread};
use space::{Iommu, Mix, mapper, round, vector};
use std::hint::black_box;

type Ready = (Mapper<SingleThread>, Vec<PhysVec>);

/// A handle that has seen the vector: what is used again is there.
fn ready(mix: Mix, pieces: u64, regions: u64) -> Ready {
    let mut mapper = mapper(Iommu::Off, regions);
    let vector = vector(mix, pieces, regions, 0);
    round(&mut mapper, &vector);
    (mapper, vector)
}

// The handle is given back, so that dropping it is not counted.
#[library_benchmark(setup = ready)]
#[bench::ram_1(Mix::Ram, 1, 4)]
#[bench::ram_32(Mix::Ram, 32, 4)]
#[bench::ram_256(Mix::Ram, 256, 4)]
#[bench::ram_contiguous_32(Mix::RamInOnePiece, 32, 4)]
#[bench::bar_1(Mix::OneBar, 1, 4)]
#[bench::bar_32(Mix::OneBar, 32, 4)]
#[bench::bar_256(Mix::OneBar, 256, 4)]
#[bench::mixed_8(Mix::Mixed, 8, 4)]
#[bench::mixed_32(Mix::Mixed, 32, 4)]
#[bench::mixed_256(Mix::Mixed, 256, 4)]
#[bench::any_of_64_regions_32(Mix::Anywhere, 32, 64)]
#[bench::any_of_4096_regions_32(Mix::Anywhere, 32, 4096)]
fn look_up_map_unmap(ready: Ready) -> (usize, Ready) {
    let (mut mapper, vector) = ready;
    let segments = black_box(round(&mut mapper, &vector));
    (segments, (mapper, vector))
}

library_benchmark_group!(name = mapping, benchmarks = [look_up_map_unmap]);
main!(library_benchmark_groups = mapping);
