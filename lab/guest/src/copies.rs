//! `copies`: `peerdma copy` between all controllers, through the memory of every controller.
//!
//! Sent: `matrix` (peerdma's verdicts, live) and `outcomes`, a line a copy: `SOURCE DESTINATION DISK VIA OFFSET PATTERN EXIT_CODE`. The
//! host looks at the disks: what the command says of itself is not asked here.

use crate::kernel_path::{BYTES, FIRST_BYTE, controllers, prepare};
use crate::outbox;
use crate::verdicts;
use std::process::{Command, Stdio};

/// Blocks of QEMU's namespaces.
const BLOCK_BYTES: u64 = 512;

pub(crate) fn run() -> Result<(), String> {
    let controllers = controllers()?;
    let live = verdicts::peerdma(&["matrix", "--policy", "linux", "--format", "tsv"])?;
    outbox::send("matrix", &live)?;
    let mut outcomes = String::new();
    let mut copy = 0;
    for source in &controllers {
        for destination in controllers.iter().filter(|one| one.address != source.address) {
            for via in controllers.iter().filter(|one| !one.memory.is_empty()) {
                copy += 1;
                // Every copy has blocks of its own on both disks, and a pattern of its own.
                let from = FIRST_BYTE + 2 * copy * BYTES;
                let to = from + BYTES;
                let pattern = 0xc0de_0000 | copy as u32;
                prepare(source, from, pattern)?;
                let status = Command::new("peerdma")
                    .args([
                        "copy",
                        &source.block,
                        &destination.block,
                        "--via",
                        &via.address,
                        "--yes",
                    ])
                    .args(["--bytes", &BYTES.to_string(), "--lba"])
                    .arg(format!("{}..", from / BLOCK_BYTES))
                    .args(["--to-lba", &(to / BLOCK_BYTES).to_string(), "--quiet"])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .status()
                    .map_err(|error| format!("peerdma copy: {error}"))?;
                let code = status.code().ok_or_else(|| format!("peerdma copy: {status}"))?;
                outcomes.push_str(&format!(
                    "{} {} {} {} {to} {pattern:08x} {code}\n",
                    source.address, destination.address, destination.disk, via.address
                ));
            }
        }
    }
    outbox::send("outcomes", outcomes.as_bytes())
}
