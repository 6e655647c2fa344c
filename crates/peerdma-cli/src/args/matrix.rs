//! Options of `matrix`.

use super::{MachineArgs, OutputArgs, VerdictArgs};
use clap::ValueEnum;
use peerdma::route::Access;

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

pub(super) const EXAMPLES: &str = "\
Examples:
  peerdma matrix
  peerdma matrix --provider class:gpu --client class:nvme
  peerdma matrix --bandwidth --access read
  peerdma matrix --policy all          what Linux, its rewrite and the specification say
  peerdma matrix --from dump.txt --cpu GenuineIntel:6 --kernel 6.8
  peerdma matrix --format tsv | awk '$4 == \"BUS_ADDR\"'";
