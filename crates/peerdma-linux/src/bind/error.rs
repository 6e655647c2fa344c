//! What went wrong while functions changed hands, and what became of them.

use super::Step;
use peerdma::addr::Bdf;
use std::fmt;
use std::io;

/// A step that failed.
#[derive(Debug)]
pub struct BindError {
    /// Of which function.
    pub bdf: Bdf,
    /// What was to be done; nothing where all was done and the kernel did not do it.
    pub step: Option<Step>,
    /// Why it failed.
    pub source: io::Error,
    /// What became of the steps before it.
    pub undone: Undone,
}

/// What became of what had been done.
#[derive(Debug)]
pub enum Undone {
    /// Everything is as it was.
    Whole,
    /// Undoing failed too.
    No {
        /// Which function is not as it was.
        bdf: Bdf,
        /// What was to be done.
        step: Box<Step>,
        /// Why that failed.
        source: io::Error,
    },
}

impl BindError {
    /// What to do.
    pub fn fix(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::PermissionDenied => "run as root, who owns these files, outside of any container",
            io::ErrorKind::ResourceBusy => "nothing of it was taken away from whoever uses it: plan it again",
            io::ErrorKind::ReadOnlyFilesystem => {
                "run outside of any container: /sys is read-only in this one"
            }
            _ => "look at the end of `dmesg`: the driver says there why it does not take the function",
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(f, "{}: to {step} failed: {}", self.bdf, self.source),
            None => write!(f, "{}: {}", self.bdf, self.source),
        }?;
        match &self.undone {
            Undone::Whole => f.write_str("; everything is as it was"),
            Undone::No { bdf, step, source } => write!(
                f,
                "; and it could not be undone: {bdf}: to {step} failed: {source}"
            ),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
