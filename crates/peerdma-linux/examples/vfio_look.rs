//! Opens devices by VFIO and prints what it finds: address spaces, BARs, interrupts. It maps RAM for each, and every device's BARs for every other, undoes it,
//! resets them, and at the end looks whether anything is left open or mapped.
//!
//! `vfio_look [--type1 | --iommufd] [--until-wanted] BDF...`, with the second option keeping them until somebody unbinds one; as a user who may open the devices (they are reset!).

use peerdma::addr::{Address, Bdf, Iova, Span};
use peerdma::device::{BusMaster, Function as _, Mmio, Presence};
use peerdma::iommu::Rights;
use peerdma_linux::sys::Memory;
use peerdma_linux::vfio::{self, Api, Backend, Device, Function, Source, VfioError};
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let before = left();
    let outcome = look();
    if let Err(error) = &outcome {
        println!("error: {error}");
    }
    let after = left();
    match (after == before, outcome) {
        (true, outcome) => {
            println!("nothing is left open or mapped");
            if outcome.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(1)
            }
        }
        (false, _) => {
            println!("LEFT:\n{}", after.join("\n"));
            ExitCode::from(2)
        }
    }
}

fn look() -> Result<(), Box<dyn Error>> {
    let mut api = None;
    let mut stay = Duration::ZERO;
    let mut bdfs: Vec<Bdf> = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--type1" => api = Some(Api::Type1),
            "--iommufd" => api = Some(Api::Iommufd),
            "--until-wanted" => stay = Duration::from_secs(60),
            bdf => bdfs.push(bdf.parse()?),
        }
    }
    let opened = vfio::open(&bdfs, api)?;
    for (device, backend) in &opened {
        describe(device, backend.as_ref());
        map_ram(device, backend.as_ref())?;
        for (peer, _) in &opened {
            map_peer(backend.as_ref(), device, peer)?;
        }
        interrupts(device)?;
        device.set_bus_master(BusMaster::On)?;
        let started = Instant::now();
        match device.reset() {
            Ok(()) => println!("  reset in {:.1?}", started.elapsed()),
            Err(error @ VfioError::NoReset { .. }) => println!("  {error}"),
            Err(error) => return Err(error.into()),
        }
        let mut command = [0; 2];
        device.config_read(4, &mut command)?;
        println!(
            "  command register {:#06x}, {:?}",
            u16::from_le_bytes(command),
            device.presence()
        );
    }
    if let [(_, backend), .., (peer, _)] = opened.as_slice() {
        map_over_reset(backend.as_ref(), peer)?;
    }
    let started = Instant::now();
    while started.elapsed() < stay {
        if let Some((device, _)) = opened
            .iter()
            .find(|(device, _)| device.presence() == Presence::Removed)
        {
            println!("{} is wanted back: {}", device.bdf(), device.is_wanted_back());
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn describe(device: &Device, backend: &dyn Backend) {
    let (bdf, group, api) = (device.bdf(), device.group(), backend.api());
    println!(
        "{bdf}: group {group} by {api}, pages of {:#x} bytes",
        backend.page_bytes()
    );
    for range in backend.apertures() {
        println!("  can map {} to {}", range.first(), range.last());
    }
    for bar in device.bars() {
        let bus = bar.bus.map_or("unknown".into(), |bus| bus.to_string());
        println!(
            "  BAR {}: {:#x} bytes at {}, on the bus at {bus}",
            bar.bar,
            bar.len_bytes(),
            bar.phys.first()
        );
        match Function::new(device.clone()).registers(bar.bar) {
            Ok(registers) => println!("    begins with {:#010x}", registers.read32(0)),
            Err(error) => println!("    {error}"),
        }
        for area in &bar.areas {
            println!(
                "    can be mapped from {:#x} on: {:#x} bytes",
                area.offset_bytes, area.len_bytes
            );
        }
    }
}

/// Maps RAM, which is refused twice at the same place and unmapped once.
fn map_ram(device: &Device, backend: &dyn Backend) -> Result<(), Box<dyn Error>> {
    let len_bytes = backend.page_bytes() * 4;
    let iova = room(backend, 0, len_bytes).ok_or("no room to map RAM at")?;
    let memory = Memory::anonymous(len_bytes)?;
    let source = Source::Memory {
        memory: &memory,
        offset_bytes: 0,
    };
    let of_map = |errno| VfioError::of_map(backend, len_bytes, errno);
    backend
        .map(iova, source, len_bytes, Rights::ReadWrite)
        .map_err(of_map)?;
    let again = backend.map(iova, source, len_bytes, Rights::Read);
    backend.unmap(iova, len_bytes)?;
    let gone = backend.unmap(iova, len_bytes);
    println!(
        "  {}: RAM mapped at {iova} and unmapped; twice: {again:?}, {gone:?}",
        device.bdf()
    );
    Ok(())
}

/// Maps a BAR of another device, or of the same one.
fn map_peer(backend: &dyn Backend, device: &Device, peer: &Device) -> Result<(), Box<dyn Error>> {
    for info in peer.bars() {
        let Some(area) = info.areas.first() else {
            continue;
        };
        let len_bytes = area.len_bytes;
        let iova = room(backend, 1 << 30, len_bytes).ok_or("no room to map a BAR at")?;
        let names = format!("BAR {} of {} for {}", info.bar, peer.bdf(), device.bdf());
        let mapping = peer.map_bar(info.bar)?;
        let (_, memory) = mapping.areas.first().ok_or("a BAR without areas")?;
        let outcome = match peer.dma_buf(info.bar, area.offset_bytes, len_bytes) {
            Ok(dma_buf) => {
                let source = Source::DmaBuf {
                    fd: dma_buf.as_fd(),
                    offset_bytes: 0,
                };
                once(backend, iova, source, len_bytes)
            }
            Err(error) => {
                println!("  {error}");
                Err(Errno::OPNOTSUPP)
            }
        };
        println!("  {names} by dma-buf: {outcome:?}");
        let outcome = once(
            backend,
            iova,
            Source::Memory {
                memory,
                offset_bytes: 0,
            },
            len_bytes,
        );
        println!("  {names} by its memory: {outcome:?}");
    }
    Ok(())
}

/// Resets a device while a dma-buf of it is mapped for another.
fn map_over_reset(backend: &dyn Backend, peer: &Device) -> Result<(), Box<dyn Error>> {
    let mut areas = peer
        .bars()
        .iter()
        .filter_map(|info| Some((info.bar, *info.areas.first()?)));
    let Some((bar, area)) = areas.next_back() else {
        return Ok(());
    };
    let iova = room(backend, 1 << 30, area.len_bytes).ok_or("no room to map a BAR at")?;
    let dma_buf = peer.dma_buf(bar, area.offset_bytes, area.len_bytes)?;
    let source = Source::DmaBuf {
        fd: dma_buf.as_fd(),
        offset_bytes: 0,
    };
    if backend.api() == Api::Type1 {
        return Ok(());
    }
    backend.map(iova, source, area.len_bytes, Rights::Write)?;
    match peer.reset() {
        Ok(()) | Err(VfioError::NoReset { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let unmapped = backend.unmap(iova, area.len_bytes);
    let again = once(backend, iova, source, area.len_bytes);
    println!(
        "BAR {bar} of {} over a reset: unmapped {unmapped:?}, again {again:?}",
        peer.bdf()
    );
    Ok(())
}

fn once(backend: &dyn Backend, iova: Iova, source: Source<'_>, len_bytes: u64) -> Result<(), Errno> {
    backend.map(iova, source, len_bytes, Rights::ReadWrite)?;
    backend.unmap(iova, len_bytes)
}

fn interrupts(device: &Device) -> Result<(), Box<dyn Error>> {
    let second = match device.interrupt(1) {
        Ok(second) => second,
        Err(error @ VfioError::NoInterrupt { .. }) => {
            println!("  {error}");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let first = device.interrupt(0)?;
    let third = device.interrupt(2)?;
    let twice = device.interrupt(1).map(|_| ()).map_err(|error| error.to_string());
    let came = first.wait(Some(Duration::from_millis(1)))?;
    println!(
        "  interrupts {}, {}, {}: {came} came; one twice: {twice:?}",
        first.vector(),
        second.vector(),
        third.vector()
    );
    drop(second);
    device.interrupt(1)?;
    Ok(())
}

/// Room for so many bytes from `above` on.
fn room(backend: &dyn Backend, above: u64, len_bytes: u64) -> Option<Iova> {
    backend.apertures().into_iter().find_map(|range: Span<Iova>| {
        let start = range
            .first()
            .to_u64()
            .max(above)
            .checked_next_multiple_of(backend.page_bytes())?;
        let last = start.checked_add(len_bytes - 1)?;
        (last <= range.last().to_u64()).then(|| Iova::from_u64(start))
    })
}

/// The files that this process has open, and what it has mapped of VFIO, and of anonymous memory that devices could reach.
fn left() -> Vec<String> {
    let mut files: Vec<_> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.display().to_string()))
        .filter(|target| !target.starts_with("/proc/"))
        .collect();
    files.sort();
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    files.extend(
        maps.lines()
            .filter(|line| line.contains("vfio"))
            .map(String::from),
    );
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    files.extend(
        status
            .lines()
            .filter(|line| line.starts_with("VmLck") || line.starts_with("VmPin"))
            .map(String::from),
    );
    files
}
