//! The generated machines that the benchmarks read, in each form that a reader takes.

#![allow(dead_code, reason = "each benchmark uses a part")]

#[path = "../../../../xtask/src/machine/mod.rs"]
pub(crate) mod machine;

use machine::Generated;
use peerdma::snapshot::{Snapshot, Warnings};
use peerdma::topology::Topology;
use peerdma_linux::{KeepConfig, lspci};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A listing as `lspci -D -n -xxxx` prints it: 13.6 kB a function.
pub(crate) fn listing(functions: usize) -> Vec<u8> {
    let mut text = Vec::new();
    machine::write_lspci(&machine::generate(functions, 1), &mut text).expect("memory takes every write");
    text
}

/// The snapshot that such a listing reads as.
pub(crate) fn snapshot(functions: usize) -> Snapshot {
    let read = lspci::read(&listing(functions), KeepConfig::Drop, &mut Warnings::default());
    read.expect("the listing is sound")
}

/// Its trees.
pub(crate) fn topology(functions: usize) -> Topology {
    Topology::new(snapshot(functions), &mut Warnings::default())
}

/// A sysfs tree below `root`, as root reads it: folders that nest as the bridges do, and links.
pub(crate) fn sysfs(root: &Path, functions: usize) -> io::Result<()> {
    let machine = machine::generate(functions, 1);
    let bridges: HashMap<(u32, u8), &Generated> = machine
        .iter()
        .filter(|one| one.config[0x0e] & 0x7f == 1)
        .map(|one| ((one.domain, one.config[0x19]), one))
        .collect();
    let links = root.join("sys/bus/pci/devices");
    fs::create_dir_all(&links)?;
    for one in &machine {
        let inner = folder(one, &bridges);
        let folder = root.join("sys/devices").join(&inner);
        fs::create_dir_all(&folder)?;
        let word = |at: usize| u16::from_le_bytes([one.config[at], one.config[at + 1]]);
        fs::write(folder.join("config"), one.config.as_slice())?;
        fs::write(folder.join("vendor"), format!("0x{:04x}\n", word(0)))?;
        fs::write(folder.join("device"), format!("0x{:04x}\n", word(2)))?;
        fs::write(
            folder.join("class"),
            format!("0x{:04x}{:02x}\n", word(0x0a), one.config[9]),
        )?;
        fs::write(folder.join("numa_node"), "-1\n")?;
        fs::write(
            folder.join("resource"),
            "0x0000000000000000 0x0000000000000000 0x0000000000000000\n".repeat(13),
        )?;
        symlink(Path::new("../../../devices").join(&inner), links.join(name(one)))?;
    }
    Ok(())
}

fn name(one: &Generated) -> String {
    format!(
        "{:04x}:{:02x}:{:02x}.{}",
        one.domain, one.bus, one.device, one.function
    )
}

/// The folder of a function below `sys/devices`.
fn folder(one: &Generated, bridges: &HashMap<(u32, u8), &Generated>) -> PathBuf {
    match bridges.get(&(one.domain, one.bus)) {
        Some(bridge) => folder(bridge, bridges).join(name(one)),
        None => PathBuf::from(format!("pci{:04x}:{:02x}", one.domain, one.bus)).join(name(one)),
    }
}
