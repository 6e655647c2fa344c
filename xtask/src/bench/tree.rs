//! The captured sysfs tree that peerdma and its rivals read.

use crate::chore::{self, Failure};
use bzip2::read::MultiBzDecoder;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// hwloc's tree of 137 functions, by the start of its name.
const DEFAULT_NAME: &str = "32em64t";

/// The folder that holds the tree's `sys`: the given one, or an archive's, unpacked in `scratch`.
pub(super) fn folder(given: Option<&Path>, scratch: &Path) -> Result<PathBuf, Failure> {
    let source = match given {
        Some(path) => path.to_path_buf(),
        None => default_archive()?,
    };
    if source.is_dir() {
        return with_sys(&source);
    }
    let file = File::open(&source).map_err(|error| {
        Failure::Missing(format!("{}: {error}: give a tree with --tree", source.display()))
    })?;
    let unpacked = scratch.join("tree");
    tar::Archive::new(MultiBzDecoder::new(file))
        .unpack(&unpacked)
        .map_err(Failure::io(source.display()))?;
    with_sys(&unpacked)
}

fn default_archive() -> Result<PathBuf, Failure> {
    let folder = chore::shared().join("corpora/hwloc");
    let missing = || {
        Failure::Missing(format!(
            "{} holds no {DEFAULT_NAME}*.tar.bz2: give a tree with --tree, or set PEERDMA_SHARED",
            folder.display()
        ))
    };
    let entries = fs::read_dir(&folder).map_err(|_| missing())?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(DEFAULT_NAME) && name.ends_with(".tar.bz2")
        })
        .ok_or_else(missing)
}

/// `folder`, or the one folder in it, whichever holds `sys/bus/pci`.
fn with_sys(folder: &Path) -> Result<PathBuf, Failure> {
    let holds_sys = |folder: &Path| folder.join("sys/bus/pci").is_dir();
    if holds_sys(folder) {
        return Ok(folder.to_path_buf());
    }
    let entries = fs::read_dir(folder).map_err(Failure::io(folder.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|inner| holds_sys(inner))
        .ok_or_else(|| Failure::Missing(format!("{} holds no sys/bus/pci", folder.display())))
}
