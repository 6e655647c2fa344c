//! What a reader or a builder found wrong without giving up.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// One thing that was wrong: where, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Warning {
    /// A function's address, a file, a line.
    pub at: String,
    /// What is wrong and what follows from it.
    pub what: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// A bounded collection of warnings: hostile input can cause millions, of which the first
/// [`Warnings::MOST`] are kept and the rest counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Warnings {
    list: Vec<Warning>,
    left_out: u64,
}

impl Warnings {
    /// How many warnings are kept.
    pub const MOST: usize = 256;

    /// Adds a warning, or counts it where there are too many.
    pub fn push(&mut self, at: impl fmt::Display, what: impl fmt::Display) {
        if self.list.len() < Self::MOST {
            self.list.push(Warning {
                at: at.to_string(),
                what: what.to_string(),
            });
        } else {
            self.left_out += 1;
        }
    }

    /// The warnings that were kept.
    pub fn list(&self) -> &[Warning] {
        &self.list
    }

    /// How many more there were.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_warnings_are_kept_and_the_rest_counted() {
        let mut warnings = Warnings::default();
        for index in 0..Warnings::MOST + 3 {
            warnings.push(index, "wrong");
        }
        assert_eq!(warnings.list().len(), Warnings::MOST);
        assert_eq!(warnings.left_out(), 3);
        assert_eq!(warnings.list()[Warnings::MOST - 1].at, "255");
    }
}
