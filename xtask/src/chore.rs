//! What all chores share: how they fail, where the repository is, and the binary under test.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Why a chore ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It ran, and the outcome is bad.
    Bad(String),
    /// Something it needs is not there.
    Missing(String),
    /// What it was told to do cannot be done.
    Arguments(String),
    /// Nothing ran at all, for what it needs cannot be fetched.
    Nothing(String),
}

impl Failure {
    /// A failure of `what`, as the operating system tells it.
    pub(crate) fn io(what: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Failure::Bad(format!("{what}: {error}"))
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Bad(_) => ExitCode::from(1),
            Failure::Arguments(_) => ExitCode::from(2),
            Failure::Missing(_) => ExitCode::from(3),
            Failure::Nothing(_) => ExitCode::from(4),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Bad(text)
            | Failure::Missing(text)
            | Failure::Arguments(text)
            | Failure::Nothing(text) => f.write_str(text),
        }
    }
}

/// The root folder of the repository.
pub(crate) fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The folder of data that is shared beside the repository and not part of it.
pub(crate) fn shared() -> PathBuf {
    match std::env::var_os("PEERDMA_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => repository().join("../shared"),
    }
}

/// Builds the command line for release and returns where it is.
pub(crate) fn build_peerdma() -> Result<PathBuf, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--package",
            "peerdma-cli",
        ])
        .current_dir(repository())
        .status()
        .map_err(Failure::io("cargo build"))?;
    if !status.success() {
        return Err(Failure::Bad(format!("cargo build of peerdma-cli: {status}")));
    }
    Ok(target().join("release/peerdma"))
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => repository().join(folder),
        None => repository().join("target"),
    }
}
