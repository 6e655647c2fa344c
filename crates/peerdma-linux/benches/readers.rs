//! How long the readers take: `cargo bench -p peerdma-linux --bench readers`.
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the macros of the benchmark harness make public items"
)]

mod machines;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peerdma::snapshot::Warnings;
use peerdma_linux::tree::LiveTree;
use peerdma_linux::{KeepConfig, json, lspci, sysfs};
use std::hint::black_box;

fn listing(criterion: &mut Criterion) {
    let text = machines::listing(2000);
    let mut group = criterion.benchmark_group("lspci");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.sample_size(20);
    group.bench_function("hex dump of 2000 functions", |bencher| {
        bencher.iter(|| lspci::read(black_box(&text), KeepConfig::Drop, &mut Warnings::default()));
    });
    group.finish();
}

fn tree(criterion: &mut Criterion) {
    let root = tempfile::tempdir().expect("a temporary folder");
    machines::sysfs(root.path(), 137).expect("the tree is written");
    let mut group = criterion.benchmark_group("sysfs");
    group.throughput(Throughput::Elements(137));
    group.bench_function("tree of 137 functions", |bencher| {
        bencher.iter(|| {
            let tree = LiveTree::open(black_box(root.path())).expect("the tree is there");
            sysfs::read(&tree, &mut Warnings::default(), KeepConfig::Drop)
        });
    });
    group.finish();
}

fn snapshot(criterion: &mut Criterion) {
    let mut written = Vec::new();
    json::write(&machines::snapshot(2000), &mut written).expect("memory takes every write");
    let mut group = criterion.benchmark_group("json");
    group.throughput(Throughput::Bytes(written.len() as u64));
    group.sample_size(20);
    group.bench_function("snapshot of 2000 functions", |bencher| {
        bencher.iter(|| json::read(black_box(&written), &mut Warnings::default()));
    });
    group.finish();
}

criterion_group!(benches, listing, tree, snapshot);
criterion_main!(benches);
