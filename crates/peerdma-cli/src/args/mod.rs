//! What the command line can say, as types.
//!
//! One file holds the options that commands share ([`shared`]); the commands' own options are here.
//! Values that deserve a long explanation when they are wrong (`--cpu`, `--kernel`, selectors) stay
//! text here and are read where they are used.

mod bench;
mod bind;
mod copy;
mod probe;
mod shared;

pub(crate) use bench::{BenchArgs, PatternArg, RwArg};
pub(crate) use bind::BindArgs;
pub(crate) use copy::{CopyArgs, VfioArg};
pub(crate) use probe::ProbeArgs;
pub(crate) use shared::{ColorWhen, MachineArgs, OutputArgs, Policy, VerdictArgs};

use clap::{Parser, Subcommand, ValueEnum, ValueHint};
use peerdma::route::{Access, TlpClass};
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
    #[command(after_help = TOPO_EXAMPLES)]
    Topo(TopoArgs),
    /// Show who may reach whose memory, for all pairs at once
    #[command(after_help = MATRIX_EXAMPLES)]
    Matrix(MatrixArgs),
    /// Explain one pair: the way hop by hop, what decides, what would change it
    #[command(after_help = ROUTE_EXAMPLES)]
    Route(RouteArgs),
    /// Test pairs that must reach each other, for scripts and CI
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Copy blocks from one device to another without a trip through host RAM where that is safe, and prove that they arrived
    #[command(after_help = copy::EXAMPLES)]
    Copy(CopyArgs),
    /// Try a route: patterns through a pair of devices, every byte verified, and compared with what the verdict promises
    #[command(after_help = PROBE_EXAMPLES)]
    Probe(ProbeArgs),
    /// Measure a volume: operations a second, bandwidth, latencies
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(BenchArgs),
    /// Switch a simulated machine on: show it, or carry out transfers and show what becomes of every byte
    #[command(after_help = SIMULATE_EXAMPLES)]
    Simulate(SimulateArgs),
    /// Write the machine into one file that every command takes with --from
    #[command(after_help = SNAPSHOT_EXAMPLES)]
    Snapshot(SnapshotArgs),
    /// Take functions from their drivers and bind them to vfio-pci, for drivers in processes
    #[command(after_help = BIND_EXAMPLES)]
    Bind(BindArgs),
    /// Put back what bind has taken: the driver and the driver_override that were there before
    #[command(after_help = UNBIND_EXAMPLES)]
    Unbind(BindArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write one page a command into a folder
    Man(ManArgs),
}

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

#[derive(Debug, clap::Args)]
pub(crate) struct MatrixArgs {
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Show bridges and host bridges too, not only endpoints
    #[arg(long)]
    pub(crate) all: bool,
    /// Estimate how many GB/s the links let through, instead of naming the route; data formats have both
    #[arg(long)]
    pub(crate) bandwidth: bool,
    /// Which access the table of --bandwidth is for; writing if not given
    #[arg(long, value_enum, requires = "bandwidth", value_name = "ACCESS")]
    pub(crate) access: Option<AccessArg>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    #[command(flatten)]
    pub(crate) verdict: VerdictArgs,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Which functions a matrix shows; all given conditions must hold.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which functions")]
pub(crate) struct FilterArgs {
    /// nvme, gpu, net, accel, storage, bridge, or hexadecimal digits of the class code
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Option<String>,
    /// Vendor: hexadecimal number, or a part of its name
    #[arg(long, value_name = "VENDOR")]
    pub(crate) vendor: Option<String>,
    /// Name of the bound driver
    #[arg(long, value_name = "NAME")]
    pub(crate) driver: Option<String>,
    /// Addresses, separated by commas; `*` and `?` stand for anything
    #[arg(long, value_name = "BDF,...")]
    pub(crate) bdf: Option<String>,
    /// Only these functions' memory (a selector: name, address, class:C, vendor:V, driver:D, all)
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) provider: Option<String>,
    /// Only access by these functions (a selector)
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) client: Option<String>,
}

/// The access that a table is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessArg {
    /// The client reads the provider's memory
    Read,
    /// The client writes into it
    Write,
}

impl From<AccessArg> for Access {
    fn from(access: AccessArg) -> Self {
        match access {
            AccessArg::Read => Self::Read,
            AccessArg::Write => Self::Write,
        }
    }
}

/// How a matrix is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For reading: short codes and a legend
    Table,
    /// As data, with what was read of the machine
    Json,
    /// One line a pair, with a header and names; a name that begins like a formula gets an apostrophe before it
    Csv,
    /// One line a pair, every ordered pair, without header: provider, client, distance, map type, raw distance
    Tsv,
}

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

/// The packet class as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tlp {
    /// Untranslated requests, completions in order: a device without special settings
    Strict,
    /// Completions with relaxed ordering
    Relaxed,
    /// Requests with addresses that the device translated before (ATS)
    Translated,
    /// Both
    TranslatedRelaxed,
}

impl From<Tlp> for TlpClass {
    fn from(tlp: Tlp) -> Self {
        match tlp {
            Tlp::Strict => Self::Strict,
            Tlp::Relaxed => Self::Relaxed,
            Tlp::Translated => Self::Translated,
            Tlp::TranslatedRelaxed => Self::TranslatedRelaxed,
        }
    }
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

const TOPO_EXAMPLES: &str = "\
Examples:
  peerdma topo
  peerdma topo -v --from machine.json
  peerdma topo --json | jq '.functions[] | select(.kind == \"gpu\")'";

const MATRIX_EXAMPLES: &str = "\
Examples:
  peerdma matrix
  peerdma matrix --provider class:gpu --client class:nvme
  peerdma matrix --bandwidth --access read
  peerdma matrix --policy all          what Linux, its rewrite and the specification say
  peerdma matrix --from dump.txt --cpu GenuineIntel:6 --kernel 6.8
  peerdma matrix --format tsv | awk '$4 == \"BUS_ADDR\"'";

const ROUTE_EXAMPLES: &str = "\
Examples:
  sudo peerdma route nvme0 3b:00.0     may nvme0 reach the memory of 3b:00.0 (and the way back)
  sudo peerdma route nvme0 3b:00.0 --bandwidth
  sudo peerdma route nvme0 3b:00.0 --policy spec
  peerdma route 41:00.0 42:00.0 --from dump.txt --kernel 6.12";

const CHECK_EXAMPLES: &str = "\
Each line: OK, FAIL or UNKNOWN, client, provider, map type, distance, reason; separated by tabs.
Exit code: 2 bad input, else 1 something is blocked, else 5 something is unknown, else 0.

Examples:
  sudo peerdma check nvme0 card0 nvme1 card1
  peerdma check --between class:nvme class:gpu --require direct --from machine.json
  peerdma check --pairs pairs.txt --one-way";

const SIMULATE_EXAMPLES: &str = "\
Exit code: 2 bad input, else 1 a transfer did not end as its script expects, else 0.

Examples:
  peerdma simulate redirect                        the machine, as topo shows it
  peerdma simulate redirect --script redirect      a copy that is fast, reports success, and is wrong
  peerdma simulate box.toml --script copies.toml --trace packets.jsonl
  sudo peerdma snapshot -o m.json && peerdma simulate --from m.json --script copies.toml";

const SNAPSHOT_EXAMPLES: &str = "\
Examples:
  sudo peerdma snapshot --blank-serials -o machine.json
  peerdma snapshot --from dump.txt -o machine.json";

const PROBE_EXAMPLES: &str = "\
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

const BENCH_EXAMPLES: &str = "\
Examples:
  peerdma bench --machine two-ssds nvme0n1 --rw read --operations 10000
  sudo peerdma bench 0000:03:00.0 --rw read --pattern random --block 4KiB --depth 32 --seconds 10
  sudo peerdma bench nvme0n1 --rw write --lba 1000..9000 --yes
  sudo peerdma bench nvme0n1 --rw read --via 0000:04:00.0          data in the memory of another device";

const BIND_EXAMPLES: &str = "\
Refused, always: what is mounted, swap, held by another device or open in a program; network interfaces that are up;
bridges; the display that the machine started with; functions with virtual functions; a part of an IOMMU group.
Needs root, and the module vfio-pci. A binding lasts until unbind or the next boot.

Exit code: 0 done, 2 bad input or nobody said yes, 3 refused, or a step failed and all was undone, 4 not undone.

Examples:
  peerdma bind nvme1 --dry-run                     what would be done, and what stands in the way
  sudo modprobe vfio-pci && sudo peerdma bind 3b:00.0
  sudo peerdma bind 3b:00.0 --group --yes          with all that share its IOMMU group";

const UNBIND_EXAMPLES: &str = "\
Needs root. Refused while a program has the function open.

Exit code: 0 done, 2 bad input or nobody said yes, 3 refused, or a step failed and all was undone, 4 not undone.

Examples:
  sudo peerdma unbind 3b:00.0
  sudo peerdma unbind 3b:00.0 --group              all that bind has taken of its IOMMU group";

impl Command {
    /// Shall errors be JSON too?
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Topo(args) => args.output.json,
            Self::Matrix(args) => args.output.json,
            Self::Route(args) => args.output.json,
            Self::Check(args) => args.output.json,
            Self::Copy(args) => args.output.json,
            Self::Probe(args) => args.output.json,
            Self::Bench(args) => args.output.json,
            Self::Simulate(args) => args.output.json,
            Self::Snapshot(args) => args.look.json,
            Self::Bind(args) | Self::Unbind(args) => args.output.json,
            Self::Completions(_) | Self::Man(_) => false,
        }
    }
}
