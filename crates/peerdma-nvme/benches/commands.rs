//! How many commands a second go through a volume on the simulated machine, by the time of this machine: the driver's own work and
//! that of the simulator, which is by far the larger part.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peerdma::addr::{Origin, PhysVec};
use peerdma::block::{Bio, Data, Operation, Volume};
use peerdma::device::Host;
use peerdma::dma::{Ioas, SingleThread, SpecRoutes, Translation};
use peerdma::route::spec::Judge;
use peerdma_nvme::{Controller, Options, QueueOptions};
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
    let options = QueueOptions {
        depth: DEPTH as u16,
        ..QueueOptions::default()
    };
    let volume = controller.volume(1, mapper(), &options);
    let mut volume = volume.unwrap_or_else(|error| panic!("{error}"));
    let page = PhysVec::new(ram, 4096, Origin::Ram).unwrap_or_else(|error| panic!("{error}"));
    let blocks = 4096 / volume.limits().block_bytes;
    // Bios go round: what is done is submitted again.
    let mut spare: Vec<Bio> = (0..DEPTH)
        .map(|index| Bio {
            operation: Operation::Read,
            lba: index * u64::from(blocks),
            blocks,
            data: Data::Vector(vec![page]),
        })
        .collect();

    let mut group = criterion.benchmark_group("commands");
    group.throughput(Throughput::Elements(COMMANDS));
    group.sample_size(20);
    group.bench_function(BenchmarkId::new("read 4 KiB", DEPTH), |bencher| {
        bencher.iter(|| {
            let (mut begun, mut ended) = (0, 0);
            while ended < COMMANDS {
                while let Some(bio) = spare.pop_if(|_| begun < COMMANDS) {
                    begun += u64::from(volume.submit(bio).is_ok());
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
        });
    });
    group.finish();
}

criterion_group!(benches, commands);
criterion_main!(benches);
