//! Two NVMe controllers that are bound to vfio-pci, driven from this process by the driver that also drives simulated ones.
//! `cargo run -p peerdma-linux --example vfio_nvme -- [--api type1|iommufd] [--together] READER PROVIDER`
//!
//! Each is an address such as 0000:03:00.0. WHAT READER HOLDS in its first namespace from 1 MiB to 2 MiB IS OVERWRITTEN: with a pattern from RAM, which
//! is read back by page lists and by SGLs, then into the memory of READER and PROVIDER (their controller memory buffers), and from there to other
//! blocks. All bytes are compared.
//!
//! Each has an I/O address space of its own, or (`--together`) both share one. The specification's judge says who reaches whose memory, of the machine as it
//! is once the two are taken (`Process::driven`); where it says no, nothing is moved. The least that such a driver needs is in `docs/drivers.md`.

use peerdma::addr::{Address, Bdf, Origin, PhysAddr, PhysVec};
use peerdma::block::{Bio, Data, Operation, Volume};
use peerdma::device::Host;
use peerdma::dma::{Ioas, Threads, Translation};
use peerdma::iomem;
use peerdma::iommu::Translations;
use peerdma::memory::Memory;
use peerdma::route::linux::Kernel;
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use peerdma_linux::process::{Driven, Process, ProcessOptions};
use peerdma_linux::vfio::{Api, Function};
use peerdma_linux::{KeepConfig, source};
use peerdma_nvme::{Controller, Forms, Options, Queue, QueueOptions, SglSupport};
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

type Nvme = Controller<Function, Process, Threads>;
type Disk = Queue<Function, Process, Threads>;
type Outcome<T> = Result<T, Box<dyn Error>>;

const FIRST_BYTE: u64 = 1 << 20;
const PIECE_BYTES: u64 = 256 << 10;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let (mut api, mut functions) = (None, Vec::new());
    let mut are_together = false;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--api" => match words.next().as_deref() {
                Some("type1") => api = Some(Api::Type1),
                Some("iommufd") => api = Some(Api::Iommufd),
                _ => return Err("--api type1 or --api iommufd".into()),
            },
            "--together" => are_together = true,
            word => functions.push(word.parse::<Bdf>()?),
        }
    }
    let [reader, provider] = functions[..] else {
        return Err("expected: [--api type1|iommufd] [--together] READER PROVIDER".into());
    };
    let snapshot = source::live(Path::new("/"), KeepConfig::Drop, &mut Warnings::default())?;
    let kernel = Kernel::of_machine(snapshot.host.kernel);
    let topology = Topology::new(snapshot, &mut Warnings::default());
    let options = ProcessOptions {
        api,
        ram_bytes: 64 << 20,
    };
    let process = Process::new(topology, options)?;
    process.take(&[reader, provider])?;
    // What is above them passes requests only since they were taken; what no register tells is somebody's word.
    let driven = process.driven(kernel);
    for belief in driven.beliefs() {
        println!("believed: {belief}");
    }
    for region in process.memory_map().regions() {
        let what = match region.memory {
            Memory::Ram => "RAM".into(),
            Memory::Bar(bar) => format!("BAR {} of {}", bar.bar, bar.provider),
        };
        println!("{} to {}: {what}", region.span.first(), region.span.last());
    }
    let (near, far) = match are_together {
        true => {
            let both = space(&process, &[reader, provider], &driven)?;
            (both.clone(), both)
        }
        false => (
            space(&process, &[reader], &driven)?,
            space(&process, &[provider], &driven)?,
        ),
    };
    let reader = open(&process, &near, reader)?;
    let provider = open(&process, &far, provider)?;
    let mut moved = Vec::new();
    for forms in [Forms::Prp, Forms::Sgl] {
        if forms == Forms::Sgl && reader.info().sgl == SglSupport::None {
            println!("{} takes no SGLs", reader.bdf());
            continue;
        }
        let options = QueueOptions {
            forms,
            ..QueueOptions::default()
        };
        let mapper = near.mapper(reader.bdf())?;
        let mut disk = reader.volume(1, mapper, &options)?;
        exercise(&process, &mut disk, &[&reader, &provider], &mut moved)?;
        println!("{forms:?}: all bytes are as they were written");
    }
    let ram = process.allocations().len();
    let both = [reader.bdf(), provider.bdf()];
    provider.close()?;
    reader.close()?;
    drop((near, far));
    // What is really closed can be opened again.
    for bdf in both {
        process.release(bdf);
    }
    process.take(&both)?;
    println!(
        "{} transfers; {ram} allocations while open, {} after",
        moved.len(),
        process.allocations().len()
    );
    Ok(())
}

/// An address space for some functions, with the RAM registered.
fn space(process: &Process, functions: &[Bdf], driven: &Driven) -> Outcome<Arc<Ioas<Threads>>> {
    let space = process.io_space(functions)?.ok_or("no functions")?;
    println!(
        "{functions:?}: {:?}, {:x?}",
        space.api(),
        Translations::apertures(&space)
    );
    let translation = Translation::Translated(Box::new(space) as _);
    let map = process.memory_map();
    let ioas = Ioas::<Threads>::new(translation, map.clone(), &process.reserved());
    for bdf in functions {
        let initiator = process.initiator(*bdf).ok_or("no such function")?;
        ioas.add_initiator(initiator, &driven.routes())?;
    }
    for region in map.regions().iter().filter(|region| region.memory == Memory::Ram) {
        ioas.register(region.id)
            .map_err(|error| match process.refused() {
                Some(why) => format!("{error}: {why}"),
                None => error.to_string(),
            })?;
    }
    Ok(ioas)
}

fn open(process: &Process, ioas: &Arc<Ioas<Threads>>, bdf: Bdf) -> Outcome<Nvme> {
    let function = process.function(bdf).ok_or("it was not taken")?;
    let controller = Controller::open(function, process.clone(), ioas.mapper(bdf)?, &Options::default())?;
    ioas.set_own_base(bdf, controller.buffer().map(|buffer| buffer.own_base))?;
    let info = controller.info();
    println!(
        "{bdf}: {} {}, {} namespaces",
        info.model,
        info.serial,
        controller.namespaces().len()
    );
    match controller.buffer() {
        Some(buffer) => println!("  memory at {}, {:?}", buffer.span.first(), buffer.abilities),
        None => return Err(format!("{bdf} has no controller memory buffer").into()),
    }
    Ok(controller)
}

/// Writes, reads back, and passes the bytes through the memory of each provider.
fn exercise(
    process: &Process,
    disk: &mut Disk,
    providers: &[&Nvme],
    moved: &mut Vec<PhysAddr>,
) -> Outcome<()> {
    let ram = process.allocate(2 * PIECE_BYTES, 4096)?;
    let back = ram.checked_add(PIECE_BYTES).ok_or("no address")?;
    let bytes = pattern(moved.len() as u64 + 1);
    process.write_ram(ram, &bytes)?;
    transfer(process, disk, Operation::Write, 0, &[ram])?;
    transfer(process, disk, Operation::Read, 0, &[back])?;
    compare("RAM", &bytes, &in_ram(process, back)?)?;
    moved.push(back);
    for (number, provider) in (1..).zip(providers) {
        let memory = provider.buffer().ok_or("no memory")?.span.first();
        let memory = memory.checked_add(1 << 20).ok_or("no address")?;
        // Blocks to the device's memory, which the CPU then looks at ...
        transfer(process, disk, Operation::Read, 0, &[memory])?;
        let mut seen = vec![0; PIECE_BYTES as usize];
        iomem::copy_from(
            process,
            &process.memory_map(),
            &[piece(memory, PIECE_BYTES)?],
            &mut seen,
        )?;
        compare("memory of a device", &bytes, &seen)?;
        // ... other bytes, which the CPU puts there, to other blocks ...
        let other = pattern(1000 * number);
        iomem::copy_to(
            process,
            &process.memory_map(),
            &[piece(memory, PIECE_BYTES)?],
            &other,
        )?;
        transfer(process, disk, Operation::Write, number, &[memory])?;
        process.write_ram(back, &vec![0; PIECE_BYTES as usize])?;
        transfer(process, disk, Operation::Read, number, &[back])?;
        compare("blocks from a device's memory", &other, &in_ram(process, back)?)?;
        // ... and half to RAM, half to the device, in one request where it may be.
        if disk.limits().peer == peerdma::block::PeerSupport::Mixed {
            transfer(process, disk, Operation::Read, number, &[back, memory])?;
            let half = PIECE_BYTES as usize / 2;
            iomem::copy_from(
                process,
                &process.memory_map(),
                &[piece(memory, PIECE_BYTES)?],
                &mut seen,
            )?;
            compare("half in RAM", &other[..half], &in_ram(process, back)?[..half])?;
            compare("half in a device's memory", &other[half..], &seen[..half])?;
        }
        println!("  {}: to its memory and from it", provider.bdf());
        moved.push(memory);
    }
    process.free(ram);
    Ok(())
}

/// One request for the `number`th piece of the disk: its data in equal parts at each address.
fn transfer(
    process: &Process,
    disk: &mut Disk,
    operation: Operation,
    number: u64,
    parts: &[PhysAddr],
) -> Outcome<()> {
    let block_bytes = u64::from(disk.limits().block_bytes);
    let part_bytes = PIECE_BYTES / parts.len() as u64;
    let vector = parts.iter().map(|at| piece(*at, part_bytes));
    let bio = Bio {
        operation,
        lba: (FIRST_BYTE + number * PIECE_BYTES) / block_bytes,
        blocks: (PIECE_BYTES / block_bytes) as u32,
        data: Data::Vector(vector.collect::<Outcome<_>>()?),
    };
    disk.submit(bio).map_err(|rejected| rejected.why.to_string())?;
    let mut ended = Vec::new();
    while ended.is_empty() {
        disk.poll(&mut |done| ended.push(done.result))?;
        process.relax();
    }
    match ended.pop() {
        Some(Err(error)) => Err(format!("{operation:?} of piece {number}: {error:?}").into()),
        _ => Ok(()),
    }
}

fn piece(at: PhysAddr, len_bytes: u64) -> Outcome<PhysVec> {
    Ok(PhysVec::new(at, u32::try_from(len_bytes)?, Origin::LookUp)?)
}

fn in_ram(process: &Process, at: PhysAddr) -> Outcome<Vec<u8>> {
    let mut bytes = vec![0; PIECE_BYTES as usize];
    process.read_ram(at, &mut bytes)?;
    Ok(bytes)
}

fn compare(what: &str, expected: &[u8], seen: &[u8]) -> Outcome<()> {
    let wrong = expected.iter().zip(seen).position(|(one, other)| one != other);
    match wrong {
        Some(offset) => Err(format!("{what}: other bytes from {offset:#x} on").into()),
        None => Ok(()),
    }
}

/// Bytes that tell places and turns apart.
fn pattern(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..PIECE_BYTES).map(|_| next()).collect()
}
