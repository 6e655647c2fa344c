//! Look-up, map and unmap of registered memory: all RAM, all one BAR, and both by turns; 1 to 256 pieces. Nothing is allocated per call
//! (`tests/dma_allocations.rs`).

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peerdma::addr::{Address, Bdf, Iova, Origin, PhysAddr, PhysVec, Span};
use peerdma::dma::{
    Constraints, Direction, Initiator, Ioas, Mapper, PeerRoute, Routes, SingleThread, Translation,
};
use peerdma::iommu::{IommuError, Rights, Target, Translations};
use peerdma::memory::{BarMemory, CpuView, MemoryMap};
use peerdma::route::spec::Form;
use peerdma::route::{Access, MapType, TlpClass};

/// Takes everything and remembers nothing: registered memory does not come here.
struct Open([Span<Iova>; 1]);

impl Translations for Open {
    fn page_bytes(&self) -> u64 {
        4096
    }

    fn apertures(&self) -> &[Span<Iova>] {
        &self.0
    }

    fn map(&mut self, _: Iova, _: PhysAddr, _: u64, _: Rights, _: Target) -> Result<(), IommuError> {
        Ok(())
    }

    fn unmap(&mut self, _: Iova, _: u64) -> Result<(), IommuError> {
        Ok(())
    }

    fn look_up(&self, _: Iova) -> Option<(PhysAddr, u64)> {
        None
    }
}

/// Everybody reaches everybody on the bus.
struct OnBus;

impl Routes for OnBus {
    fn route(&self, _: Bdf, _: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
        PeerRoute::Reached {
            map_type: MapType::BusAddr,
            form: Form::BusAddress,
        }
    }
}

fn span<A: Address>(first: u64, last: u64) -> Span<A> {
    Span::new(A::from_u64(first), A::from_u64(last)).expect("the ends are in order")
}

/// 16 regions of RAM and 16 BARs, all registered under translation.
fn mapper() -> Option<Mapper<SingleThread>> {
    let mut map = MemoryMap::new();
    for number in 0..16 {
        let first = number * 0x100_0000;
        map = map.with_ram(span(first, first + 0xff_ffff)).ok()?.0;
        let peer = BarMemory {
            provider: Bdf::from_devfn(0, 2, number as u8),
            bar: 0,
            offset_bytes: 0,
            bus_offset: 0,
            cpu: CpuView::None,
        };
        let first = 0x8000_0000 + first;
        map = map.with_bar(span(first, first + 0xff_ffff), peer).ok()?.0;
    }
    let aperture = [span(0, u64::MAX)];
    let translation = Translation::Translated(Box::new(Open(aperture)) as Box<dyn Translations>);
    let ioas = Ioas::new(translation, map.clone(), &[]);
    let bdf = Bdf::from_devfn(0, 1, 0);
    let initiator = Initiator {
        bdf,
        address_mask: u64::MAX,
        class: TlpClass::Strict,
        inbound_offset: 0,
    };
    ioas.add_initiator(initiator, &OnBus).ok()?;
    for region in map.regions() {
        ioas.register(region.id).ok()?;
    }
    ioas.mapper(bdf).ok()
}

/// Pages that do not touch each other.
fn vector(pieces: u64, base: impl Fn(u64) -> u64) -> Vec<PhysVec> {
    let piece = |number: u64| {
        let at = PhysAddr::from_u64(base(number) + number * 0x2000);
        PhysVec::new(at, 0x1000, Origin::LookUp).expect("it lies within the space")
    };
    (0..pieces).map(piece).collect()
}

fn mapping(criterion: &mut Criterion) {
    let mut mapper = mapper().expect("the map is sound");
    let mut group = criterion.benchmark_group("look-up+map+unmap");
    type Base = fn(u64) -> u64;
    let shapes: [(&str, Base); 3] = [
        ("ram", |_| 0x300_0000),
        ("one-bar", |_| 0x8300_0000),
        ("mixed", |number| {
            (number % 2) * 0x8000_0000 + (number % 16) * 0x100_0000
        }),
    ];
    for (name, base) in shapes {
        for pieces in [1, 8, 32, 256] {
            let vector = vector(pieces, base);
            group.throughput(Throughput::Elements(pieces));
            group.bench_with_input(BenchmarkId::new(name, pieces), &vector, |bencher, vector| {
                bencher.iter(|| {
                    let located = mapper.look_up(vector).expect("all of it is registered");
                    let mapping = mapper.map(located, Direction::DeviceReads, &Constraints::NONE);
                    mapper
                        .unmap(mapping.expect("all of it is reached"))
                        .expect("it was mapped")
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, mapping);
criterion_main!(benches);
