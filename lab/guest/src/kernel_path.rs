//! `kernel-path as-booted|redirected`: the kernel's own NVMe driver moves data between every controller and the memory of every controller.
//!
//! fio maps memory of a provider (`p2pmem/allocate`) and has a client write from it, then read into it. Nothing of peerdma moves a byte here: what its
//! verdicts promise is held against what happens. Sent: `matrix` (peerdma's verdicts, live) and `outcomes`, a line a pair:
//! `PROVIDER CLIENT DISK OFFSET PATTERN WRITE_ERROR READ_ERROR`. The host looks at the disks.
//!
//! With `redirected` all ports redirect requests and completions before anything moves (the kernel remembers verdicts). Needs `peerdma_judge` for
//! the ports of switches.

use crate::outbox;
use crate::pci;
use crate::say;
use crate::verdicts;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

/// What a pair moves each way.
pub(crate) const BYTES: u64 = 256 << 10;
/// Where the first pair's data lies on its disk.
pub(crate) const FIRST_BYTE: u64 = 1 << 20;
/// Request and completion redirect with source validation, translation blocking off, upstream forwarding: as Linux isolates devices.
const REDIRECT: u16 = 0x1d;

/// A controller of the kernel's driver.
pub(crate) struct Controller {
    pub(crate) address: String,
    /// `/dev/nvmeNn1`.
    pub(crate) block: String,
    /// The serial number, by which the host finds the disk.
    pub(crate) disk: String,
    /// Where its memory can be mapped; empty where it has none.
    pub(crate) memory: String,
}

pub(crate) fn run(setting: &str) -> Result<(), String> {
    match setting {
        "as-booted" => {}
        "redirected" => {
            verdicts::give_acs_to_switches(&pci::functions()?)?;
            for function in pci::functions()? {
                function.set_acs(REDIRECT)?;
            }
        }
        other => return Err(format!("`{other}` is neither as-booted nor redirected")),
    }
    let controllers = controllers()?;
    let live = verdicts::peerdma(&["matrix", "--policy", "linux", "--format", "tsv"])?;
    outbox::send("matrix", &live)?;
    let mut outcomes = String::new();
    let mut offset = FIRST_BYTE;
    let mut pair = 0u32;
    for provider in controllers.iter().filter(|one| !one.memory.is_empty()) {
        for client in &controllers {
            pair += 1;
            let pattern = 0xa500_0000 | pair << 8 | 0x5a;
            let written = fio("write", client, provider, offset, pattern)?;
            let read = {
                // Another pattern: what the memory still holds from writing is not taken for what was read.
                let (offset, pattern) = (offset + BYTES, !pattern);
                prepare(client, offset, pattern)?;
                fio("read", client, provider, offset, pattern)?
            };
            outcomes.push_str(&format!(
                "{} {} {} {offset} {pattern:08x} {written} {read}\n",
                provider.address, client.address, client.disk
            ));
            offset += 2 * BYTES;
        }
    }
    outbox::send("outcomes", outcomes.as_bytes())?;
    let with_memory = controllers.iter().filter(|one| !one.memory.is_empty()).count();
    say::held(
        "guest",
        &format!(
            "{} controllers, {with_memory} with memory, {pair} pairs",
            controllers.len()
        ),
    );
    Ok(())
}

/// All controllers, in order of their addresses.
pub(crate) fn controllers() -> Result<Vec<Controller>, String> {
    const BLOCKS: &str = "/sys/block";
    let mut found = Vec::new();
    for entry in fs::read_dir(BLOCKS)
        .map_err(|error| format!("{BLOCKS}: {error}"))?
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("nvme") {
            continue;
        }
        let controller = entry.path().join("device");
        let device =
            fs::canonicalize(controller.join("device")).map_err(|error| format!("{name}: {error}"))?;
        let address = device
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let disk =
            fs::read_to_string(controller.join("serial")).map_err(|error| format!("{name}: {error}"))?;
        let memory = format!("/sys/bus/pci/devices/{address}/p2pmem/allocate");
        found.push(Controller {
            block: format!("/dev/{name}"),
            disk: disk.trim().to_owned(),
            memory: if Path::new(&memory).exists() {
                memory
            } else {
                String::new()
            },
            address,
        });
    }
    found.sort_by(|a, b| a.address.cmp(&b.address));
    Ok(found)
}

/// Fails where there are others than the host has plugged.
pub(crate) fn are_so_many(what: &str, found: usize, expected: &str) -> Result<(), String> {
    match expected.parse() == Ok(found) {
        true => Ok(()),
        false => Err(format!("{found} {what} were found, and {expected} are plugged")),
    }
}

/// Has the client's disk hold `pattern`, by way of RAM.
pub(crate) fn prepare(client: &Controller, offset: u64, pattern: u32) -> Result<(), String> {
    let failed = |error| format!("{}: {error}", client.block);
    let disk: File = OpenOptions::new()
        .write(true)
        .open(&client.block)
        .map_err(failed)?;
    let content = pattern.to_be_bytes().repeat(BYTES as usize / 4);
    disk.write_all_at(&content, offset).map_err(failed)?;
    disk.sync_all().map_err(failed)
}

/// Moves data between the client's disk and the provider's memory; the number of the error that it ended with, 0 for none.
fn fio(
    access: &str,
    client: &Controller,
    provider: &Controller,
    offset: u64,
    pattern: u32,
) -> Result<u32, String> {
    let pattern = format!("0x{pattern:08x}");
    let content = match access {
        "read" => vec![
            "--verify=pattern".to_owned(),
            format!("--verify_pattern={pattern}"),
        ],
        _ => vec![format!("--buffer_pattern={pattern}")],
    };
    let output = Command::new("fio")
        .args([
            "--name=pair",
            "--direct=1",
            "--ioengine=psync",
            "--bs=64k",
            "--minimal",
        ])
        .arg(format!("--rw={access}"))
        .arg(format!("--filename={}", client.block))
        .arg(format!("--offset={offset}"))
        .arg(format!("--size={BYTES}"))
        .arg(format!("--iomem=mmapshared:{}", provider.memory))
        .args(content)
        .output()
        .map_err(|error| format!("fio: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // Terse output, version 3: the fifth field is the error.
    let line = text.lines().find(|line| line.starts_with("3;"));
    let error = line.and_then(|line| line.split(';').nth(4)?.parse().ok());
    error.ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("fio: {} {}", output.status, said.trim())
    })
}
