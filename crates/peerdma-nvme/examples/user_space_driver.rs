//! A user-space driver: reads one block into RAM and the next straight into a GPU's memory. `read` knows only traits: here the
//! machine is simulated, elsewhere it is VFIO's. `cargo run -p peerdma-nvme --example user_space_driver`

use peerdma::addr::{Origin, PhysAddr, PhysVec};
use peerdma::block::{Bio, Data, Operation, Volume};
use peerdma::device::{Function, Host};
use peerdma::dma::{Ioas, Locks, SingleThread, SpecRoutes, Translation};
use peerdma::memory::Memory;
use peerdma::route::spec::Judge;
use peerdma_nvme::{Controller, Options, QueueOptions};
use peerdma_sim::host::{Computer, Pattern};
use peerdma_sim::{file, machine};
use std::{error::Error, sync::Arc};

const BYTES: u32 = 4096;

/// Reads the first blocks of the first namespace, `BYTES` to each address: one request for memory of any kinds.
fn read<F: Function, H: Host + Clone, L: Locks>(
    function: F,
    host: H,
    ioas: &Arc<Ioas<L>>,
    to: &[PhysAddr],
) -> Result<(), Box<dyn Error>> {
    let bdf = function.bdf();
    let controller = Controller::open(function, host.clone(), ioas.mapper(bdf)?, &Options::default())?;
    ioas.set_own_base(bdf, controller.buffer().map(|buffer| buffer.own_base))?;
    let mut volume = controller.volume(1, ioas.mapper(bdf)?, &QueueOptions::default())?;
    let pieces = (to.iter()).map(|at| PhysVec::new(*at, BYTES, Origin::LookUp));
    let bio = Bio {
        operation: Operation::Read,
        lba: 0,
        blocks: BYTES * to.len() as u32 / volume.limits().block_bytes,
        data: Data::Vector(pieces.collect::<Result<_, _>>()?),
    };
    (volume.submit(bio)).map_err(|rejected| format!("{:?}", rejected.why))?;
    let mut ended = Vec::new();
    while ended.is_empty() {
        volume.poll(&mut |done| ended.push(done.result))?;
        host.relax();
    }
    println!("{bdf}, {}: {ended:?}", controller.info().model);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let text = include_str!("../../../machines/gpu-box.toml");
    let computer = Computer::new(&file::load(text)?, machine::Options::default())?;
    let nvme = computer.find("nvme0").ok_or("no nvme0")?.bdf;
    let gpu = computer.find("gpu0").ok_or("no gpu0")?.bdf;
    computer.fill_namespace(nvme, 1, 0..u64::from(2 * BYTES), Pattern::Seeded(1))?;

    // What a driver takes from VFIO: the memory map, an address space, and who reaches whose memory.
    let map = computer.memory_map();
    let is_gpus = |memory| matches!(memory, Memory::Bar(bar) if bar.provider == gpu);
    let memory = (map.regions().iter()).find(|region| is_gpus(region.memory));
    let in_gpu = memory.ok_or("gpu0 has no memory")?.span.first();
    let translation = match computer.io_space(&[nvme])? {
        Some(space) => Translation::Translated(Box::new(space) as _),
        None => Translation::Direct,
    };
    let ioas = Ioas::<SingleThread>::new(translation, map, &computer.reserved());
    let initiator = computer.initiator(nvme).ok_or("it issues nothing")?;
    ioas.add_initiator(initiator, &SpecRoutes::new(&Judge::new(computer.topology())))?;

    let in_ram = computer.allocate(BYTES.into(), BYTES.into())?;
    let function = computer.function(nvme).ok_or("no function")?;
    read(function, computer.clone(), &ioas, &[in_ram, in_gpu])?;
    println!("{BYTES} bytes in RAM at {in_ram}, {BYTES} in the memory of {gpu} at {in_gpu}");

    let (mut ram, mut word, mut expected) = ([0; BYTES as usize], [0; 8], [0; BYTES as usize + 8]);
    computer.read_ram(in_ram, &mut ram)?;
    word.copy_from_slice(&computer.load_bar(in_gpu, 8)?.to_le_bytes());
    Pattern::Seeded(1).fill(0, &mut expected);
    (expected == *[&ram[..], &word].concat())
        .then_some(())
        .ok_or("these are other bytes".into())
}
