//! Options of `copy`.

use super::{OutputArgs, VfioArg};
use clap::ValueHint;
use std::borrow::Cow;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct CopyArgs {
    /// What is read. On this machine: a controller bound to vfio-pci (3b:00.0, or with its namespace 3b:00.0/1), a block device
    /// (nvme0n1, /dev/sda1) or a file; with --machine: a namespace (nvme0n1, 3b:00.0/1)
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) source: String,
    /// What is written; a file that does not exist is made
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) destination: String,
    /// A simulated machine instead of this one: a machine file, or the name of one that ships (two-ssds, gpu-box, redirect, ...)
    #[arg(long, value_name = "FILE|NAME", value_hint = ValueHint::FilePath)]
    pub(crate) machine: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) live: LiveArgs,
    #[command(flatten)]
    pub(crate) what: WhatArgs,
    #[command(flatten)]
    pub(crate) way: WayArgs,
    /// Keep what is proven in this file when the copy is interrupted, and go on from there if it exists
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) resume: Option<PathBuf>,
    /// Lets packets come in another order (up to 500 ns later, where the machine does not say), and copies another pattern
    #[arg(long, value_name = "N", requires = "machine")]
    pub(crate) seed: Option<u64>,
    /// Open the files that the machine file itself names for namespaces, to read and overwrite them
    #[arg(long, requires = "machine")]
    pub(crate) allow_files: bool,
    /// No warnings, notes and progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

impl CopyArgs {
    /// The machine, as it was named.
    pub(crate) fn machine_name(&self) -> Cow<'_, str> {
        match &self.machine {
            Some(machine) => machine.to_string_lossy(),
            None => "this machine".into(),
        }
    }
}

/// What only this machine has.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "On this machine")]
pub(crate) struct LiveArgs {
    /// Overwrite the destination without asking
    #[arg(short, long, conflicts_with = "machine")]
    pub(crate) yes: bool,
    /// How controllers are had from the kernel; without it: iommufd where the kernel offers it for them, else type1
    #[arg(long, value_enum, value_name = "API", conflicts_with = "machine")]
    pub(crate) vfio: Option<VfioArg>,
    /// Which BAR of the device of --via is used, where it is no NVMe controller; without it the largest that is memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=5), requires = "via", conflicts_with = "machine")]
    pub(crate) via_bar: Option<u8>,
}

/// What is copied.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is copied")]
pub(crate) struct WhatArgs {
    /// A file in the place of a namespace's medium; only the destination's is written. Without one the source is a
    /// pattern, of which 64 MiB are copied
    #[arg(long, value_name = "NAMESPACE=FILE", value_hint = ValueHint::FilePath, requires = "machine")]
    pub(crate) image: Vec<String>,
    /// Blocks of the source: FIRST..END, FIRST..=LAST, FIRST+COUNT or FIRST..; they keep their place in bytes
    #[arg(long, value_name = "RANGE")]
    pub(crate) lba: Option<String>,
    /// Where they go: the first block of the destination
    #[arg(long, value_name = "LBA")]
    pub(crate) to_lba: Option<u64>,
    /// How much, from the first block on: 4096, 512KiB, 1GiB
    #[arg(long, value_name = "SIZE")]
    pub(crate) bytes: Option<String>,
}

/// How it is copied.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How it is copied")]
pub(crate) struct WayArgs {
    /// Only through the memory of this device: an address or a name
    #[arg(long, value_name = "DEVICE", conflicts_with = "via_ram")]
    pub(crate) via: Option<String>,
    /// Only through host RAM
    #[arg(long, conflicts_with_all = ["require_p2p", "force_route"])]
    pub(crate) via_ram: bool,
    /// Fail with exit code 3 where only the way through host RAM is safe
    #[arg(long)]
    pub(crate) require_p2p: bool,
    /// Go directly even where that is refused; every output says so
    #[arg(long)]
    pub(crate) force_route: bool,
    /// How many pieces are under way at once; without it 32, or fewer where less memory may be locked
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) queue_depth: Option<u16>,
    /// Bytes of one piece: at most what both devices take at once; without it 256 KiB, or less
    #[arg(long, value_name = "SIZE")]
    pub(crate) chunk: Option<String>,
}

pub(super) const EXAMPLES: &str = "\
Exit code: 0 the destination was read back and equals the source, 2 bad input, 3 only the way through host RAM is safe
(--require-p2p), 4 the destination is not proven, 130 interrupted. With 2 and 3 nothing was written.

Examples:
  sudo peerdma copy 0000:03:00.0 0000:04:00.0        two controllers that `peerdma bind` gave to vfio-pci
  sudo peerdma copy nvme0n1 nvme1n1 --via 0000:04:00.0     block devices, through a controller's memory (p2pmem)
  peerdma copy disk.img copy.img                     files, through RAM
  peerdma copy --machine two-ssds nvme0n1 nvme1n1
  peerdma copy --machine box.toml nvme0n1 nvme1n1 --image nvme0n1=disk.img --image nvme1n1=copy.img --resume state.json
  peerdma copy --machine gpu-box nvme0n1 nvme1n1 --via gpu0 --bytes 1GiB
  peerdma copy --machine redirect nvme0n1 nvme1n1 --force-route     what a wrong verdict would have cost";
