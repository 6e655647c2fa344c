//! How long it takes to write a command's PRP list or SGL segment, by the command's size: in one piece, and in scattered pages.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peerdma::dma::{DmaSegment, MemoryKind, Space};
use peerdma_nvme::{Forms, ListArea, build};
use std::hint::black_box;

const PAGE_BYTES: u64 = 4096;

/// Memory for a command of so many bytes: in pieces of `piece_bytes`, none beside the one before.
fn segments(len_bytes: u64, piece_bytes: u64) -> Vec<DmaSegment> {
    let segment = |index| DmaSegment {
        addr: 0x1_0000_0000 + index * 2 * piece_bytes,
        len_bytes: piece_bytes as u32,
        space: Space::Bus,
        kind: MemoryKind::PeerOnBus,
    };
    (0..len_bytes / piece_bytes).map(segment).collect()
}

fn pointers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pointer");
    let mut bytes = vec![0; 8192];
    for (name, forms) in [
        ("prp", Forms::Prp),
        ("sgl", Forms::Sgl),
        ("shorter", Forms::Shorter),
    ] {
        for len_bytes in [4 << 10, 128 << 10, 1 << 20] {
            for (how, piece_bytes) in [("contiguous", len_bytes), ("scattered pages", PAGE_BYTES)] {
                if how != "contiguous" && len_bytes == PAGE_BYTES {
                    continue;
                }
                let segments = segments(len_bytes, piece_bytes);
                let kib = len_bytes >> 10;
                group.throughput(Throughput::Elements(1));
                group.bench_function(BenchmarkId::new(format!("{name}, {how}, KiB"), kib), |bencher| {
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
    }
    group.finish();
}

criterion_group!(benches, pointers);
criterion_main!(benches);
