//! Options of `simulate`.

use super::OutputArgs;
use clap::{ValueEnum, ValueHint};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct SimulateArgs {
    /// A machine file, or the name of a machine that ships (two-ssds, gpu-box, redirect, ...)
    #[arg(value_name = "MACHINE", value_hint = ValueHint::FilePath, required_unless_present = "from")]
    pub(crate) machine: Option<PathBuf>,
    /// A capture instead: what it does not tell is filled in, and said
    #[arg(long, value_name = "SNAPSHOT", value_hint = ValueHint::AnyPath, conflicts_with = "machine")]
    pub(crate) from: Option<PathBuf>,
    /// Transfers to carry out: a file (docs/simulator.md), - for standard input, or the name of a script that ships (redirect)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) script: Option<PathBuf>,
    /// Write every packet into this file, one line of JSON each
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "script")]
    pub(crate) trace: Option<PathBuf>,
    /// Overwrite the trace's file if it exists
    #[arg(long, requires = "trace")]
    pub(crate) force: bool,
    /// Open the files that the machine file names for namespaces, to read and overwrite them: only for machine files that you trust
    #[arg(long, requires = "script")]
    pub(crate) allow_files: bool,
    /// Decides between orders of arrival, instead of the machine's own seed; a script's seed comes first
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How transfers are carried out; times, counters and outcomes are the same
    #[arg(long, value_enum, default_value_t = GearArg::Batched)]
    pub(crate) gear: GearArg,
    /// No warnings and notes
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// How transfers are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GearArg {
    /// Packet by packet
    Tlp,
    /// Many packets at once where nothing can interfere: faster
    Batched,
}

pub(super) const EXAMPLES: &str = "\
Exit code: 2 bad input, else 1 a transfer did not end as its script expects, else 0.

Examples:
  peerdma simulate redirect                        the machine, as topo shows it
  peerdma simulate redirect --script redirect      a copy that is fast, reports success, and is wrong
  peerdma simulate box.toml --script copies.toml --trace packets.jsonl
  sudo peerdma snapshot -o m.json && peerdma simulate --from m.json --script copies.toml";
