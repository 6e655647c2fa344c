//! Options of `route`.

use super::{MachineArgs, OutputArgs, VerdictArgs};
use clap::ValueHint;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct RouteArgs {
    /// Who reads and writes: an address or a kernel name (3b:00.0, nvme0, mlx5_0)
    pub(crate) client: String,
    /// Whose memory: an address or a kernel name
    pub(crate) provider: String,
    /// Estimate how many GB/s the links let through
    #[arg(long)]
    pub(crate) bandwidth: bool,
    /// Show what probes of this pair, or on such machines, have seen: a file of `probe --record`; else the one that PEERDMA_RECORDS
    /// names. The verdict stays what it is
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) records: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) verdict: VerdictArgs,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  sudo peerdma route nvme0 3b:00.0     may nvme0 reach the memory of 3b:00.0 (and the way back)
  sudo peerdma route nvme0 3b:00.0 --bandwidth
  sudo peerdma route nvme0 3b:00.0 --policy spec
  peerdma route 41:00.0 42:00.0 --from dump.txt --kernel 6.12";
