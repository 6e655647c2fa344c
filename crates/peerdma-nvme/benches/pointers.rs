//! How long it takes to write a command's PRP list or SGL segment, by the number of segments.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peerdma::dma::{DmaSegment, MemoryKind, Space};
use peerdma_nvme::{Forms, ListArea, build};
use std::hint::black_box;

const PAGE_BYTES: u64 = 4096;

fn segments(count: u64) -> Vec<DmaSegment> {
    let segment = |index| DmaSegment {
        addr: 0x1_0000_0000 + index * 2 * PAGE_BYTES,
        len_bytes: PAGE_BYTES as u32,
        space: Space::Bus,
        kind: MemoryKind::PeerOnBus,
    };
    (0..count).map(segment).collect()
}

fn pointers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pointer");
    for (name, forms) in [
        ("prp", Forms::Prp),
        ("sgl", Forms::Sgl),
        ("shorter", Forms::Shorter),
    ] {
        for count in [1, 2, 8, 32, 256] {
            let segments = segments(count);
            let mut bytes = vec![0; 8192];
            group.throughput(Throughput::Elements(count));
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| {
                    let area = ListArea {
                        bytes: &mut bytes,
                        address: 0x7000_0000,
                    };
                    build(black_box(&segments), PAGE_BYTES, forms, area)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, pointers);
criterion_main!(benches);
