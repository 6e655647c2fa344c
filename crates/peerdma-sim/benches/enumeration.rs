//! How fast a machine of 10,000 endpoints comes into being: its file is read, firmware numbers it, its fabric is built.

use criterion::{Criterion, criterion_group, criterion_main};
use peerdma_sim::fabric::Fabric;
use peerdma_sim::{file, firmware};
use std::hint::black_box;

const ENDPOINTS: usize = 10_000;
const PORTS: usize = 32;
const SWITCHES: usize = 6;

/// Cards below switches of 32 ports, six switches in a domain.
fn text() -> String {
    let mut text = String::new();
    let mut rest = ENDPOINTS;
    for domain in 0.. {
        if rest == 0 {
            break;
        }
        text += &format!("[[bridge]]\ndomain = {domain}\n");
        for _ in 0..SWITCHES.min(rest.div_ceil(PORTS)) {
            text += "[[bridge.port]]\n[bridge.port.switch]\n";
            for _ in 0..PORTS.min(rest) {
                text += "[[bridge.port.switch.port]]\ndevice = { kind = \"card\" }\n";
            }
            rest -= PORTS.min(rest);
        }
    }
    text
}

fn enumeration(criterion: &mut Criterion) {
    let text = text();
    let build = |text: &str| {
        let machine = file::read(text).unwrap_or_else(|error| panic!("{error}"));
        let blueprint = firmware::boot(&machine).unwrap_or_else(|error| panic!("{error}"));
        Fabric::new(&blueprint).unwrap_or_else(|error| panic!("{error}"))
    };
    let fabric = build(&text);
    let endpoints = (fabric.functions()).filter(|function| {
        let view = fabric.function(*function);
        !view.is_bridge && view.link_above.is_some()
    });
    assert_eq!(endpoints.count(), ENDPOINTS);
    let mut group = criterion.benchmark_group("enumeration");
    group.sample_size(10);
    group.bench_function("10,000 endpoints", |bencher| {
        bencher.iter(|| black_box(build(&text)))
    });
    group.finish();
}

criterion_group!(benches, enumeration);
criterion_main!(benches);
