//! `copies`: `peerdma copy` between all controllers, through the memory of every controller.
//!
//! Sent: `matrix` (peerdma's verdicts, live) and `outcomes`, a line of JSON a copy: `source`, `destination`, `disk`, `via`, `offset`, `pattern`,
//! `code`, `out` and `err`. Nothing is judged here: the host does, and looks at the disks.

use crate::kernel_path::{BYTES, FIRST_BYTE, controllers, prepare};
use crate::outbox;
use crate::verdicts;
use serde_json::json;
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
                let output = Command::new("peerdma")
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
                    .args(["--to-lba", &(to / BLOCK_BYTES).to_string(), "--json"])
                    .stdin(Stdio::null())
                    .output()
                    .map_err(|error| format!("peerdma copy: {error}"))?;
                let line = json!({
                    "source": source.address,
                    "destination": destination.address,
                    "disk": destination.disk,
                    "via": via.address,
                    "offset": to,
                    "pattern": pattern,
                    "code": output.status.code(),
                    "out": String::from_utf8_lossy(&output.stdout),
                    "err": String::from_utf8_lossy(&output.stderr),
                });
                outcomes.push_str(&format!("{line}\n"));
            }
        }
    }
    outbox::send("outcomes", outcomes.as_bytes())
}
