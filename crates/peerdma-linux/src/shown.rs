//! Bytes from outside in messages: whatever they are, no terminal is moved by them.

use std::fmt;

/// A name from outside, fit to be printed.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 200;
        let start = self.0.get(..MOST).unwrap_or(self.0);
        write!(f, "{}", start.escape_ascii())
    }
}
