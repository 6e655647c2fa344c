//! The smallest driver that there is: one NVMe controller is asked who it is, once with its answer going to RAM, then with its answer going straight to a BAR of each
//! other device; each time the interrupt is waited for.
//!
//! `vfio_identify [--type1 | --iommufd] CONTROLLER [PEER...]` (the controller is reset!).

use peerdma::addr::{Address, Bdf, Iova};
use peerdma::device::{BusMaster, Function as _, Mmio};
use peerdma::iommu::Rights;
use peerdma_linux::sys::Memory;
use peerdma_linux::vfio::{self, Api, Backend, Device, Function, Interrupt, Registers, Source};
use rustix::fd::AsFd;
use std::error::Error;
use std::time::{Duration, Instant};

/// Where things are for the controller.
const SUBMISSIONS: u64 = 0x10_0000;
const COMPLETIONS: u64 = 0x10_1000;
const ANSWER: u64 = 0x10_2000;
const PEER: u64 = 0x4000_0000;

/// Registers (NVMe Base 2.0, 3.1).
const CC: u64 = 0x14;
const CSTS: u64 = 0x1c;
const AQA: u64 = 0x24;
const ASQ: u64 = 0x28;
const ACQ: u64 = 0x30;
const DOORBELLS: u64 = 0x1000;

const PAGE_BYTES: u64 = 4096;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let mut api = None;
    let mut bdfs: Vec<Bdf> = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--type1" => api = Some(Api::Type1),
            "--iommufd" => api = Some(Api::Iommufd),
            bdf => bdfs.push(bdf.parse()?),
        }
    }
    let opened = vfio::open(&bdfs, api)?;
    let Some(((device, backend), peers)) = opened.split_first() else {
        return Err("name a controller".into());
    };
    let ram = Memory::anonymous(3 * PAGE_BYTES)?;
    let source = Source::Memory {
        memory: &ram,
        offset_bytes: 0,
    };
    backend.map(
        Iova::from_u64(SUBMISSIONS),
        source,
        ram.len_bytes(),
        Rights::ReadWrite,
    )?;
    let mut admin = Admin::start(device, &ram)?;
    let waited = admin.identify(ANSWER)?;
    println!(
        "{}: {} ({}), interrupt after {waited:.0?}",
        device.bdf(),
        name(&ram, 2 * PAGE_BYTES),
        backend.api()
    );
    for (peer, _) in peers {
        reach(&mut admin, backend.as_ref(), peer)?;
    }
    device.set_bus_master(BusMaster::Off)?;
    backend.unmap(Iova::from_u64(SUBMISSIONS), ram.len_bytes())?;
    Ok(())
}

/// Has the answer written to the last BAR of a peer, which is where memory is in those that have any.
fn reach(admin: &mut Admin<'_>, backend: &dyn Backend, peer: &Device) -> Result<(), Box<dyn Error>> {
    let info = peer.bars().last().ok_or("a peer without BARs")?;
    let mapping = peer.map_bar(info.bar)?;
    let (start, memory) = mapping.areas.first().ok_or("a BAR that cannot be mapped")?;
    let at = Iova::from_u64(PEER);
    match backend.api() {
        Api::Type1 => {
            let source = Source::Memory {
                memory,
                offset_bytes: 0,
            };
            backend.map(at, source, PAGE_BYTES, Rights::ReadWrite)?;
        }
        Api::Iommufd => {
            let dma_buf = peer.dma_buf(info.bar, *start, PAGE_BYTES)?;
            let source = Source::DmaBuf {
                fd: dma_buf.as_fd(),
                offset_bytes: 0,
            };
            backend.map(at, source, PAGE_BYTES, Rights::ReadWrite)?;
        }
    }
    let waited = admin.identify(PEER)?;
    println!(
        "  into BAR {} of {}: {}, interrupt after {waited:.0?}",
        info.bar,
        peer.bdf(),
        name(memory, 0)
    );
    backend.unmap(at, PAGE_BYTES)?;
    Ok(())
}

/// The admin queues of a controller, two entries each.
struct Admin<'a> {
    registers: Registers,
    interrupt: Interrupt,
    ram: &'a Memory,
    /// How many commands there were.
    count: u32,
}

impl<'a> Admin<'a> {
    fn start(device: &Device, ram: &'a Memory) -> Result<Self, Box<dyn Error>> {
        device.reset()?;
        device.set_bus_master(BusMaster::On)?;
        let interrupt = device.interrupt(0)?;
        let registers = Function::new(device.clone()).registers(0)?;
        registers.write32(CC, 0);
        wait_for(&registers, 0)?;
        registers.write32(AQA, 1 << 16 | 1);
        registers.write64(ASQ, SUBMISSIONS);
        registers.write64(ACQ, COMPLETIONS);
        registers.write32(CC, 4 << 20 | 6 << 16 | 1);
        wait_for(&registers, 1)?;
        Ok(Self {
            registers,
            interrupt,
            ram,
            count: 0,
        })
    }

    /// Identify Controller, its answer to `to`; gives the time until the interrupt.
    fn identify(&mut self, to: u64) -> Result<Duration, Box<dyn Error>> {
        let slot = self.count % 2;
        let phase = 1 - self.count / 2 % 2;
        self.count += 1;
        let entry = u64::from(slot) * 64;
        for dword in 0..16 {
            let value = match dword {
                0 => self.count << 16 | 0x06,
                6 => to as u32,
                7 => (to >> 32) as u32,
                10 => 1,
                _ => 0,
            };
            self.ram
                .store_u32(entry + dword * 4, value)
                .ok_or("no such memory")?;
        }
        let started = Instant::now();
        self.registers.write32(DOORBELLS, self.count % 2);
        let came = self.interrupt.wait(Some(PATIENCE))?;
        let waited = started.elapsed();
        let completion = PAGE_BYTES + u64::from(slot) * 16;
        let status = self.ram.load_u32(completion + 12).ok_or("no such memory")?;
        self.registers.write32(DOORBELLS + 4, self.count % 2);
        match (came, status >> 16) {
            (0, _) => Err(format!("no interrupt; the completion says {status:#x}").into()),
            (_, status) if status == phase && status >> 1 == 0 => Ok(waited),
            (_, status) => Err(format!("the command failed: {status:#x}").into()),
        }
    }
}

fn wait_for(registers: &Registers, ready: u32) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    while registers.read32(CSTS) & 1 != ready {
        if started.elapsed() > PATIENCE {
            return Err(format!(
                "the controller does not become ready: CSTS {:#x}",
                registers.read32(CSTS)
            )
            .into());
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// Serial number and model of an answer.
fn name(memory: &Memory, offset_bytes: u64) -> String {
    let dwords = (4..64)
        .step_by(4)
        .filter_map(|at| memory.load_u32(offset_bytes + at));
    let bytes: Vec<u8> = dwords.flat_map(u32::to_le_bytes).collect();
    let text = String::from_utf8_lossy(&bytes);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
