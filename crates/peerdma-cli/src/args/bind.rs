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
