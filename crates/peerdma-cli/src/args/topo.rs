//! Options of `topo`.

use super::{MachineArgs, OutputArgs};

#[derive(Debug, clap::Args)]
pub(crate) struct TopoArgs {
    /// Add addresses of BARs, possible BAR sizes, packet sizes, subsystems
    #[arg(short, long)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  peerdma topo
  peerdma topo -v --from machine.json
  peerdma topo --json | jq '.functions[] | select(.kind == \"gpu\")'";
