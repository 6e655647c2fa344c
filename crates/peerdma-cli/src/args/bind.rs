//! Options of `bind` and `unbind`.

use super::OutputArgs;
use clap::ValueHint;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct BindArgs {
    /// Which functions: addresses or kernel names (3b:00.0, nvme1)
    #[arg(value_name = "BDF", required = true)]
    pub(crate) functions: Vec<String>,
    /// Those of the whole IOMMU group of each, except bridges
    #[arg(long)]
    pub(crate) group: bool,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Where it is written down what was there before
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = peerdma_linux::bind::DEFAULT_STATE)]
    pub(crate) state: PathBuf,
    /// Another machine's folder, which holds sys and proc: for trying out
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "dry_run")]
    pub(crate) root: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(super) const EXAMPLES: &str = "\
Refused, always: what is mounted, swap, held by another device or open in a program; network interfaces that are up;
bridges; the display that the machine started with; functions with virtual functions; a part of an IOMMU group.
Needs root, and the module vfio-pci. A binding lasts until unbind or the next boot.

Exit code: 0 done, 2 bad input or nobody said yes, 3 refused, or a step failed and all was undone, 4 not undone, or
done and the answer could not be written.

Examples:
  peerdma bind nvme1 --dry-run                     what would be done, and what stands in the way
  sudo modprobe vfio-pci && sudo peerdma bind 3b:00.0
  sudo peerdma bind 3b:00.0 --group --yes          with all that share its IOMMU group";

pub(super) const UNBIND_EXAMPLES: &str = "\
Needs root. Refused while a program has the function open.

Exit code: 0 done, 2 bad input or nobody said yes, 3 refused, or a step failed and all was undone, 4 not undone, or
done and the answer could not be written.

Examples:
  sudo peerdma unbind 3b:00.0
  sudo peerdma unbind 3b:00.0 --group              all that bind has taken of its IOMMU group";
