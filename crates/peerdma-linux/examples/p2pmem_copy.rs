//! Copies blocks from one NVMe drive of the kernel to another by way of a third's memory (p2pmem), and says what the route was judged to be and what
//! came of it.
//!
//! ```text
//! p2pmem_copy SOURCE PROVIDER DESTINATION [MIB]     one copy; DESTINATION is overwritten, and must hold nothing
//! p2pmem_copy --all [MIB]                           every drive to every other by way of every provider
//! p2pmem_copy --force [MIB]                         the same, and what is judged to be refused is tried nevertheless: the kernel decides
//! p2pmem_copy --polled [MIB]                        as --all, by polling: the kernel's driver needs nvme.poll_queues=1
//! p2pmem_copy --pool PROVIDER                       takes more than the pool has
//! p2pmem_copy --unbind SOURCE PROVIDER              unbinds the provider while its memory is in use
//! ```
//!
//! One line for each: `same | DIFFERS | refused | failed`, the verdicts of both crossings, and the error. It needs root: the memory's place is read
//! from `/proc/self/pagemap`, and ACS from configuration space.

use peerdma::addr::{Bdf, Origin, PhysAddr, PhysVec, Span};
use peerdma::block::{Bio, Data, Done, Operation, Volume};
use peerdma::device::Host;
use peerdma::dma::{KernelRoutes, Threads};
use peerdma::memory::Memory;
use peerdma::route::{Access, MapType, TlpClass, linux, spec};
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use peerdma_linux::KeepConfig;
use peerdma_linux::process::{Process, ProcessOptions};
use peerdma_linux::ring::{BlockDevice, Mode, OpenOptions, RingOptions, RingVolume, Write, kernel_space};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Drive = RingVolume<Threads, Process>;

const CHUNK_BYTES: u32 = 256 << 10;

/// What becomes of a route that is refused?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusals {
    Kept,
    Overridden,
}

struct Machine<'t> {
    process: Process,
    refusals: Refusals,
    mode: Mode,
    kernel: linux::Judge<'t>,
    hardware: spec::Judge<'t>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let mut warnings = Warnings::default();
    let snapshot = peerdma_linux::source::live(Path::new("/"), KeepConfig::Drop, &mut warnings)?;
    let topology = Topology::new(snapshot, &mut warnings);
    let release = linux::Kernel::of_machine(topology.snapshot().host.kernel);
    let refusals = match arguments.first().is_some_and(|first| first == "--force") {
        true => Refusals::Overridden,
        false => Refusals::Kept,
    };
    let mode = match arguments.first().is_some_and(|first| first == "--polled") {
        true => Mode::Polled,
        false => Mode::Interrupts,
    };
    let machine = Machine {
        refusals,
        mode,
        process: Process::new(
            topology.clone(),
            ProcessOptions {
                ram_bytes: 64 << 20,
                api: None,
            },
        )?,
        kernel: linux::Judge::new(&topology, release),
        hardware: spec::Judge::new(&topology),
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mib = |text: Option<&&str>| text.map_or(Ok(4), |text| text.parse::<u64>());
    match arguments.as_slice() {
        ["--all" | "--force" | "--polled", rest @ ..] => machine.all(mib(rest.first())? << 20),
        ["--pool", provider] => machine.pool(provider.parse()?),
        ["--unbind", source, provider] => machine.unbind(Path::new(source), provider.parse()?),
        [source, provider, destination, rest @ ..] => {
            let (source, destination) = (Path::new(source), Path::new(destination));
            machine.one(source, provider.parse()?, destination, mib(rest.first())? << 20)
        }
        _ => Err("p2pmem_copy SOURCE PROVIDER DESTINATION [MIB] | --all [MIB] | --force [MIB] | --polled [MIB] | --pool BDF | --unbind SOURCE BDF".into()),
    }
}

impl Machine<'_> {
    /// Every pair of drives by way of every provider.
    fn all(&self, len_bytes: u64) -> Result<(), Box<dyn Error>> {
        let mut drives: Vec<(Bdf, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir("/dev")? {
            let path = entry?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name.starts_with("nvme") && name.ends_with("n1") {
                let device = BlockDevice::open(&path, OpenOptions::default())?;
                drives.extend(device.function().map(|bdf| (bdf, path)));
            }
        }
        drives.sort();
        for (_, source) in &drives {
            for (provider, _) in &drives {
                for (_, destination) in drives.iter().filter(|(_, path)| path != source) {
                    self.one(source, *provider, destination, len_bytes)?;
                }
            }
        }
        Ok(())
    }

    fn one(
        &self,
        source: &Path,
        provider: Bdf,
        destination: &Path,
        len_bytes: u64,
    ) -> Result<(), Box<dyn Error>> {
        let memory = self.process.p2pmem(provider, u64::from(CHUNK_BYTES))?;
        let result = self.with_memory(source, provider, destination, len_bytes, memory);
        let region = self
            .process
            .memory_map()
            .find(memory.first())
            .map(|region| region.id);
        if let Some(region) = region {
            self.process.remove(region)?;
        }
        result
    }

    fn with_memory(
        &self,
        source: &Path,
        provider: Bdf,
        destination: &Path,
        len_bytes: u64,
        memory: Span<PhysAddr>,
    ) -> Result<(), Box<dyn Error>> {
        let mut from = self.drive(source, Write::No)?;
        let mut to = self.drive(destination, Write::Existing)?;
        let ends = [from.limits().initiator, to.limits().initiator];
        let verdict = |client: Bdf, access| {
            let (of, client) = (
                self.kernel.topology().find(provider)?,
                self.kernel.topology().find(client)?,
            );
            match of == client {
                true => Some("OWN".to_owned()),
                false => Some(
                    self.kernel
                        .verdict(of, client)
                        .answer(access, TlpClass::Strict)
                        .to_string(),
                ),
            }
        };
        let verdicts = [verdict(ends[0], Access::Write), verdict(ends[1], Access::Read)];
        let [first, second] = verdicts.map(|verdict| verdict.unwrap_or_default());
        let fill = 0xa5 ^ (u64::from(ends[0].bus()) << 8) ^ u64::from(provider.bus());
        self.fill(&mut to, len_bytes, fill)?;
        let mut outcome = Ok(());
        let mut at = 0;
        while at < len_bytes && outcome.is_ok() {
            let chunk = u32::try_from(len_bytes - at)?.min(CHUNK_BYTES);
            outcome = transfer(&mut from, Operation::Read, at, chunk, memory.first())
                .map_err(|error| format!("reading: {error}"))
                .and_then(|()| {
                    transfer(&mut to, Operation::Write, at, chunk, memory.first())
                        .map_err(|error| format!("writing: {error}"))
                });
            at += u64::from(chunk);
        }
        let flush = Bio {
            operation: Operation::Flush,
            lba: 0,
            blocks: 0,
            data: Data::None,
        };
        let outcome =
            outcome.and_then(|()| carry_out(&mut to, flush).map_err(|error| format!("flushing: {error}")));
        let word = match &outcome {
            Ok(()) => match self.first_difference(&mut from, &mut to, len_bytes)? {
                None => "same".to_owned(),
                Some(at) => format!("DIFFERS from byte {at:#x} on"),
            },
            Err(error) => error.clone(),
        };
        println!(
            "{} -> memory of {provider} ({}) -> {}: {first} and {second}: {word}",
            ends[0],
            memory.first(),
            ends[1]
        );
        Ok(())
    }

    fn drive(&self, path: &Path, write: Write) -> Result<Drive, Box<dyn Error>> {
        let device = BlockDevice::open(path, OpenOptions { write })?;
        let routes = KernelRoutes::new(&self.kernel, &self.hardware);
        let map = self.process.memory_map();
        let space = kernel_space(map.clone(), device.initiator(), TlpClass::Strict, &routes)?;
        let bars = map.regions().iter().filter(|region| region.memory != Memory::Ram);
        for region in bars.filter(|_| self.refusals == Refusals::Overridden) {
            for access in Access::ALL {
                space.force(
                    device.initiator(),
                    region.id,
                    access,
                    MapType::ThruHostBridge,
                    spec::Form::BusAddress,
                );
            }
        }
        let options = RingOptions {
            depth: 4,
            mode: self.mode,
        };
        Ok(RingVolume::new(device, self.process.clone(), &space, options)?)
    }

    /// Overwrites what was there, so that what is found afterwards was copied.
    fn fill(&self, to: &mut Drive, len_bytes: u64, with: u64) -> Result<(), Box<dyn Error>> {
        self.chunks(len_bytes, |at, chunk, ram| {
            let bytes: Vec<u8> = with
                .to_le_bytes()
                .into_iter()
                .cycle()
                .take(chunk as usize)
                .collect();
            self.process.write_ram(ram, &bytes)?;
            transfer(to, Operation::Write, at, chunk, ram)?;
            Ok(None)
        })?;
        Ok(())
    }

    /// Reads both by way of RAM.
    fn first_difference(
        &self,
        from: &mut Drive,
        to: &mut Drive,
        len_bytes: u64,
    ) -> Result<Option<u64>, Box<dyn Error>> {
        self.chunks(len_bytes, |at, chunk, ram| {
            let mut sides = [vec![0; chunk as usize], vec![1; chunk as usize]];
            for (side, drive) in sides.iter_mut().zip([&mut *from, &mut *to]) {
                transfer(drive, Operation::Read, at, chunk, ram)?;
                self.process.read_ram(ram, side)?;
            }
            let [one, other] = &sides;
            let differing = one.iter().zip(other).position(|(one, other)| one != other);
            Ok(differing.map(|into| at + into as u64))
        })
    }

    fn chunks(
        &self,
        len_bytes: u64,
        mut each: impl FnMut(u64, u32, PhysAddr) -> Result<Option<u64>, Box<dyn Error>>,
    ) -> Result<Option<u64>, Box<dyn Error>> {
        let ram = self.process.allocate(CHUNK_BYTES.into(), 4096)?;
        let mut at = 0;
        let mut found = Ok(None);
        while at < len_bytes && matches!(found, Ok(None)) {
            let chunk = u32::try_from(len_bytes - at)?.min(CHUNK_BYTES);
            found = each(at, chunk, ram);
            at += u64::from(chunk);
        }
        self.process.free(ram);
        found
    }

    /// Takes memory until there is none.
    fn pool(&self, provider: Bdf) -> Result<(), Box<dyn Error>> {
        for len_bytes in [1 << 20, 1 << 40] {
            match self.process.p2pmem(provider, len_bytes) {
                Ok(span) => println!("{len_bytes:#x} bytes: {} to {}", span.first(), span.last()),
                Err(error) => println!("{len_bytes:#x} bytes: {error}"),
            }
        }
        Ok(())
    }

    /// Takes the provider away from under memory that is in use.
    fn unbind(&self, source: &Path, provider: Bdf) -> Result<(), Box<dyn Error>> {
        let memory = self.process.p2pmem(provider, CHUNK_BYTES.into())?;
        let mut from = self.drive(source, Write::No)?;
        println!(
            "read: {:?}",
            transfer(&mut from, Operation::Read, 0, CHUNK_BYTES, memory.first())
        );
        println!("load: {:x?}", self.process.load_bar(memory.first(), 8));
        std::fs::write(
            format!("/sys/bus/pci/devices/{provider}/driver/unbind"),
            provider.to_string(),
        )?;
        println!("unbound");
        match transfer(&mut from, Operation::Read, 0, CHUNK_BYTES, memory.first()) {
            Ok(()) => println!("read: done, although the memory is gone"),
            Err(error) => println!("read: {error}"),
        }
        println!("load: {:x?}", self.process.load_bar(memory.first(), 8));
        println!("store: {:x?}", self.process.store_bar(memory.first(), 8, 1));
        match self.process.p2pmem(provider, 4096) {
            Ok(_) => println!("new memory was given"),
            Err(error) => println!("new memory: {error}"),
        }
        Ok(())
    }
}

/// Moves bytes between blocks and memory, and waits for it.
fn transfer(
    drive: &mut Drive,
    operation: Operation,
    at_bytes: u64,
    len_bytes: u32,
    memory: PhysAddr,
) -> Result<(), String> {
    let block_bytes = drive.limits().block_bytes;
    let piece = PhysVec::new(memory, len_bytes, Origin::LookUp).map_err(|error| error.to_string())?;
    let bio = Bio {
        operation,
        lba: at_bytes / u64::from(block_bytes),
        blocks: len_bytes / block_bytes,
        data: Data::Vector(vec![piece]),
    };
    carry_out(drive, bio)
}

/// Begins an operation, and waits for it.
fn carry_out(drive: &mut Drive, bio: Bio) -> Result<(), String> {
    drive
        .submit(bio)
        .map_err(|rejected| format!("refused: {}", rejected.why))?;
    let mut result = None;
    while result.is_none() {
        let time = std::time::Duration::from_secs(1);
        let polled = drive.wait(time, &mut |done: Done| result = Some(done.result));
        polled.map_err(|error| format!("failed: {error}"))?;
    }
    match result {
        Some(Err(error)) => Err(format!("failed: {error}")),
        _ => Ok(()),
    }
}
