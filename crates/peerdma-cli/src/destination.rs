//! Files that commands write: what is there is left alone unless it may be overwritten.

use crate::error::Problem;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// What becomes of a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It stays, and the command fails.
    Keep,
    /// It is overwritten.
    Overwrite,
}

impl Existing {
    /// As `--force` says.
    pub(crate) const fn as_forced(force: bool) -> Self {
        match force {
            true => Self::Overwrite,
            false => Self::Keep,
        }
    }
}

/// Opens a file to be written. A device, a pipe and the like hold nothing that could be lost.
///
/// # Errors
/// Those of opening it; [`io::ErrorKind::AlreadyExists`] where it is to be kept.
pub(crate) fn create(path: &Path, existing: Existing) -> io::Result<File> {
    let holds_data = || fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    match existing {
        Existing::Overwrite => File::create(path),
        Existing::Keep if path.exists() && !holds_data() => OpenOptions::new().write(true).open(path),
        Existing::Keep => OpenOptions::new().write(true).create_new(true).open(path),
    }
}

/// The problem of a file that was not written.
pub(crate) fn not_written(path: &Path, error: &io::Error) -> Problem {
    let what = format!("{} was not written", path.display());
    if error.kind() == io::ErrorKind::AlreadyExists {
        Problem::new(
            what,
            "the file exists",
            "give another name, or --force to overwrite it",
        )
    } else {
        Problem::new(
            what,
            error,
            "check the folder, its permissions and the free space",
        )
    }
}
