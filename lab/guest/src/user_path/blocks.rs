//! Blocks that one driver writes and another reads: the kernel's, ours, and the copies of the command line.
//!
//! Called by [`super::run()`].

use crate::kernel_path::{self, Controller};
use crate::ours::{Ours, Pieces, compare, pattern, transfer};
use crate::verdicts::peerdma;
use peerdma::addr::Bdf;
use peerdma::block::Operation;
use peerdma::device::Host;
use peerdma_nvme::QueueOptions;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// What the kernel writes and our driver reads.
const KERNELS_BYTE: u64 = 0;
/// What our driver writes and the kernel reads.
const OURS_BYTE: u64 = 1 << 20;
const BYTES: u64 = 256 << 10;
/// What is copied lies here on its source, a piece for each destination.
const SOURCE_BYTE: u64 = 32 << 20;
/// And here on its destination, a piece for each source.
const DESTINATION_BYTE: u64 = 48 << 20;
const COPY_BYTES: u64 = 512 << 10;
/// Room for one piece.
const STRIDE_BYTES: u64 = 1 << 20;
const BLOCK_BYTES: u64 = 512;
/// The place of what is copied by way of a third device's memory.
pub(super) const BY_LENDER: usize = 14;
/// Controllers appear some time after they were bound.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which content: of whom, for what.
fn content(controller: &Controller, what: u64, len_bytes: u64) -> Vec<u8> {
    let number = controller
        .disk
        .bytes()
        .fold(0, |all, byte| all << 8 | u64::from(byte));
    pattern(number ^ what << 56, len_bytes)
}

/// Writes by the kernel's driver what our driver and the copies are to read.
pub(super) fn prepare(controller: &Controller) -> Result<(), String> {
    write(controller, KERNELS_BYTE, &content(controller, 1, BYTES))?;
    for place in 0..=BY_LENDER as u64 {
        let bytes = content(controller, 0x10 + place, COPY_BYTES);
        write(controller, SOURCE_BYTE + place * STRIDE_BYTES, &bytes)?;
    }
    Ok(())
}

/// Reads by our driver what the kernel's has written.
pub(super) fn read_kernels(ours: &Ours, bdf: Bdf, controller: &Controller) -> Result<(), String> {
    let mut seen = vec![0; BYTES as usize];
    by_ours(ours, bdf, |disk, pieces| {
        transfer(&ours.process, disk, Operation::Read, KERNELS_BYTE, pieces)
            .map_err(|failed| failed.to_string())?;
        ours.process
            .read_ram(pieces[0].0, &mut seen)
            .map_err(|error| error.to_string())
    })?;
    compare("what the kernel wrote", &content(controller, 1, BYTES), &seen)
}

/// Writes by our driver what the kernel's is to read.
pub(super) fn write_ours(ours: &Ours, bdf: Bdf, controller: &Controller) -> Result<(), String> {
    by_ours(ours, bdf, |disk, pieces| {
        ours.process
            .write_ram(pieces[0].0, &content(controller, 2, BYTES))
            .map_err(|error| error.to_string())?;
        transfer(&ours.process, disk, Operation::Write, OURS_BYTE, pieces)
            .map_err(|failed| failed.to_string())
    })
}

fn by_ours(
    ours: &Ours,
    bdf: Bdf,
    act: impl FnOnce(&mut crate::ours::Disk, &Pieces) -> Result<(), String>,
) -> Result<(), String> {
    let mut disk = ours.disk(bdf, &QueueOptions::default())?;
    let ram = ours
        .process
        .allocate(BYTES, 4096)
        .map_err(|error| error.to_string())?;
    let done = act(&mut disk, &vec![(ram, BYTES as u32)]);
    disk.close(&mut |_| ()).map_err(|error| error.to_string())?;
    ours.process.free(ram);
    done.map_err(|why| format!("{bdf}: {why}"))
}

/// Copies a piece by the command line.
pub(super) fn copy(
    api: &str,
    source: &Controller,
    destination: &Controller,
    from: usize,
    to: usize,
    lender: Option<&String>,
) -> Result<(), String> {
    let first = (SOURCE_BYTE + to as u64 * STRIDE_BYTES) / BLOCK_BYTES;
    let blocks = COPY_BYTES / BLOCK_BYTES;
    let to_lba = (DESTINATION_BYTE + from as u64 * STRIDE_BYTES) / BLOCK_BYTES;
    let (range, to_lba) = (format!("{first}+{blocks}"), to_lba.to_string());
    let mut arguments = vec!["copy", &source.address, &destination.address];
    arguments.extend(["--yes", "--quiet", "--require-p2p", "--vfio", api]);
    arguments.extend(["--lba", &range, "--to-lba", &to_lba]);
    if let Some(lender) = lender {
        arguments.extend(["--via", lender]);
    }
    peerdma(&arguments).map(drop)
}

/// The same controllers with the names that the kernel gives them now.
pub(crate) fn after(before: &[Controller]) -> Result<Vec<Controller>, String> {
    let until = Instant::now() + PATIENCE;
    loop {
        // Some may be on their way.
        match kernel_path::controllers() {
            Ok(now) if now.len() == before.len() => return Ok(now),
            _ if Instant::now() > until => {
                return Err("after unbind not all controllers are the kernel's again".into());
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Reads by the kernel's driver what ours has written.
pub(super) fn check_ours(controller: &Controller) -> Result<(), String> {
    let seen = read(controller, OURS_BYTE, BYTES)?;
    let what = format!("{}: what our driver wrote", controller.address);
    compare(&what, &content(controller, 2, BYTES), &seen)?;
    let seen = read(controller, KERNELS_BYTE, BYTES)?;
    let what = format!("{}: what nobody wrote since", controller.address);
    compare(&what, &content(controller, 1, BYTES), &seen)
}

/// Reads by the kernel's driver what was copied.
pub(super) fn check_copy(
    source: &Controller,
    destination: &Controller,
    from: usize,
    to: usize,
) -> Result<(), String> {
    let expected = content(source, 0x10 + to as u64, COPY_BYTES);
    let seen = read(
        destination,
        DESTINATION_BYTE + from as u64 * STRIDE_BYTES,
        COPY_BYTES,
    )?;
    let what = format!("copy of {} to {}", source.address, destination.address);
    compare(&what, &expected, &seen)
}

/// Writes by the kernel's driver.
pub(crate) fn write(controller: &Controller, at: u64, bytes: &[u8]) -> Result<(), String> {
    let failed = |error| format!("{}: {error}", controller.block);
    let disk: File = OpenOptions::new()
        .write(true)
        .open(&controller.block)
        .map_err(failed)?;
    disk.write_all_at(bytes, at).map_err(failed)?;
    disk.sync_all().map_err(failed)
}

fn read(controller: &Controller, at: u64, len_bytes: u64) -> Result<Vec<u8>, String> {
    let failed = |error| format!("{}: {error}", controller.block);
    let mut bytes = vec![0; len_bytes as usize];
    let disk = File::open(&controller.block).map_err(failed)?;
    disk.read_exact_at(&mut bytes, at).map_err(failed)?;
    Ok(bytes)
}
