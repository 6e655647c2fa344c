//! Options of `snapshot`.

use super::{MachineArgs, OutputArgs};
use clap::ValueHint;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotArgs {
    /// The file to write; standard output without it
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Overwrite the file if it exists
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    /// Leave out serial numbers
    #[arg(long)]
    pub(crate) blank_serials: bool,
    /// Leave out the raw bytes of configuration space; their meaning stays
    #[arg(long)]
    pub(crate) no_config: bool,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) look: OutputArgs,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  sudo peerdma snapshot --blank-serials -o machine.json
  peerdma snapshot --from dump.txt -o machine.json";
