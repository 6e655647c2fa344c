//! How many commands a second go through a volume, by the time of the machine that this runs on: on the simulated machine, whose work is by far
//! the larger part, and on a device that answers at once, where what is left is the driver's.

#[path = "../tests/support/fake.rs"]
mod fake;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peerdma::addr::{Address, Origin, PhysVec};
use peerdma::block::{Bio, Data, Operation, Volume};
use peerdma::device::Host;
use peerdma::dma::{Ioas, SingleThread, SpecRoutes, Translation};
use peerdma::route::spec::Judge;
use peerdma_nvme::{Controller, Forms, Options, QueueOptions};
use peerdma_sim::file;
use peerdma_sim::host::Computer;
use peerdma_sim::machine;
use std::path::Path;

const DEPTH: u64 = 32;
const COMMANDS: u64 = 256;

fn commands(criterion: &mut Criterion) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../machines/two-ssds.toml");
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{error}"));
    let blueprint = file::load(&text).unwrap_or_else(|error| panic!("{error}"));
    let computer = Computer::new(&blueprint, machine::Options::default());
    let computer = computer.unwrap_or_else(|error| panic!("{error}"));
    let (Some(named), Ok(ram)) = (computer.find("nvme0"), computer.allocate(DEPTH << 12, 4096)) else {
        panic!("the machine has no nvme0, or no RAM")
    };
    let map = computer.memory_map();
    let region = map.find(ram).map(|region| region.id);
    let ioas = Ioas::<SingleThread>::new(Translation::Direct, map, &computer.reserved());
    let judge = Judge::new(computer.topology());
    let (Some(initiator), Some(function)) = (computer.initiator(named.bdf), computer.function(named.bdf))
    else {
        panic!("nvme0 issues no requests")
    };
    ioas.add_initiator(initiator, &SpecRoutes::new(&judge))
        .unwrap_or_else(|error| panic!("{error}"));
    if let Some(region) = region {
        ioas.register(region).unwrap_or_else(|error| panic!("{error}"));
    }
    let mapper = || ioas.mapper(named.bdf).unwrap_or_else(|error| panic!("{error}"));
    let controller = Controller::open(function, computer.clone(), mapper(), &Options::default());
    let controller = controller.unwrap_or_else(|error| panic!("{error}"));
    let page = PhysVec::new(ram, 4096, Origin::Ram).unwrap_or_else(|error| panic!("{error}"));
    let mut group = criterion.benchmark_group("commands");
    group.throughput(Throughput::Elements(COMMANDS));
    group.sample_size(20);
    for (name, forms) in [("PRP", Forms::Prp), ("SGL", Forms::Sgl)] {
        for depth in [1, DEPTH] {
            let options = QueueOptions {
                depth: depth as u16,
                forms,
                ..QueueOptions::default()
            };
            let volume = controller.volume(1, mapper(), &options);
            let mut volume = volume.unwrap_or_else(|error| panic!("{error}"));
            let blocks = 4096 / volume.limits().block_bytes;
            // Bios go round: what is done is submitted again.
            let mut spare: Vec<Bio> = (0..depth)
                .map(|index| Bio {
                    operation: Operation::Read,
                    lba: index * u64::from(blocks),
                    blocks,
                    data: Data::Vector(vec![page]),
                })
                .collect();
            group.bench_function(
                BenchmarkId::new(format!("read 4 KiB by {name}, depth"), depth),
                |bencher| {
                    bencher.iter(|| go_round(&computer, &mut volume, &mut spare));
                },
            );
        }
    }
    group.finish();
}

/// Does so many commands, as many at once as there are bios.
fn go_round(computer: &Computer, volume: &mut impl Volume, spare: &mut Vec<Bio>) {
    let (mut begun, mut ended) = (0, 0);
    while ended < COMMANDS {
        while let Some(bio) = spare.pop_if(|_| begun < COMMANDS) {
            (volume.submit(bio)).unwrap_or_else(|rejected| panic!("{}", rejected.why));
            begun += 1;
        }
        let polled = volume.poll(&mut |done| {
            ended += 1;
            spare.push(done.bio);
        });
        polled.unwrap_or_else(|error| panic!("{error}"));
        if ended < COMMANDS && (spare.is_empty() || begun == COMMANDS) {
            computer.relax();
        }
    }
}

/// Reads of scattered pages from a device that answers at once: the driver, and as little as can be beside it.
fn driver(criterion: &mut Criterion) {
    let machine = fake::Machine::new(1, 16);
    let (ioas, region) = machine.ioas();
    ioas.register(region).unwrap_or_else(|error| panic!("{error}"));
    let bdf = peerdma::device::Function::bdf(&machine);
    let mapper = || ioas.mapper(bdf).unwrap_or_else(|error| panic!("{error}"));
    let controller = Controller::open(machine.clone(), machine.clone(), mapper(), &Options::default());
    let controller = controller.unwrap_or_else(|error| panic!("{error}"));
    let ram = machine
        .allocate(64 << 12, 4096)
        .unwrap_or_else(|error| panic!("{error}"));
    let options = QueueOptions {
        max_transfer_bytes: 128 << 10,
        depth: 8,
        ..QueueOptions::default()
    };
    let mut group = criterion.benchmark_group("driver");
    group.throughput(Throughput::Elements(1));
    for pages in [1_u64, 8, 32] {
        let volume = controller.volume(1, mapper(), &options);
        let mut volume = volume.unwrap_or_else(|error| panic!("{error}"));
        let page = |number: u64| {
            let at = ram.checked_add((number ^ 1) << 12).unwrap_or(ram);
            PhysVec::new(at, 4096, Origin::Ram).unwrap_or_else(|error| panic!("{error}"))
        };
        let mut spare = Some(Bio {
            operation: Operation::Read,
            lba: 0,
            blocks: pages as u32 * 8,
            data: Data::Vector((0..pages).map(page).collect()),
        });
        group.bench_function(BenchmarkId::new("read, pages", pages), |bencher| {
            bencher.iter(|| {
                if let Some(bio) = spare.take() {
                    volume
                        .submit(bio)
                        .unwrap_or_else(|rejected| panic!("{}", rejected.why));
                }
                let polled = volume.poll(&mut |done| spare = Some(done.bio));
                polled.unwrap_or_else(|error| panic!("{error}"));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, commands, driver);
criterion_main!(benches);
