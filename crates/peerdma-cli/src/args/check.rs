//! Options of `check`.

use super::{MachineArgs, OutputArgs, VerdictArgs};
use clap::{ValueEnum, ValueHint};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Pairs: A B [A B ...], addresses or kernel names
    #[arg(value_name = "A B", num_args = 0.., conflicts_with_all = ["pairs", "between"])]
    pub(crate) functions: Vec<String>,
    /// A file with two names a line; # starts a comment
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "between")]
    pub(crate) pairs: Option<PathBuf>,
    /// Every function of one kind with every function of another: `class:nvme class:gpu`
    #[arg(long, num_args = 2, value_names = ["SELECTOR", "SELECTOR"])]
    pub(crate) between: Option<Vec<String>>,
    /// A must reach B's memory; B need not reach A's
    #[arg(long)]
    pub(crate) one_way: bool,
    /// Which route a pair must have
    #[arg(long, value_enum, default_value_t = Requirement::Any)]
    pub(crate) require: Requirement,
    /// Count a pair as OK that is reached for sure though the route is unknown
    #[arg(long, conflicts_with = "require")]
    pub(crate) any_route: bool,
    #[command(flatten)]
    pub(crate) verdict: VerdictArgs,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Which route a checked pair must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Requirement {
    /// Any that Linux allows
    Any,
    /// Through a switch, not through the root complex (BUS_ADDR)
    Direct,
}

pub(super) const EXAMPLES: &str = "\
Each line: OK, FAIL or UNKNOWN, client, provider, map type, distance, reason; separated by tabs.
Exit code: 2 bad input, else 1 something is blocked, else 5 something is unknown, else 0.

Examples:
  sudo peerdma check nvme0 card0 nvme1 card1
  peerdma check --between class:nvme class:gpu --require direct --from machine.json
  peerdma check --pairs pairs.txt --one-way";
