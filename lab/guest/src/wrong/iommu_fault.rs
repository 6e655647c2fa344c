//! A device uses addresses that the IOMMU does not map: its data's, then its queue's.
//!
//! Called by [`super::run()`]. The address space lies for a while: it says that it has mapped, and has not.

use super::Guest;
use super::controllers::Controller;
use peerdma::addr::{Address, Bdf, Iova, Origin, PhysAddr, PhysVec, Span};
use peerdma::block::{Bio, Data, Operation, Volume};
use peerdma::device::Host;
use peerdma::dma::{Ioas, PeerRoute, Routes, SingleThread, Translation};
use peerdma::iommu::{IommuError, Rights, Target, Translations};
use peerdma::route::spec::Form;
use peerdma::route::{Access, MapType, TlpClass};
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use peerdma_linux::process::{IoSpace, Process, ProcessOptions};
use peerdma_linux::vfio::{Api, Function};
use peerdma_linux::{KeepConfig, source};
use peerdma_nvme::{Controller as Driver, Options, Queue, QueueOptions};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

type Disk = Queue<Function, Process, SingleThread>;

const BYTES: u32 = 4096;
const RAM_BYTES: u64 = 16 << 20;
/// What memory holds that nobody may write.
const GUARD: u8 = 0xc3;
/// A driver that waits longer hangs.
const LIMIT: Duration = Duration::from_secs(120);
const TIMEOUT_NS: u64 = 3_000_000_000;

pub(super) fn run(guest: &Guest) -> Result<(), String> {
    let [first, second, third, ..] = &guest.controllers;
    second.give_to("vfio-pci")?;
    guest.lend(&[first, third])?;
    let api = match guest.api.as_str() {
        "iommufd" => Api::Iommufd,
        _ => Api::Type1,
    };
    let before = faults()?;
    let told = data(third, api).and_then(|word| Ok((word, logged(before)?)));
    let told = told.and_then(|told| guest.fresh(first, third).map(|()| told));
    guest.tell(
        "data",
        told.map(|(word, line)| format!("{word}; the kernel: {line}")),
    );
    let before = faults()?;
    let told = queue(third, api).and_then(|word| Ok((word, logged(before)?)));
    let told = told.and_then(|told| guest.fresh(first, third).map(|()| told));
    guest.tell(
        "queue",
        told.map(|(word, line)| format!("{word}; the kernel: {line}")),
    );
    guest.ranges.send(&[first, third])
}

/// The data of one read is not mapped. QEMU's controller does not look whether its data arrived: it may report success.
fn data(controller: &Controller, api: Api) -> Result<String, String> {
    let ours = Ours::open(controller, api)?;
    let mut disk = ours.disk()?;
    let ram = ours.ram()?;
    ours.lies.store(true, Ordering::Relaxed);
    let outcome = read(&ours.process, &mut disk, ram);
    ours.lies.store(false, Ordering::Relaxed);
    let mut seen = vec![0; 3 * BYTES as usize];
    let from = PhysAddr::from_u64(ram.to_u64() - u64::from(BYTES));
    ours.process.read_ram(from, &mut seen).map_err(text)?;
    if seen.iter().any(|byte| *byte != GUARD) {
        return Err("memory that was not mapped was written".into());
    }
    // The same transfer, now that it is mapped.
    read(&ours.process, &mut disk, ram)?;
    ours.process.read_ram(from, &mut seen).map_err(text)?;
    let (_, block) = seen.split_at(BYTES as usize);
    if block.iter().take(BYTES as usize).all(|byte| *byte == GUARD) {
        return Err("the next read brought nothing".into());
    }
    disk.close(&mut |_| ()).map_err(text)?;
    ours.driver.close().map_err(text)?;
    Ok(match outcome {
        Ok(()) => {
            "the controller claims success (QEMU's does not look), memory is untouched, the next read arrives"
                .into()
        }
        Err(why) => format!("{why}; memory is untouched, the next read arrives"),
    })
}

/// A queue is not mapped: no command can be fetched.
fn queue(controller: &Controller, api: Api) -> Result<String, String> {
    let ours = Ours::open(controller, api)?;
    let ram = ours.ram()?;
    ours.lies.store(true, Ordering::Relaxed);
    let outcome = ours.disk().and_then(|mut disk| {
        let outcome = read(&ours.process, &mut disk, ram);
        let _ = disk.close(&mut |_| ());
        outcome
    });
    ours.lies.store(false, Ordering::Relaxed);
    // What the driver could not put in order, the end of its process has to.
    drop(ours);
    match outcome {
        Ok(()) => Err("a command arrived by a queue that is not mapped".into()),
        Err(why) => Ok(why),
    }
}

struct Ours {
    driver: Driver<Function, Process, SingleThread>,
    ioas: Arc<Ioas<SingleThread>>,
    process: Process,
    bdf: Bdf,
    lies: Arc<AtomicBool>,
}

impl Ours {
    fn open(controller: &Controller, api: Api) -> Result<Self, String> {
        let bdf: Bdf = controller.address.parse().map_err(text)?;
        let snapshot =
            source::live(Path::new("/"), KeepConfig::Drop, &mut Warnings::default()).map_err(text)?;
        let topology = Topology::new(snapshot, &mut Warnings::default());
        let options = ProcessOptions {
            api: Some(api),
            ram_bytes: RAM_BYTES,
        };
        let process = Process::new(topology, options).map_err(text)?;
        process.take(&[bdf]).map_err(text)?;
        let space = process
            .io_space(&[bdf])
            .map_err(text)?
            .ok_or("VFIO gave no address space")?;
        let lies = Arc::new(AtomicBool::new(false));
        let lying = Lying {
            apertures: space.apertures().to_vec(),
            inner: space,
            lies: lies.clone(),
            told: BTreeMap::new(),
        };
        let ioas = Ioas::<SingleThread>::new(
            Translation::Translated(Box::new(lying) as _),
            process.memory_map(),
            &process.reserved(),
        );
        let initiator = process.initiator(bdf).ok_or("no such function")?;
        ioas.add_initiator(initiator, &Ram).map_err(text)?;
        let function = process.function(bdf).ok_or("it was not taken")?;
        let mapper = ioas.mapper(bdf).map_err(text)?;
        let driver = Driver::open(function, process.clone(), mapper, &Options::default()).map_err(text)?;
        Ok(Self {
            driver,
            ioas,
            process,
            bdf,
            lies,
        })
    }

    fn disk(&self) -> Result<Disk, String> {
        let options = QueueOptions {
            timeout_ns: TIMEOUT_NS,
            ..QueueOptions::default()
        };
        let mapper = self.ioas.mapper(self.bdf).map_err(text)?;
        self.driver.volume(1, mapper, &options).map_err(text)
    }

    /// A page, between two others that nobody may touch.
    fn ram(&self) -> Result<PhysAddr, String> {
        let first = self.process.allocate(3 * u64::from(BYTES), 4096).map_err(text)?;
        let guard = vec![GUARD; 3 * BYTES as usize];
        self.process.write_ram(first, &guard).map_err(text)?;
        Ok(PhysAddr::from_u64(first.to_u64() + u64::from(BYTES)))
    }
}

/// Reads the disk's first blocks; an error says what the driver says.
fn read(process: &Process, disk: &mut Disk, at: PhysAddr) -> Result<(), String> {
    let piece = PhysVec::new(at, BYTES, Origin::LookUp).map_err(|error| format!("{error:?}"))?;
    let bio = Bio {
        operation: Operation::Read,
        lba: 0,
        blocks: BYTES / disk.limits().block_bytes,
        data: Data::Vector(vec![piece]),
    };
    disk.submit(bio).map_err(|rejected| rejected.why.to_string())?;
    let end = Instant::now() + LIMIT;
    let mut ended = None;
    while ended.is_none() {
        disk.poll(&mut |done| ended = Some(done.result)).map_err(text)?;
        process.relax();
        if Instant::now() > end {
            return Err(format!("it hangs: no end after {} s", LIMIT.as_secs()));
        }
    }
    match ended {
        Some(Err(error)) => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// RAM is reached, and nothing else is used.
struct Ram;

impl Routes for Ram {
    fn route(&self, _: Bdf, _: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
        PeerRoute::Reached {
            map_type: MapType::ThruHostBridge,
            form: Form::HostAddress,
        }
    }
}

/// An address space that says that it has mapped, and has not.
#[derive(Debug)]
struct Lying {
    inner: IoSpace,
    apertures: Vec<Span<Iova>>,
    lies: Arc<AtomicBool>,
    told: BTreeMap<u64, (PhysAddr, u64)>,
}

impl Translations for Lying {
    fn page_bytes(&self) -> u64 {
        Translations::page_bytes(&self.inner)
    }

    fn apertures(&self) -> &[Span<Iova>] {
        &self.apertures
    }

    fn map(
        &mut self,
        iova: Iova,
        phys: PhysAddr,
        len_bytes: u64,
        rights: Rights,
        target: Target,
    ) -> Result<(), IommuError> {
        if !self.lies.load(Ordering::Relaxed) {
            return self.inner.map(iova, phys, len_bytes, rights, target);
        }
        self.told.insert(iova.to_u64(), (phys, len_bytes));
        Ok(())
    }

    fn unmap(&mut self, iova: Iova, len_bytes: u64) -> Result<(), IommuError> {
        match self.told.remove(&iova.to_u64()) {
            Some(_) => Ok(()),
            None => self.inner.unmap(iova, len_bytes),
        }
    }

    fn look_up(&self, iova: Iova) -> Option<(PhysAddr, u64)> {
        match self.told.get(&iova.to_u64()) {
            Some(told) => Some(*told),
            None => self.inner.look_up(iova),
        }
    }
}

/// What the kernel has logged of IOMMU faults.
fn faults() -> Result<Vec<String>, String> {
    let output = Command::new("dmesg")
        .output()
        .map_err(|error| format!("dmesg: {error}"))?;
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_fault = |line: &&str| line.contains("DMAR") && line.contains("fault addr");
    Ok(log.lines().filter(is_fault).map(str::to_owned).collect())
}

/// A fault that was logged since.
fn logged(before: Vec<String>) -> Result<String, String> {
    let now = faults()?;
    let new = now
        .get(before.len())
        .ok_or("the kernel's log has no fault of the IOMMU")?;
    let text = new.split_once("DMAR:").map_or(new.as_str(), |(_, text)| text);
    Ok(text.trim().to_owned())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
