//! How long it takes to look up, map and unmap a vector of registered memory: `cargo bench -p peerdma --bench mapping`.
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the macros of the benchmark harness make public items"
)]

mod space;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use space::{Iommu, Mix, mapper, round, vector};
use std::hint::black_box;

/// Few regions: what a vector costs by its kind and length.
fn kinds(criterion: &mut Criterion) {
    const REGIONS: u64 = 4;
    let kinds = [
        ("RAM", Mix::Ram),
        ("RAM, contiguous", Mix::RamInOnePiece),
        ("one BAR", Mix::OneBar),
        ("RAM and BAR by turns", Mix::Mixed),
    ];
    for (iommu, name) in [(Iommu::Off, "no IOMMU"), (Iommu::On, "IOMMU")] {
        let mut group = criterion.benchmark_group(name);
        for (kind, mix) in kinds {
            for pieces in [1, 8, 32, 256] {
                let mut mapper = mapper(iommu, REGIONS);
                let vector = vector(mix, pieces, REGIONS, 0);
                group.throughput(Throughput::Elements(pieces));
                group.bench_function(format!("{kind}/{pieces}"), |bencher| {
                    bencher.iter(|| black_box(round(&mut mapper, &vector)));
                });
            }
        }
        group.finish();
    }
}

/// Many regions, each piece in one chosen at random: what the search costs.
fn many_regions(criterion: &mut Criterion) {
    const PIECES: u64 = 32;
    let mut group = criterion.benchmark_group("regions");
    group.throughput(Throughput::Elements(PIECES));
    for regions in [64, 4096] {
        let mut mapper = mapper(Iommu::Off, regions);
        for (kind, mix) in [("one", Mix::Ram), ("any", Mix::Anywhere)] {
            let vectors: Vec<_> = (0..64).map(|seed| vector(mix, PIECES, regions, seed)).collect();
            let mut turn = vectors.iter().cycle();
            group.bench_function(format!("{PIECES} pieces in {kind} of {regions}"), |bencher| {
                bencher.iter(|| turn.next().map(|vector| black_box(round(&mut mapper, vector))));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, kinds, many_regions);
criterion_main!(benches);
