//! Options of `probe`.

use super::RunArgs;
use clap::{ValueEnum, ValueHint};
use peerdma::route::Access;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct ProbeArgs {
    /// Who reads and writes the memory. On this machine: a controller bound to vfio-pci (3b:00.0, 3b:00.0/1) or a block device
    /// (nvme0n1); with --machine: a namespace, or a controller that has one
    #[arg(value_name = "A", value_hint = ValueHint::AnyPath)]
    pub(crate) initiator: String,
    /// Whose memory: an address or a name. On this machine: bound to vfio-pci where A is, else a device whose driver lends memory
    /// (p2pmem)
    #[arg(value_name = "B")]
    pub(crate) provider: String,
    /// A simulated machine instead of this one: a machine file, or the name of one that ships (two-ssds, redirect, ...)
    #[arg(long, value_name = "FILE|NAME", value_hint = ValueHint::FilePath)]
    pub(crate) machine: Option<PathBuf>,
    /// Blocks of A that may be overwritten: FIRST..END, FIRST+COUNT or FIRST.., perhaps with the namespace before a colon
    /// (nvme0n1:1000..5000); without it the last of the volume. They are put back
    #[arg(long, value_name = "[NAMESPACE:]RANGE")]
    pub(crate) scratch: Option<String>,
    /// Which BAR of B is used, where it is no NVMe controller; without it the largest that is memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=5))]
    pub(crate) bar: Option<u8>,
    /// What A does to the memory
    #[arg(long, value_enum, default_value_t = DirectionArg::Both)]
    pub(crate) direction: DirectionArg,
    /// Try what the verdict refuses, too
    #[arg(long)]
    pub(crate) force_route: bool,
    /// The most bytes of one transfer
    #[arg(long, value_name = "SIZE", default_value = "1MiB")]
    pub(crate) bytes: String,
    /// Of the patterns
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// No latencies and bandwidths: what arrives is all that is asked
    #[arg(long)]
    pub(crate) no_figures: bool,
    /// Append what was seen to this file, a line of JSON, for `route --records`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) record: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// What is done to the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DirectionArg {
    /// A writes it: data goes from A's blocks to B's memory
    Write,
    /// A reads it: data goes from B's memory to A's blocks
    Read,
    /// One, then the other
    Both,
}

impl DirectionArg {
    /// As the core has it.
    pub(crate) const fn accesses(self) -> &'static [Access] {
        match self {
            Self::Write => &[Access::Write],
            Self::Read => &[Access::Read],
            Self::Both => &[Access::Write, Access::Read],
        }
    }
}

pub(super) const EXAMPLES: &str = "\
Touched are the scratch blocks of A and the memory of B alone, and put back: also where it fails or is interrupted.

Exit code: 0 what was tried works, as promised or as evidence; 2 bad input, or nothing can be said; 3 nothing works, as the
verdict says (what is refused is tried with --force-route alone), or the verdict is unknown; 4 this route corrupts, or the
verdict is wrong, or what was there is not back; 130 interrupted.

Examples:
  peerdma probe --machine two-ssds nvme0 nvme1
  peerdma probe --machine redirect nvme0 nvme1 --force-route     fast, reported as success, and wrong
  sudo peerdma probe 0000:03:00.0 0000:04:00.0 --scratch 1000..5000    two controllers bound to vfio-pci
  sudo peerdma probe nvme0n1 0000:04:00.0 --record probes.jsonl    a block device, and memory that the kernel lends (p2pmem)
  peerdma route nvme0 0000:04:00.0 --records probes.jsonl";
