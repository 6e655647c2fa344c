//! Simulated time.

use std::fmt;

/// A point of simulated time, in picoseconds since the machine was switched on: 213 days fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// When the machine was switched on.
    pub const ZERO: Self = Self(0);
    /// Later than everything.
    pub const NEVER: Self = Self(u64::MAX);

    /// The point `ps` picoseconds after the start.
    pub const fn from_ps(ps: u64) -> Self {
        Self(ps)
    }

    /// Picoseconds since the start.
    pub const fn as_ps(self) -> u64 {
        self.0
    }

    /// The point `ps` picoseconds later; [`Self::NEVER`] past the end of time.
    #[must_use]
    pub const fn after_ps(self, ps: u64) -> Self {
        Self(self.0.saturating_add(ps))
    }
}

impl fmt::Display for Time {
    /// In nanoseconds, with picoseconds behind the point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} ns", self.0 / 1000, self.0 % 1000)
    }
}
