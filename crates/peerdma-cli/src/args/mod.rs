//! What the command line can say, as types.
//!
//! One file holds the options that commands share ([`shared`]), and one those of each command; the list of commands is here.
//! Values that deserve a long explanation when they are wrong (`--cpu`, `--kernel`, selectors) stay
//! text here and are read where they are used.

mod bench;
mod bind;
mod check;
mod copy;
mod matrix;
mod probe;
mod route;
mod shared;
mod simulate;
mod snapshot;
mod topo;

pub(crate) use bench::{BenchArgs, PatternArg, RwArg};
pub(crate) use bind::BindArgs;
pub(crate) use check::{CheckArgs, Requirement};
pub(crate) use copy::CopyArgs;
pub(crate) use matrix::{FilterArgs, Format, MatrixArgs};
pub(crate) use probe::ProbeArgs;
pub(crate) use route::RouteArgs;
pub(crate) use shared::{ColorWhen, MachineArgs, OutputArgs, Policy, RunArgs, VerdictArgs, VfioArg};
pub(crate) use simulate::{GearArg, SimulateArgs};
pub(crate) use snapshot::SnapshotArgs;
pub(crate) use topo::TopoArgs;

use clap::{Parser, Subcommand, ValueHint};
use std::path::PathBuf;

/// Who may reach whose memory over PCIe, on which route, and why not
#[derive(Debug, Parser)]
#[command(name = "peerdma", version, about, max_term_width = 100, after_help = MAIN_EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the tree of PCI functions: links, ACS, BARs, IOMMU groups, drivers
    #[command(after_help = topo::EXAMPLES)]
    Topo(TopoArgs),
    /// Show who may reach whose memory, for all pairs at once
    #[command(after_help = matrix::EXAMPLES)]
    Matrix(MatrixArgs),
    /// Explain one pair: the way hop by hop, what decides, what would change it
    #[command(after_help = route::EXAMPLES)]
    Route(RouteArgs),
    /// Test pairs that must reach each other, for scripts and CI
    #[command(after_help = check::EXAMPLES)]
    Check(CheckArgs),
    /// Copy blocks from one device to another without a trip through host RAM where that is safe, and prove that they arrived
    #[command(after_help = copy::EXAMPLES)]
    Copy(CopyArgs),
    /// Try a route: patterns through a pair of devices, every byte verified, and compared with what the verdict promises
    #[command(after_help = probe::EXAMPLES)]
    Probe(ProbeArgs),
    /// Measure a volume: operations a second, bandwidth, latencies
    #[command(after_help = bench::EXAMPLES)]
    Bench(BenchArgs),
    /// Switch a simulated machine on: show it, or carry out transfers and show what becomes of every byte
    #[command(after_help = simulate::EXAMPLES)]
    Simulate(SimulateArgs),
    /// Write the machine into one file that every command takes with --from
    #[command(after_help = snapshot::EXAMPLES)]
    Snapshot(SnapshotArgs),
    /// Take functions from their drivers and bind them to vfio-pci, for drivers in processes
    #[command(after_help = bind::EXAMPLES)]
    Bind(BindArgs),
    /// Put back what bind has taken: the driver and the driver_override that were there before
    #[command(after_help = bind::UNBIND_EXAMPLES)]
    Unbind(BindArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write one page a command into a folder
    Man(ManArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The folder; without it the main page goes to standard output
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) folder: Option<PathBuf>,
}

const MAIN_EXAMPLES: &str = "\
Examples:
  peerdma matrix                       who may reach whose memory on this machine
  sudo peerdma route nvme0 card0       why, for one pair (root can read ACS registers)
  peerdma matrix --from dump.txt       the same for another: sudo lspci -D -nn -vvvxxxx > dump.txt
  peerdma check --between class:nvme class:gpu

Exit codes: 0 done, 2 bad input or usage; check: 1 something is blocked, 5 something is unknown;
simulate: 1 a transfer did not end as its script expects; copy: 3 only the way through RAM is safe,
4 not proven, 130 interrupted; bind, unbind: 3 refused or undone, 4 not undone.";

impl Command {
    /// Shall errors be JSON too?
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Topo(args) => args.output.json,
            Self::Matrix(args) => args.output.json,
            Self::Route(args) => args.output.json,
            Self::Check(args) => args.output.json,
            Self::Copy(args) => args.output.json,
            Self::Probe(args) => args.run.output.json,
            Self::Bench(args) => args.run.output.json,
            Self::Simulate(args) => args.output.json,
            Self::Snapshot(args) => args.look.json,
            Self::Bind(args) | Self::Unbind(args) => args.output.json,
            Self::Completions(_) | Self::Man(_) => false,
        }
    }
}
