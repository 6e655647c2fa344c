//! The file of `--resume`: how far an interrupted copy got.

use super::account::{Account, Ended};
use super::request::Request;
use crate::args::CopyArgs;
use crate::error::Problem;
use crate::ground::Pattern;
use peerdma::engine::Check;

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

const SCHEMA: &str = "peerdma.copy-resume/1";
/// A file of ours has a few hundred bytes.
const MOST_BYTES: u64 = 1 << 16;

/// Which copy, and how far it got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    schema: String,
    /// As the command line named them.
    pub(super) machine: String,
    pub(super) source: String,
    pub(super) destination: String,
    /// The files in the place of the media.
    pub(super) source_file: Option<String>,
    pub(super) destination_file: Option<String>,
    /// Where the copy begins, in bytes.
    pub(super) source_offset: u64,
    pub(super) destination_offset: u64,
    pub(super) bytes: u64,
    /// The pattern of a source without an image.
    pub(super) seed: Option<u64>,
    /// So many bytes from the start on were written, and proven.
    pub(super) done_bytes: u64,
}

/// What makes two copies the same copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Same<'a> {
    pub(super) machine: Cow<'a, str>,
    pub(super) source: &'a str,
    pub(super) destination: &'a str,
    pub(super) source_file: Option<&'a str>,
    pub(super) destination_file: Option<&'a str>,
    pub(super) source_offset: u64,
    pub(super) destination_offset: u64,
    pub(super) bytes: u64,
    pub(super) seed: Option<u64>,
}

impl State {
    pub(super) fn new(copy: Same<'_>, done_bytes: u64) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            machine: copy.machine.into_owned(),
            source: copy.source.to_owned(),
            destination: copy.destination.to_owned(),
            source_file: copy.source_file.map(str::to_owned),
            destination_file: copy.destination_file.map(str::to_owned),
            source_offset: copy.source_offset,
            destination_offset: copy.destination_offset,
            bytes: copy.bytes,
            seed: copy.seed,
            done_bytes,
        }
    }

    fn copy(&self) -> Same<'_> {
        Same {
            machine: Cow::Borrowed(&self.machine),
            source: &self.source,
            destination: &self.destination,
            source_file: self.source_file.as_deref(),
            destination_file: self.destination_file.as_deref(),
            source_offset: self.source_offset,
            destination_offset: self.destination_offset,
            bytes: self.bytes,
            seed: self.seed,
        }
    }

    /// How many bytes of `copy` are done already: none where there is no file.
    ///
    /// # Errors
    /// A [`Problem`] where the file is of another copy, or of none.
    pub(super) fn done(path: &Path, copy: Same<'_>) -> Result<u64, Problem> {
        let bad = |why: &dyn std::fmt::Display, fix: &str| {
            Problem::new(
                format_args!("the copy cannot go on from {}", path.display()),
                why,
                fix,
            )
        };
        let text = match read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(bad(&error, "check the path and its permissions")),
        };
        let other = "give the file that the interrupted copy wrote, or the name of a new one";
        let state: Self = serde_json::from_str(&text).map_err(|error| bad(&error, other))?;
        if state.schema != SCHEMA {
            return Err(bad(
                &format_args!("its schema is {}, not {SCHEMA}", state.schema),
                other,
            ));
        }
        if state.copy() != copy {
            let end = |name: &str, file: &Option<String>| match file {
                Some(file) => format!("{name} ({file})"),
                None => name.to_owned(),
            };
            let why = format!(
                "it is of another copy: {} bytes of {} to {} on {}",
                state.bytes,
                end(&state.source, &state.source_file),
                end(&state.destination, &state.destination_file),
                state.machine
            );
            return Err(bad(&why, other));
        }
        match state.done_bytes <= state.bytes {
            true => Ok(state.done_bytes),
            false => Err(bad(&"it says that more is done than there is", other)),
        }
    }

    /// Writes the file: the old one stays until the new one is whole.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let beside = path.with_file_name(name);
        let mut file = fs::File::create(&beside)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&beside, path)
    }
}

fn read(path: &Path) -> io::Result<String> {
    use std::io::Read;
    // Opening a pipe would wait for somebody to write to it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    fs::File::open(path)?.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// What makes it the same copy.
pub(super) fn same<'a>(args: &'a CopyArgs, request: &'a Request) -> Same<'a> {
    Same {
        machine: args.machine_name(),
        source_file: request.files[0].as_deref(),
        destination_file: request.files[1].as_deref(),
        source: &request.source.name,
        destination: &request.destination.name,
        source_offset: request.source_offset,
        destination_offset: request.destination_offset,
        bytes: request.len_bytes,
        seed: match request.pattern {
            Some(Pattern::Seeded(seed)) => Some(seed),
            _ => None,
        },
    }
}

/// Keeps what an interrupted copy has done, and removes the file of one that is whole.
///
/// # Errors
/// A sentence: the copy itself is as it is, and what became of it is still to be told.
pub(super) fn keep_state(args: &CopyArgs, request: &Request, account: &Account) -> Result<(), String> {
    let Some(path) = &args.resume else {
        return Ok(());
    };
    // All of it may be written and not yet read back: the next run does that.
    let is_done = account.ended == Ended::Whole && account.check != Some(Check::Cancelled);
    let written = match is_done {
        true => match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        false => {
            // What was read back and found wrong is copied again.
            let good_bytes = match &account.check {
                Some(Check::Differs(mismatch)) => mismatch.offset_bytes,
                _ => u64::MAX,
            };
            let done_bytes = account.counts.durable_bytes.min(good_bytes);
            State::new(same(args, request), done_bytes).write(path)
        }
    };
    written.map_err(|error| match is_done {
        true => format!("{} could not be removed: {error}", path.display()),
        false => format!("{} could not be written: {error}", path.display()),
    })
}
