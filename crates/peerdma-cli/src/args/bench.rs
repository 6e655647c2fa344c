//! Options of `bench`.

use super::RunArgs;
use clap::{ValueEnum, ValueHint};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// What is measured. On this machine: a controller bound to vfio-pci (3b:00.0, 3b:00.0/1), a block device (nvme0n1) or a file;
    /// with --machine: a namespace
    #[arg(value_name = "VOLUME", value_hint = ValueHint::AnyPath)]
    pub(crate) volume: String,
    /// A simulated machine instead of this one: a machine file, or the name of one that ships (two-ssds, ...)
    #[arg(long, value_name = "FILE|NAME", value_hint = ValueHint::FilePath)]
    pub(crate) machine: Option<PathBuf>,
    /// Reads or writes; what is written is a pattern, over whatever is there
    #[arg(long, value_enum, default_value_t = RwArg::Read)]
    pub(crate) rw: RwArg,
    /// Which blocks come next
    #[arg(long, value_enum, default_value_t = PatternArg::Random)]
    pub(crate) pattern: PatternArg,
    /// Bytes of one operation
    #[arg(long, value_name = "SIZE", default_value = "4KiB")]
    pub(crate) block: String,
    /// Operations at once
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) depth: u16,
    /// For how long at most; 5 seconds where neither this nor --operations is given
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<f64>,
    /// How many operations at most
    #[arg(long, value_name = "N")]
    pub(crate) operations: Option<u64>,
    /// Which blocks are used: FIRST..END, FIRST+COUNT or FIRST..; all without it
    #[arg(long, value_name = "RANGE")]
    pub(crate) lba: Option<String>,
    /// How much from the first block on is used
    #[arg(long, value_name = "SIZE")]
    pub(crate) bytes: Option<String>,
    /// Data in the memory of this device instead of RAM: an address or a name
    #[arg(long, value_name = "DEVICE")]
    pub(crate) via: Option<String>,
    /// Which BAR of it, where it is no NVMe controller
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=5), requires = "via")]
    pub(crate) via_bar: Option<u8>,
    /// Look for completions without interrupts, where the kernel serves the volume (our own driver always does)
    #[arg(long)]
    pub(crate) polled: bool,
    /// Decides which blocks come next
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RwArg {
    /// The device reads its medium
    Read,
    /// The device writes its medium
    Write,
}

/// Which blocks come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PatternArg {
    /// Any, at multiples of --block
    Random,
    /// One after the other
    Sequential,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  peerdma bench --machine two-ssds nvme0n1 --rw read --operations 10000
  sudo peerdma bench 0000:03:00.0 --rw read --pattern random --block 4KiB --depth 32 --seconds 10
  sudo peerdma bench nvme0n1 --rw write --lba 1000..9000 --yes
  sudo peerdma bench nvme0n1 --rw read --via 0000:04:00.0          data in the memory of another device";
