//! How long judging takes, apart from reading and printing: `cargo bench -p peerdma-linux --bench
//! verdicts`. It lives here, and not with the core, because a reader makes its machines.
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the macros of the benchmark harness make public items"
)]

mod machines;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use machines::topology;
use peerdma::route::linux::{Judge, Kernel, Row};
use peerdma::topology::Topology;
use std::hint::black_box;

/// Every ordered pair of a large machine, by rows.
fn all_pairs(criterion: &mut Criterion) {
    let topology = topology(10_000);
    let functions = topology.nodes().len() as u64;
    let mut group = criterion.benchmark_group("all pairs of 10,000 functions");
    group.throughput(Throughput::Elements(functions * functions));
    group.sample_size(10);
    for (name, kernel) in [
        ("Linux 7.2", Kernel::Release("7.2".parse().expect("a release"))),
        ("next, four packet classes", Kernel::Next),
    ] {
        let judge = Judge::new(&topology, kernel);
        let mut row = Row::default();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for provider in topology.nodes() {
                    judge.row(provider, &mut row);
                    black_box(row.verdicts());
                }
            });
        });
    }
    group.finish();
}

/// Building the trees, and the sums that judging needs.
fn preparing(criterion: &mut Criterion) {
    let topology = topology(10_000);
    let mut group = criterion.benchmark_group("preparing 10,000 functions");
    group.sample_size(20);
    group.bench_function("topology", |bencher| {
        bencher.iter_batched(
            || topology.snapshot().clone(),
            |snapshot| Topology::new(snapshot, &mut Default::default()),
            criterion::BatchSize::LargeInput,
        );
    });
    group.bench_function("judge", |bencher| {
        bencher.iter(|| Judge::new(black_box(&topology), Kernel::Unknown));
    });
    group.finish();
}

criterion_group!(benches, all_pairs, preparing);
criterion_main!(benches);
