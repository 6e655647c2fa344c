//! What checks found: a line each, and the sum.
//!
//! Called by [`super::run`] and [`super::boot`]; checks make [`Line`]s.

use std::fmt;
use std::sync::Mutex;

/// What became of a check, or of one part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done, and what was seen is what was promised.
    Held,
    /// It was done, and something else was seen.
    Failed,
    /// Something that it needs is not there: it was not done.
    Missing,
    /// It was begun, came to nothing by no fault of what is checked, and was done anew: said beside what that came to.
    Again,
}

impl Outcome {
    /// Reads what a guest writes.
    pub(crate) fn read(word: &str) -> Option<Self> {
        [Outcome::Held, Outcome::Failed, Outcome::Missing]
            .into_iter()
            .find(|outcome| outcome.word() == word)
    }

    fn word(self) -> &'static str {
        match self {
            Outcome::Held => "ok",
            Outcome::Failed => "FAIL",
            Outcome::Missing => "MISSING",
            Outcome::Again => "AGAIN",
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) outcome: Outcome,
    pub(crate) name: String,
    /// What was seen.
    pub(crate) text: String,
}

impl Line {
    pub(crate) fn held(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Outcome::Held, name, text)
    }

    pub(crate) fn failed(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Outcome::Failed, name, text)
    }

    pub(crate) fn missing(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Outcome::Missing, name, text)
    }

    pub(crate) fn again(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Outcome::Again, name, text)
    }

    pub(crate) fn new(outcome: Outcome, name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            outcome,
            name: name.into(),
            text: text.into(),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7} {}  {}", self.outcome.word(), self.name, self.text)
    }
}

/// All lines so far; each is printed as it comes.
#[derive(Default)]
pub(crate) struct Report(Mutex<Vec<Line>>);

/// How many lines of each kind there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sum {
    pub(crate) held: usize,
    pub(crate) failed: usize,
    pub(crate) missing: usize,
    pub(crate) again: usize,
}

impl Report {
    /// Prints lines that belong together and keeps them.
    pub(crate) fn add(&self, lines: Vec<Line>) {
        let mut all = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for line in lines {
            println!("{line}");
            all.push(line);
        }
    }

    pub(crate) fn sum(&self) -> Sum {
        let all = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let count = |outcome| all.iter().filter(|line| line.outcome == outcome).count();
        Sum {
            held: count(Outcome::Held),
            failed: count(Outcome::Failed),
            missing: count(Outcome::Missing),
            again: count(Outcome::Again),
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            held,
            failed,
            missing,
            again,
        } = self;
        write!(f, "{held} held, {failed} failed, {missing} missing")?;
        match again {
            0 => Ok(()),
            again => write!(f, ", {again} booted twice"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_never_counted_as_held() {
        let report = Report::default();
        report.add(vec![
            Line::held("a", ""),
            Line::missing("b", ""),
            Line::failed("c", ""),
            Line::missing("d", ""),
            Line::again("e", ""),
        ]);
        let sum = report.sum();
        assert_eq!((sum.held, sum.failed, sum.missing), (1, 1, 2));
        assert_eq!(sum.to_string(), "1 held, 1 failed, 2 missing, 1 booted twice");
        assert_eq!(Outcome::read("ok"), Some(Outcome::Held));
        assert_eq!(Outcome::read("OK"), None);
    }
}
