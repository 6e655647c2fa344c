//! How the command line fails: what went wrong, why, and what to do.

use crate::shown::{escaped, plain};
use serde::Serialize;
use std::fmt;
use std::io;

/// Bad input or usage.
pub(crate) const BAD_INPUT: u8 = 2;
/// Something was done, and the answer that tells of it could not be written.
const UNTOLD: u8 = 4;

/// A run that ended without its answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Told on stderr; exit code 2 where it does not say otherwise.
    Bad(Problem),
    /// Nobody reads our output any more (`| head`): quiet.
    NobodyReads,
}

/// What went wrong, why, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    pub(crate) error: String,
    pub(crate) why: String,
    pub(crate) fix: String,
    /// What of it is data, for JSON: the ways of a copy that are not possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rejected: Option<serde_json::Value>,
    #[serde(skip)]
    pub(crate) exit_code: u8,
}

impl Problem {
    pub(crate) fn new(error: impl fmt::Display, why: impl fmt::Display, fix: impl fmt::Display) -> Self {
        Self {
            error: error.to_string(),
            why: why.to_string(),
            fix: fix.to_string(),
            rejected: None,
            exit_code: BAD_INPUT,
        }
    }

    /// What the reader of the command line printed: the problem, perhaps tips, and the usage, in paragraphs.
    pub(crate) fn of_usage(printed: &str) -> Self {
        let mut parts: Vec<String> = printed
            .split("\n\n")
            .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|part| !part.is_empty() && !part.starts_with("For more information"))
            .collect();
        let error = if parts.is_empty() {
            String::new()
        } else {
            parts.remove(0)
        };
        let usage = parts.iter().position(|part| part.starts_with("Usage:"));
        let usage = usage.map(|index| parts.remove(index));
        parts.push("look at `peerdma --help`, or at --help of the command".into());
        Self::new(
            error.strip_prefix("error: ").unwrap_or(&error),
            usage
                .as_deref()
                .unwrap_or("the command line cannot be understood"),
            parts.join("; "),
        )
    }

    /// The same as an object that scripts can tell from an answer.
    pub(crate) fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Object<'a> {
            schema: &'a str,
            #[serde(flatten)]
            problem: &'a Problem,
        }
        let object = Object {
            schema: "peerdma.error/1",
            problem: self,
        };
        let json = serde_json::to_string(&object).unwrap_or_else(|_| self.error.clone());
        escaped(&json).into_owned()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (label, text) in [("error", &self.error), ("why", &self.why), ("fix", &self.fix)] {
            for (index, line) in text.lines().map(plain).enumerate() {
                match index {
                    0 => writeln!(f, "{:<7}{line}", format_args!("{label}:").to_string())?,
                    _ => writeln!(f, "       {line}")?,
                }
            }
        }
        Ok(())
    }
}

impl Failure {
    /// The same failure to write an answer, of a command that has done something: neither its exit code nor its words are those of one that has
    /// not. `became` is what the answer would have said of it.
    pub(crate) fn after(self, became: impl fmt::Display) -> Self {
        match self {
            Self::Bad(problem) => Self::Bad(Problem {
                error: format!("{}, but this was done:\n{became}", problem.error),
                exit_code: UNTOLD,
                ..problem
            }),
            Self::NobodyReads => Self::NobodyReads,
        }
    }
}

/// For commands whose exit code is an answer too: who closed the pipe has read enough, and still gets that.
///
/// # Errors
/// [`Failure`] where the answer could not be written for another reason.
pub(crate) fn unless_unread(told: Result<(), Failure>) -> Result<(), Failure> {
    match told {
        Err(Failure::NobodyReads) => Ok(()),
        told => told,
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Bad(problem)
    }
}

impl From<io::Error> for Failure {
    /// Only for writing to standard output: other errors know more and say it.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::NobodyReads;
        }
        Self::Bad(Problem::new(
            "the answer could not be written",
            error,
            "look at the disk or the program that standard output leads to",
        ))
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        io::Error::from(error).into()
    }
}
