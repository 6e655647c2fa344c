//! The tree that a binding is planned from: `sys`, `proc` and `dev` of this machine, or of a copy.
//!
//! Only read; everything is small, and nothing here knows what it means.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where `sys`, `proc` and `dev` lie.
#[derive(Debug, Clone)]
pub struct System {
    root: PathBuf,
}

/// Entries of a folder that are taken in.
const MOST_ENTRIES: usize = 1 << 16;

impl System {
    /// The machine below `root`: `/` for the one at hand.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The place of `path`, which has no `/` before it.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// A file's content without the line end; nothing where it cannot be read.
    pub(super) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = fs::read(self.path(path)).ok()?;
        Some(
            String::from_utf8_lossy(&bytes)
                .trim_end_matches(['\n', '\0'])
                .to_owned(),
        )
    }

    /// Where a link leads, as it is written.
    pub(super) fn link(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        fs::read_link(self.path(path))
    }

    /// The last part of where a link leads.
    pub(super) fn link_name(&self, path: impl AsRef<Path>) -> Option<String> {
        let target = self.link(path).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// Is there something?
    pub(super) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// The names in a folder, sorted; none where it cannot be read.
    pub(super) fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .take(MOST_ENTRIES)
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        names
    }

    /// The folders in a folder that are no links, sorted.
    pub(super) fn folders(&self, path: impl AsRef<Path>) -> Vec<String> {
        let path = path.as_ref();
        let mut names = self.names(path);
        names.retain(|name| {
            let metadata = self.path(path).join(name).symlink_metadata();
            metadata.is_ok_and(|metadata| metadata.is_dir())
        });
        names
    }
}
