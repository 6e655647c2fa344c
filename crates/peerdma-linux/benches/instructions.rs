//! How many instructions reading and judging take, the same on every run: `cargo bench -p peerdma-linux --bench
//! instructions` (needs valgrind, and `gungraun-runner` of the version in Cargo.lock).
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the macros of the benchmark harness make public items"
)]

mod machines;

use gungraun::{library_benchmark, library_benchmark_group, main};
use peerdma::route::linux::{Judge, Kernel, Row};
use peerdma::snapshot::{Snapshot, Warnings};
use peerdma::topology::Topology;
use peerdma_linux::KeepConfig;
use peerdma_linux::json::{self, JsonError};
use peerdma_linux::lspci::{self, LspciError};
use peerdma_linux::sysfs::{self, SysfsError};
use peerdma_linux::tree::LiveTree;
use std::hint::black_box;
use tempfile::TempDir;

fn tree_of(functions: usize) -> TempDir {
    let root = tempfile::tempdir().expect("a temporary folder");
    machines::sysfs(root.path(), functions).expect("the tree is written");
    root
}

fn json_of(functions: usize) -> Vec<u8> {
    let mut written = Vec::new();
    json::write(&machines::snapshot(functions), &mut written).expect("memory takes every write");
    written
}

#[library_benchmark]
#[bench::functions_200(args = (200), setup = machines::listing)]
fn listing(text: Vec<u8>) -> Result<Snapshot, LspciError> {
    lspci::read(black_box(&text), KeepConfig::Drop, &mut Warnings::default())
}

#[library_benchmark]
#[bench::functions_137(args = (137), setup = tree_of)]
fn tree(root: TempDir) -> (Result<Snapshot, SysfsError>, TempDir) {
    let tree = LiveTree::open(black_box(root.path())).expect("the tree is there");
    let read = sysfs::read(&tree, &mut Warnings::default(), KeepConfig::Drop);
    (read, root)
}

#[library_benchmark]
#[bench::functions_200(args = (200), setup = json_of)]
fn snapshot(text: Vec<u8>) -> Result<Snapshot, JsonError> {
    json::read(black_box(&text), &mut Warnings::default())
}

#[library_benchmark]
#[bench::functions_1000(args = (1000), setup = machines::topology)]
fn all_pairs(topology: Topology) -> usize {
    let judge = Judge::new(black_box(&topology), Kernel::Unknown);
    let mut row = Row::default();
    let mut verdicts = 0;
    for provider in topology.nodes() {
        judge.row(provider, &mut row);
        verdicts += black_box(row.verdicts()).len();
    }
    verdicts
}

library_benchmark_group!(name = readers, benchmarks = [listing, tree, snapshot]);
library_benchmark_group!(name = judges, benchmarks = [all_pairs]);
main!(library_benchmark_groups = readers, judges);
