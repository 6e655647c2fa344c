//! `cargo xtask kernel-truth`: does the shipped command line say what a running Linux said?
//!
//! A folder holds machines as `NAME.lspci.gz` (or `NAME.tar.gz`) and, beside each, the kernel's
//! answer for every ordered pair as `NAME.matrix.gz`.

pub(crate) mod matrices;

use crate::chore::{self, Failure};
use flate2::read::MultiGzDecoder;
use matrices::{Comparison, compare};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How many differences of one machine are shown.
const SHOWN: usize = 5;

/// A subfolder, the ending of its machines, and what the command line must be told about them.
struct Family {
    folder: &'static str,
    ending: &'static str,
    options: &'static [&'static str],
}

const FAMILIES: [Family; 3] = [
    Family {
        folder: "listed",
        ending: ".lspci.gz",
        options: &["--kernel", "7.2", "--cpu", "GenuineIntel:6"],
    },
    Family {
        folder: "zen",
        ending: ".lspci.gz",
        options: &["--kernel", "7.2", "--cpu", "AuthenticAMD:0x17"],
    },
    // A tree brings its processor and its kernel.
    Family {
        folder: "sysfs",
        ending: ".tar.gz",
        options: &[],
    },
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Folder with `listed/`, `zen/` and `sysfs/` [default: $PEERDMA_SHARED/kernel-truth, else
    /// ../shared/kernel-truth beside the repository]
    dir: Option<PathBuf>,
}

/// Checks every machine; ends at the first that differs.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = match &arguments.dir {
        Some(folder) => folder.clone(),
        None => chore::shared().join("kernel-truth"),
    };
    if !folder.is_dir() {
        return Err(Failure::Missing(format!(
            "{} is not there: give the folder, or set PEERDMA_SHARED to the one that holds kernel-truth",
            folder.display()
        )));
    }
    let mut machines = Vec::new();
    for family in &FAMILIES {
        for name in names(&folder.join(family.folder), family.ending)? {
            machines.push((family, name));
        }
    }
    if machines.is_empty() {
        return Err(Failure::Missing(format!(
            "{} holds no machine: expected listed/*.lspci.gz, zen/*.lspci.gz or sysfs/*.tar.gz",
            folder.display()
        )));
    }
    let peerdma = chore::build_peerdma()?;
    let mut pairs = 0;
    for (family, name) in &machines {
        let stem = folder.join(family.folder).join(name);
        let machine = format!("{}/{name}", family.folder);
        let said = answer(&peerdma, &with_ending(&stem, family.ending), family.options)?;
        let truth = unzip(&with_ending(&stem, ".matrix.gz"))?;
        let compared = compare(&truth, &said, SHOWN)
            .map_err(|malformed| Failure::Bad(format!("{machine}: {malformed}")))?;
        if compared.differing > 0 {
            return Err(Failure::Bad(differences(&machine, &compared)));
        }
        if let Some(misplaced) = &compared.misplaced {
            return Err(Failure::Bad(format!("DIFFERS\t{machine}\t{misplaced}")));
        }
        println!("OK\t{machine}\t{} pairs", compared.pairs);
        pairs += compared.pairs;
    }
    println!(
        "{} machines, {pairs} pairs: every answer is the kernel's",
        machines.len()
    );
    Ok(())
}

/// The machines of a folder, in order; none where the folder is absent.
fn names(folder: &Path, ending: &str) -> Result<Vec<String>, Failure> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Failure::io(folder.display()))? {
        let entry = entry.map_err(Failure::io(folder.display()))?;
        if let Some(name) = entry.file_name().to_string_lossy().strip_suffix(ending) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn with_ending(stem: &Path, ending: &str) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(ending);
    PathBuf::from(path)
}

fn unzip(path: &Path) -> Result<String, Failure> {
    let file = File::open(path).map_err(Failure::io(path.display()))?;
    let mut text = String::new();
    MultiGzDecoder::new(file)
        .read_to_string(&mut text)
        .map_err(Failure::io(path.display()))?;
    Ok(text)
}

/// What `peerdma matrix` prints for a machine.
pub(crate) fn answer(peerdma: &Path, machine: &Path, options: &[&str]) -> Result<String, Failure> {
    let output = Command::new(peerdma)
        .arg("matrix")
        .arg("--from")
        .arg(machine)
        .args(["--policy", "linux", "--format", "tsv"])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .map_err(Failure::io(peerdma.display()))?;
    if !output.status.success() {
        return Err(Failure::Bad(format!(
            "peerdma matrix --from {}: {}\n{}",
            machine.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        )));
    }
    String::from_utf8(output.stdout)
        .map_err(|_| Failure::Bad(format!("{}: the answer is not UTF-8", machine.display())))
}

pub(crate) fn differences(machine: &str, compared: &Comparison) -> String {
    let mut text = format!(
        "DIFFERS\t{machine}\t{} of {} pairs",
        compared.differing, compared.pairs
    );
    for difference in &compared.shown {
        text.push_str("\n  ");
        text.push_str(&difference.to_string());
    }
    text
}
