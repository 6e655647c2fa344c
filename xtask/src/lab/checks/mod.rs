//! The checks, and what a check is. Another one is a file of its own here, and a line in [`ALL`].
//!
//! Called by [`super::run`]. `lab/README.md` says how to write one.

mod copies;
mod going_wrong;
mod iommufd;
mod kernel_path;
mod probe;
mod replayed;
mod speed;
mod user_path;
mod verdicts;
mod vfio_ready;

use super::boot::Boot;
use super::parts::Parts;
use crate::chore::Failure;
use std::path::Path;

/// All of them, in the order in which they run.
pub(crate) const ALL: [Check; 12] = [
    verdicts::CHECK,
    replayed::CHECK,
    kernel_path::CHECK,
    copies::CHECK,
    probe::CHECK,
    vfio_ready::CHECK,
    user_path::CHECK,
    iommufd::CHECK,
    user_path::IOMMUFD,
    going_wrong::CHECK,
    going_wrong::IOMMUFD,
    speed::CHECK,
];

/// Something that a real kernel is asked.
pub(crate) struct Check {
    /// One word, by which `--only` finds it.
    pub(crate) name: &'static str,
    /// What holds if it passes.
    pub(crate) promise: &'static str,
    /// What it needs besides QEMU, the kernel and the programs, which all need.
    pub(crate) needs: &'static [Need],
    /// What it boots. All its boots run, several at once, each with a disk and a memory of its own.
    pub(crate) boots: fn(&Plan<'_>) -> Result<Vec<Boot>, Failure>,
}

/// A part that not every check needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A module of `lab/modules`.
    Module(&'static str),
    /// A module of the kernel that boots.
    KernelModule(&'static str),
    /// A kernel with IOMMUFD.
    Iommufd,
    /// fio, in the guest.
    Fio,
}

impl Need {
    /// Why it is not there, if it is not.
    pub(crate) fn missing(self, parts: &Parts) -> Option<String> {
        match self {
            Need::Module(name) => match &parts.modules {
                Ok(built) if built.contains_key(name) => None,
                Ok(_) => Some(format!("lab/modules has no {name}")),
                Err(why) => Some(format!("module {name}: {why}")),
            },
            Need::KernelModule(name) => match &parts.kernel {
                Ok(_) if parts.kernel_modules.contains_key(name) => None,
                Ok(_) => Some(format!("this kernel has no module {name}")),
                Err(why) => Some(format!("module {name}: {why}")),
            },
            Need::Iommufd => parts.iommufd.image().err(),
            Need::Fio => match &parts.debian {
                Ok(root) if root.path("usr/bin/fio").is_file() => None,
                Ok(_) => Some("fio is not among the unpacked packages".into()),
                Err(why) => Some(format!("fio: {why}")),
            },
        }
    }
}

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What finds most mistakes in some minutes.
    Quick,
    /// Every combination.
    Full,
}

/// What a check's boots are made from.
pub(crate) struct Plan<'a> {
    pub(crate) scope: Scope,
    /// For files that go into a guest; it lasts as long as the run.
    pub(crate) folder: &'a Path,
}
