//! peerdma's own format: a snapshot as JSON, versioned.
//!
//! ```json
//! {"peerdma_snapshot": 1, "captured_by": "peerdma 0.1.0", "snapshot": {"host": {}, "functions": []}}
//! ```
//!
//! A version is raised when a reader of the older one would misunderstand the newer; facts that an older
//! peerdma did not know are added without that, since a missing fact reads as unknown.

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod tests;

use crate::sysfs::MOST_FUNCTIONS;
use peerdma::snapshot::{Function, Host, Snapshot, Warnings};
use serde::de::{self, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, Write};

/// The version that is written, and the only one that is read.
pub const VERSION: u64 = 1;

/// JSON that is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It is no JSON, or a value in it is not of the expected form.
    #[error("line {} column {}: {}", .0.line(), .0.column(), Message(.0))]
    Form(#[source] serde_json::Error),
    /// It is JSON of something else.
    #[error(
        "this JSON has no member \"peerdma_snapshot\" at its top: it was not written by `peerdma snapshot`"
    )]
    NotASnapshot,
    /// It is of another version.
    #[error(
        "this snapshot has version {found}; this peerdma reads version {VERSION}: take the peerdma that wrote it \
         ({captured_by}), or capture the machine again"
    )]
    Version {
        /// Its version.
        found: u64,
        /// What it says of the program that wrote it.
        captured_by: String,
    },
}

/// Reads a snapshot.
///
/// # Errors
/// [`JsonError`] where it is none, or of a version that is not read.
pub fn read(text: &[u8], warnings: &mut Warnings) -> Result<Snapshot, JsonError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    // The version decides how the rest is read, wherever it stands.
    let head: Head = serde_json::from_slice(text).map_err(JsonError::Form)?;
    match head.peerdma_snapshot {
        None => return Err(JsonError::NotASnapshot),
        Some(VERSION) => {}
        Some(found) => {
            let captured_by = head.captured_by.unwrap_or_else(|| "unnamed".into());
            let captured_by = captured_by.escape_debug().take(100).collect();
            return Err(JsonError::Version { found, captured_by });
        }
    }
    let document: Document = serde_json::from_slice(text).map_err(JsonError::Form)?;
    let Body { host, functions } = document.snapshot;
    Ok(Snapshot::new(host, functions, warnings))
}

/// Writes a snapshot, ended by a line end.
///
/// # Errors
/// Those of `output`.
pub fn write(snapshot: &Snapshot, mut output: impl Write) -> io::Result<()> {
    let document = Written {
        peerdma_snapshot: VERSION,
        captured_by: concat!("peerdma ", env!("CARGO_PKG_VERSION")),
        snapshot,
    };
    serde_json::to_writer_pretty(&mut output, &document)?;
    output.write_all(b"\n")
}

#[derive(Deserialize)]
struct Head {
    peerdma_snapshot: Option<u64>,
    captured_by: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    snapshot: Body,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    host: Host,
    #[serde(deserialize_with = "bounded")]
    functions: Vec<Function>,
}

#[derive(Serialize)]
struct Written<'a> {
    peerdma_snapshot: u64,
    captured_by: &'static str,
    snapshot: &'a Snapshot,
}

/// Functions, as many as are ever taken in: a function in memory is much larger than its shortest text.
fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Function>, D::Error> {
    struct Functions;

    impl<'de> Visitor<'de> for Functions {
        type Value = Vec<Function>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MOST_FUNCTIONS} functions")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut functions = Vec::new();
            while functions.len() < MOST_FUNCTIONS {
                match list.next_element()? {
                    Some(function) => functions.push(function),
                    None => return Ok(functions),
                }
            }
            match list.next_element::<IgnoredAny>()? {
                None => Ok(functions),
                Some(_) => Err(de::Error::invalid_length(MOST_FUNCTIONS + 1, &self)),
            }
        }
    }

    deserializer.deserialize_seq(Functions)
}

/// A message without the place that `serde_json` adds at its end.
struct Message<'a>(&'a serde_json::Error);

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let end = text.rfind(" at line ").unwrap_or(text.len());
        f.write_str(text.get(..end).unwrap_or(&text))
    }
}
