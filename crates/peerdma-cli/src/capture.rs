//! Where a machine is read from: this machine, a folder, a file, standard input, a machine file.

use crate::args::MachineArgs;
use crate::error::Problem;
use crate::machine_file;
use peerdma::snapshot::{Snapshot, Warnings};
use peerdma_linux::KeepConfig;
use peerdma_linux::source::{self, SourceError};
use serde::Serialize;
use std::path::Path;

/// Where a machine comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "name")]
pub(crate) enum Source {
    /// The machine that runs us.
    Live,
    /// A sysfs folder that was given.
    Sysfs(String),
    /// A file, `-` for standard input.
    File(String),
    /// A machine file, or a machine that ships with peerdma.
    Machine(String),
}

impl Source {
    /// In words.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Live => "this machine",
            Self::File(name) if name == "-" => "standard input",
            Self::Sysfs(name) | Self::File(name) | Self::Machine(name) => name,
        }
    }
}

/// Reads the machine that the options name.
///
/// # Errors
/// A [`Problem`] where it cannot be read at all.
pub(crate) fn read(
    args: &MachineArgs,
    keep: KeepConfig,
    warnings: &mut Warnings,
) -> Result<(Snapshot, Source), Problem> {
    if let Some(path) = &args.machine {
        let blueprint = machine_file::load(path)?.blueprint;
        let source = Source::Machine(path.display().to_string());
        return Ok((machine_file::snapshot(blueprint, keep), source));
    }
    let (read, source) = match (&args.from, &args.sysfs) {
        (Some(path), _) => {
            let name = path.display().to_string();
            let source = if path.is_dir() {
                Source::Sysfs(name)
            } else {
                Source::File(name)
            };
            (source::open(path, keep, warnings), source)
        }
        (None, Some(root)) => {
            let source = Source::Sysfs(root.display().to_string());
            (source::live(root, keep, warnings), source)
        }
        (None, None) => (source::live(Path::new("/"), keep, warnings), Source::Live),
    };
    match read {
        Ok(snapshot) => Ok((snapshot, source)),
        Err(error) => Err(Problem::new(
            format_args!("no machine could be read from {}", source.name()),
            &error,
            fix(&error, &source),
        )),
    }
}

fn fix(error: &SourceError, source: &Source) -> &'static str {
    match (error, source) {
        (_, Source::Live) => {
            "peerdma reads /sys of Linux; name a capture of another machine with --from, or another root folder with \
             --sysfs"
        }
        (SourceError::Open { .. }, _) => "check the path and who may read it",
        (SourceError::Sysfs { .. }, _) => {
            "name a folder or archive that holds sys/bus/pci/devices or bus/pci/devices; copy it with its symbolic links"
        }
        _ => {
            "capture the machine again: `sudo peerdma snapshot -o FILE`, or `sudo lspci -D -nn -vvvxxxx > FILE` where \
             peerdma is not at hand"
        }
    }
}
