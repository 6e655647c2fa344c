//! What was decided on the way of a TLP, by whom, by which rule: the lines of a trace.

use super::route::Where;
use std::fmt;

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Note {
    /// Who decided.
    pub at: Where,
    /// What.
    pub what: &'static str,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}
