//! The tree that a binding is planned from: `sys`, `proc` and `dev` of this machine, or of a copy.
//!
//! Only read; everything is small, and nothing here knows what it means.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where `sys`, `proc` and `dev` lie.
///
/// Of a folder at most 65,536 names are taken in. No kernel makes as many functions of a group, block devices or holders of one; where a function has
/// more below it, or more programs or open files are there than are looked at (4,194,304 each: Linux numbers no more programs), that stands in
/// the way of a binding ([`Obstacle::Unclear`](super::Obstacle::Unclear)).
#[derive(Debug, Clone)]
pub struct System {
    root: PathBuf,
}

/// Names of a folder that are taken in at once.
const MOST_NAMES: usize = 1 << 16;

/// Was all of a folder looked at?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All that there is, or that may be read.
    Whole,
    /// There is more.
    Cut,
}

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

    /// The first names in a folder, sorted; none where it cannot be read.
    pub(super) fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let mut names = Vec::new();
        self.visit(path, MOST_NAMES, |name| names.push(name));
        names.sort_unstable();
        names
    }

    /// Gives the names in a folder one by one, at most so many, in no order; none where it cannot be read.
    pub(super) fn visit(&self, path: impl AsRef<Path>, most: usize, each: impl FnMut(String)) -> Extent {
        let mut entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let names = entries.by_ref().take(most);
        names
            .filter_map(|entry| entry.file_name().into_string().ok())
            .for_each(each);
        match entries.next() {
            None => Extent::Whole,
            Some(_) => Extent::Cut,
        }
    }

    /// The folders in a folder that are no links, sorted; were all of its names looked at?
    pub(super) fn folders(&self, path: impl AsRef<Path>) -> (Vec<String>, Extent) {
        let path = path.as_ref();
        let mut names = Vec::new();
        let extent = self.visit(path, MOST_NAMES, |name| names.push(name));
        names.retain(|name| {
            let metadata = self.path(path).join(name).symlink_metadata();
            metadata.is_ok_and(|metadata| metadata.is_dir())
        });
        names.sort_unstable();
        (names, extent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_more_names_than_are_looked_at_is_told_from_one_that_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["3", "1", "2"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let system = System::new(folder.path());
        for (most, seen, extent) in [
            (4, 3, Extent::Whole),
            (3, 3, Extent::Whole),
            (2, 2, Extent::Cut),
            (0, 0, Extent::Cut),
        ] {
            let mut names = 0;
            assert_eq!(system.visit("", most, |_| names += 1), extent);
            assert_eq!(names, seen);
        }
        assert_eq!(system.visit("none", 1, |_| ()), Extent::Whole);
        assert_eq!(system.names(""), ["1", "2", "3"]);
    }
}
