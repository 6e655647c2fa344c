//! What is wrong with a machine file, where, and what to write instead.

use std::fmt;

/// A place in a machine file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct At {
    /// Line, from 1; 0 for a machine that comes from no file.
    pub line: u32,
    /// Column, in characters, from 1.
    pub column: u32,
}

/// No machine can be made of a machine file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineError {
    /// Where.
    pub at: At,
    /// What is wrong.
    pub wrong: Wrong,
}

/// What is wrong with a machine file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// It is larger than is ever taken in.
    #[error(
        "the file has {size_bytes} bytes; a machine file has at most {}: leave out comments and keys that say what is so by \
         itself",
        super::MOST_FILE_BYTES
    )]
    FileTooLarge {
        /// How large it is.
        size_bytes: u64,
    },
    /// It is no TOML.
    #[error("{message}")]
    Toml {
        /// What the parser says.
        message: String,
    },
    /// Tables or arrays lie in one another deeper than the parser follows.
    #[error(
        "tables or arrays are nested too deeply to be read; nothing that can be written here is: take the inner ones out"
    )]
    Nested,
    /// There are too many of something.
    #[error(
        "there are more than {most} {what}, which is all that there can be; leave out those from here on"
    )]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// A key that nothing here has.
    #[error("{}", unknown_key(.key, .table, .known))]
    UnknownKey {
        /// The key.
        key: String,
        /// Of what.
        table: &'static str,
        /// The keys that there are: one that is similar first, the others by name.
        known: Vec<&'static str>,
    },
    /// A key is missing.
    #[error("{table} needs `{key}`: {expected}")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// Of what.
        table: &'static str,
        /// What to write.
        expected: &'static str,
    },
    /// A value that does not say what it should.
    #[error("`{key}` is {found}; write {expected}")]
    Value {
        /// The key.
        key: String,
        /// What stands there, shortened.
        found: String,
        /// What to write.
        expected: String,
    },
    /// Two things with one name.
    #[error("the name `{name}` is taken in line {first_line}; every name names one thing")]
    SameName {
        /// The name.
        name: String,
        /// Where it was used first; 0 for a machine that comes from no file.
        first_line: u32,
    },
    /// Two things that cannot both be.
    #[error("{what}; {instead}")]
    Conflict {
        /// What contradicts what.
        what: String,
        /// What to write instead.
        instead: String,
    },
    /// Bridges are nested too deeply.
    #[error(
        "more than {} bridges lie above one another (a switch counts twice: the port above it, and its own); plug the \
         rest in further up",
        super::MOST_LEVELS
    )]
    TooDeep,
    /// There are too many functions.
    #[error(
        "the machine has more than {} functions, which is all that is simulated; leave out those from here on",
        crate::firmware::MOST_FUNCTIONS
    )]
    TooManyFunctions,
    /// A domain has no bus numbers left.
    #[error(
        "PCI domain {domain:#x} has no bus number left for this (it has 256); give one of its host bridges another \
         `domain`, or start at a lower `bus`"
    )]
    NoBus {
        /// The domain.
        domain: u32,
    },
    /// A bus has no place for a function.
    #[error("{what}; {instead}")]
    NoSlot {
        /// What has no place.
        what: String,
        /// What to do.
        instead: &'static str,
    },
    /// BARs do not fit into a window.
    #[error("{need_bytes:#x} bytes of BARs, aligned to {align_bytes:#x}, find no room in {place}; {instead}")]
    NoRoom {
        /// How much is needed.
        need_bytes: u64,
        /// How it must be aligned.
        align_bytes: u64,
        /// Where there is no room.
        place: &'static str,
        /// What to do.
        instead: &'static str,
    },
}

impl Wrong {
    pub(crate) fn at(self, at: At) -> MachineError {
        MachineError { at, wrong: self }
    }
}

impl fmt::Display for MachineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.line > 0 {
            write!(f, "line {}, column {}: ", self.at.line, self.at.column)?;
        }
        write!(f, "{}", self.wrong)
    }
}

impl std::error::Error for MachineError {}

fn unknown_key(key: &str, table: &str, known: &[&str]) -> String {
    let nearest = known.first().filter(|nearest| is_similar(key, nearest));
    match nearest {
        Some(nearest) => format!("{table} has no `{key}`; did you mean `{nearest}`?"),
        None => format!("{table} has no `{key}`; it has {}", known.join(", ")),
    }
}

/// Is `a` likely a misspelt `b`?
pub(super) fn is_similar(a: &str, b: &str) -> bool {
    distance(a, b) <= 1 + b.len() / 3
}

/// How many letters must be changed, added or dropped to make `b` of `a` (only the start of long words counts).
pub(super) fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(32).map(|c| c.to_ascii_lowercase()).collect();
    let b: Vec<char> = b.chars().take(32).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, &from) in a.iter().enumerate() {
        let mut diagonal = line;
        row[0] = line + 1;
        for (column, &to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}
