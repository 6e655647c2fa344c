//! Simulated machines: from a machine file, or one of those that ship with peerdma.

use crate::error::Problem;
use peerdma::addr::Bdf;
use peerdma::snapshot::Snapshot;
use peerdma_linux::KeepConfig;
use peerdma_sim::blueprint::Blueprint;
use peerdma_sim::fabric::BuildError;
use peerdma_sim::file::{self, At, MOST_FILE_BYTES, MachineError};
use peerdma_sim::firmware;
use peerdma_sim::script::{self, Script, ScriptError};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A name and the machine file of that name.
macro_rules! shipped {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../machines/", $name, ".toml")))
    };
}

/// The machines in `machines/`, by the names that `--machine` takes.
const SHIPPED: [(&str, &str); 10] = [
    shipped!("conventional"),
    shipped!("gpu-box"),
    shipped!("no-forward"),
    shipped!("offset-bridge"),
    shipped!("redirect"),
    shipped!("shared-group"),
    shipped!("store-only"),
    shipped!("two-offset-bridges"),
    shipped!("two-sockets"),
    shipped!("two-ssds"),
];

/// The scripts in `machines/scripts/`, by the names that `--script` takes.
const SCRIPTS: [(&str, &str); 1] = [(
    "redirect",
    include_str!("../../../machines/scripts/redirect.toml"),
)];

/// A machine that a file describes.
pub(crate) struct Described {
    pub(crate) blueprint: Blueprint,
    pub(crate) places: Places,
}

/// Where functions are described; nowhere for those of a capture.
#[derive(Debug, Default)]
pub(crate) struct Places {
    file: String,
    functions: BTreeMap<Bdf, At>,
}

impl Places {
    /// Where the description is that an error is about: `machine.toml:3:1`.
    pub(crate) fn of(&self, error: &BuildError) -> Option<String> {
        let function = match error {
            BuildError::Nvme { function, .. }
            | BuildError::Config { function, .. }
            | BuildError::BarPlace { function, .. }
            | BuildError::UnknownFact { function, .. } => function,
            _ => return None,
        };
        Some(place(&self.file, *self.functions.get(function)?))
    }
}

/// Reads a machine file, or the shipped one of this name, and switches the machine on as far as firmware does. Files that it names are
/// looked for from its own folder on; none is opened.
///
/// # Errors
/// A [`Problem`] where there is none, or where it is wrong.
pub(crate) fn load(path: &Path) -> Result<Described, Problem> {
    let name = path.display().to_string();
    let text = match shipped(&name) {
        Some(text) => text.to_owned(),
        None => read_text(path, MOST_FILE_BYTES).map_err(|error| not_read(&name, &error))?,
    };
    let wrong = |error: MachineError| {
        Problem::new(
            format_args!("{}: this describes no machine", place(&name, error.at)),
            &error.wrong,
            format_args!(
                "{}; machines/README.md documents every key, `peerdma simulate redirect` shows a machine that works",
                mend(error.at)
            ),
        )
    };
    let machine = file::read(&text).map_err(wrong)?;
    let mut blueprint = firmware::boot(&machine).map_err(wrong)?;
    let functions = firmware::places(&machine).map_err(wrong)?;
    // The folder of `-` is the current one.
    blueprint.find_files_in(path.parent().unwrap_or(Path::new("")));
    let file = name;
    Ok(Described {
        blueprint,
        places: Places { file, functions },
    })
}

/// Reads a script, or the shipped one of this name.
///
/// # Errors
/// A [`Problem`] where there is none, or where it is wrong.
pub(crate) fn load_script(path: &Path) -> Result<Script, Problem> {
    let name = path.display().to_string();
    let text = match SCRIPTS.iter().find(|(shipped, _)| *shipped == name) {
        Some((_, text)) => (*text).to_owned(),
        None => read_text(path, script::MOST_FILE_BYTES).map_err(|error| {
            Problem::new(
                format_args!("no script could be read from {name}"),
                error,
                "check the path, or name a script that ships with peerdma: redirect",
            )
        })?,
    };
    script::read(&text).map_err(|error| script_problem(&name, &error))
}

/// A script that is wrong, or does not fit the machine.
pub(crate) fn script_problem(name: &str, error: &ScriptError) -> Problem {
    Problem::new(
        format_args!("{}: this script cannot be carried out", place(name, error.at)),
        &error.wrong,
        format_args!("{}; docs/simulator.md documents every key", mend(error.at)),
    )
}

/// A file, and where in it if that is known.
fn place(name: &str, at: At) -> String {
    match at.line {
        0 => name.to_owned(),
        line => format!("{name}:{line}:{}", at.column),
    }
}

fn mend(at: At) -> &'static str {
    match at.line {
        0 => "mend the file",
        _ => "mend that line",
    }
}

/// What a capture of the machine would be.
pub(crate) fn snapshot(blueprint: Blueprint, keep: KeepConfig) -> Snapshot {
    let mut snapshot = blueprint.snapshot;
    if keep == KeepConfig::Keep {
        snapshot.edit(|function| function.raw_config = function.config.emit().ok().map(Vec::from));
    }
    snapshot
}

/// The machine file that ships under this name.
fn shipped(name: &str) -> Option<&'static str> {
    let found = SHIPPED.iter().find(|(shipped, _)| *shipped == name);
    found.map(|(_, text)| *text)
}

/// Reads a text file, or standard input for `-`; of one that is too large a byte more than `most_bytes`, so that its reader sees it.
///
/// # Errors
/// Where it cannot be read, or is no text.
pub(crate) fn read_text(path: &Path, most_bytes: usize) -> io::Result<String> {
    let mut text = String::new();
    let most_bytes = most_bytes as u64 + 1;
    match path.to_str() {
        Some("-") => io::stdin().lock().take(most_bytes).read_to_string(&mut text)?,
        _ => File::open(path)?.take(most_bytes).read_to_string(&mut text)?,
    };
    Ok(text)
}

fn not_read(name: &str, error: &io::Error) -> Problem {
    let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
    Problem::new(
        format_args!("no machine file could be read from {name}"),
        error,
        format_args!(
            "check the path, or name a machine that ships with peerdma: {}",
            names.join(", ")
        ),
    )
}
