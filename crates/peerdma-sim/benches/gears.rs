//! How fast transfers are simulated: bytes in the batched gear, TLPs in the other; each from a card below one switch to a
//! card below another, through a root complex with ACS redirection and a translating IOMMU.

#[path = "../tests/bench_machine/mod.rs"]
mod bench_machine;

use bench_machine::{Bench, blueprint};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peerdma_sim::machine::{Gear, Options};
use peerdma_sim::tlp::Access;
use std::hint::black_box;

const MIB: u64 = 1 << 20;

fn bench(gear: Gear) -> Bench {
    let options = Options {
        gear,
        ..Options::default()
    };
    let mut bench = Bench::new(&blueprint("translating", "VRCU", 256), options);
    // Warm: memory has come into being.
    for access in [Access::Write, Access::Read] {
        let plan = bench.plan(0, access, bench.address(2, 0), 0, 64 * MIB);
        bench.run(&plan);
    }
    bench
}

/// TLPs of one run: each counts once, however many links it crosses.
fn tlps(gear: Gear, access: Access, len_bytes: u64) -> u64 {
    let mut bench = bench(gear);
    let count = |bench: &Bench| {
        let counters = bench.machine.counters();
        let link = (counters.links.iter()).max_by_key(|link| link.up.tlps() + link.down.tlps());
        link.map_or(0, |link| link.up.tlps() + link.down.tlps())
    };
    let before = count(&bench);
    let plan = bench.plan(0, access, bench.address(2, 0), 0, len_bytes);
    bench.run(&plan);
    count(&bench) - before
}

fn batched(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batched");
    group.throughput(Throughput::Bytes(64 * MIB));
    for (name, access) in [("write 64 MiB", Access::Write), ("read 64 MiB", Access::Read)] {
        let mut bench = bench(Gear::Batched);
        let plan = bench.plan(0, access, bench.address(2, 0), 0, 64 * MIB);
        group.bench_function(name, |bencher| bencher.iter(|| black_box(bench.run(&plan))));
    }
    group.finish();
}

fn single(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tlp by tlp");
    for (name, access) in [("write 4 MiB", Access::Write), ("read 4 MiB", Access::Read)] {
        group.throughput(Throughput::Elements(tlps(Gear::Tlp, access, 4 * MIB)));
        let mut bench = bench(Gear::Tlp);
        let plan = bench.plan(0, access, bench.address(2, 0), 0, 4 * MIB);
        group.bench_function(name, |bencher| bencher.iter(|| black_box(bench.run(&plan))));
    }
    group.finish();
}

criterion_group!(benches, batched, single);
criterion_main!(benches);
