//! Where a machine is read from: this machine, a folder, a file, standard input.

use crate::args::MachineArgs;
use crate::error::Problem;
use crate::input::Source;
use peerdma::snapshot::{Snapshot, Warnings};
use peerdma_linux::KeepConfig;
use peerdma_linux::tree::LiveTree;
use std::io::Read;
use std::path::Path;

/// Reads the machine that the options name.
///
/// # Errors
/// A [`Problem`] where it cannot be read at all.
pub(crate) fn read(
    args: &MachineArgs,
    keep: KeepConfig,
    warnings: &mut Warnings,
) -> Result<(Snapshot, Source), Problem> {
    let read = |path: &Path| from_file(path, keep, warnings);
    if let Some(path) = &args.from {
        let name = path.display().to_string();
        return if path.is_dir() {
            Ok((from_sysfs(path, keep, warnings)?, Source::Sysfs(name)))
        } else {
            Ok(({ read }(path)?, Source::File(name)))
        };
    }
    match &args.sysfs {
        Some(root) => {
            let snapshot = from_sysfs(root, keep, warnings)?;
            Ok((snapshot, Source::Sysfs(root.display().to_string())))
        }
        None => Ok((from_sysfs(Path::new("/"), keep, warnings)?, Source::Live)),
    }
}

fn from_sysfs(root: &Path, keep: KeepConfig, warnings: &mut Warnings) -> Result<Snapshot, Problem> {
    let fix = "name the root folder of a sysfs tree, the one that holds bus/pci/devices";
    let failed = |why: &dyn std::fmt::Display| {
        Problem::new(
            format_args!("no machine could be read from {}", root.display()),
            why,
            fix,
        )
    };
    let tree = LiveTree::open(root).map_err(|gap| failed(&gap))?;
    peerdma_linux::sysfs::read(&tree, warnings, keep).map_err(|error| failed(&error))
}

fn from_file(path: &Path, keep: KeepConfig, warnings: &mut Warnings) -> Result<Snapshot, Problem> {
    let failed = |why: &dyn std::fmt::Display| {
        Problem::new(
            format_args!("no machine could be read from {}", path.display()),
            why,
            "name a file that peerdma snapshot, lspci -vvv or lspci -xxxx wrote",
        )
    };
    let mut text = Vec::new();
    let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(&bytes[..])
            .read_to_end(&mut text)
            .map_err(|error| failed(&error))?;
    } else {
        text = bytes;
    }
    let keep = match keep {
        KeepConfig::Keep => peerdma_linux::lspci::KeepConfig::Keep,
        KeepConfig::Drop => peerdma_linux::lspci::KeepConfig::Drop,
    };
    peerdma_linux::lspci::read(&text, keep, warnings).map_err(|error| failed(&error))
}
