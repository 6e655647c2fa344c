//! The file of `--resume`: how far an interrupted copy got.

use super::account::{Account, Ended};
use super::request::Request;
use crate::args::CopyArgs;
use crate::error::Problem;
use crate::ground::{End, Pattern, Place};
use peerdma::addr::Bdf;
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
    machine: String,
    /// As the command line named them.
    pub(super) source: String,
    pub(super) destination: String,
    /// What these names meant; files of earlier versions do not say it.
    #[serde(default)]
    source_is: Option<String>,
    #[serde(default)]
    destination_is: Option<String>,
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
    pub(super) source: Meant<'a>,
    pub(super) destination: Meant<'a>,
    /// Where each begins, in bytes.
    pub(super) offsets: [u64; 2],
    pub(super) bytes: u64,
    pub(super) seed: Option<u64>,
}

/// An end: one place has many names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meant<'a> {
    /// As the command line named it.
    pub(super) name: &'a str,
    /// What the name meant.
    pub(super) is: String,
    /// The file that keeps its content, in full.
    pub(super) file: Option<String>,
}

impl State {
    pub(super) fn new(copy: Same<'_>, done_bytes: u64) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            machine: copy.machine.into_owned(),
            source: copy.source.name.to_owned(),
            destination: copy.destination.name.to_owned(),
            source_is: Some(copy.source.is),
            destination_is: Some(copy.destination.is),
            source_file: copy.source.file,
            destination_file: copy.destination.file,
            source_offset: copy.offsets[0],
            destination_offset: copy.offsets[1],
            bytes: copy.bytes,
            seed: copy.seed,
            done_bytes,
        }
    }

    /// Is it of this copy? By what the names mean, not by how they are spelled.
    fn is_of(&self, copy: &Same<'_>) -> bool {
        let is_end = |name: &str, is: Option<&str>, file: Option<&str>, end: &Meant<'_>| {
            let same_place = is.map_or(name == end.name, |is| is == end.is);
            same_place && whole(file) == end.file
        };
        whole_machine(&self.machine) == copy.machine
            && is_end(
                &self.source,
                self.source_is.as_deref(),
                self.source_file.as_deref(),
                &copy.source,
            )
            && is_end(
                &self.destination,
                self.destination_is.as_deref(),
                self.destination_file.as_deref(),
                &copy.destination,
            )
            && [self.source_offset, self.destination_offset] == copy.offsets
            && (self.bytes, self.seed) == (copy.bytes, copy.seed)
    }

    /// How many bytes of `copy` are done already: none where there is no file.
    ///
    /// # Errors
    /// A [`Problem`] where the file is of another copy, or of none.
    pub(super) fn done(path: &Path, copy: &Same<'_>) -> Result<u64, Problem> {
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
        if !state.is_of(copy) {
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
    let [source_file, destination_file] = request.files.each_ref().map(|file| whole(file.as_deref()));
    Same {
        machine: match &args.machine {
            Some(machine) => whole_machine(&machine.to_string_lossy()).into_owned().into(),
            None => args.machine_name(),
        },
        source: meant(&request.source, source_file),
        destination: meant(&request.destination, destination_file),
        offsets: [request.source_offset, request.destination_offset],
        bytes: request.len_bytes,
        seed: match request.pattern {
            Some(Pattern::Seeded(seed)) => Some(seed),
            _ => None,
        },
    }
}

fn meant(end: &End, file: Option<String>) -> Meant<'_> {
    Meant {
        name: &end.name,
        is: match (end.place, &file) {
            (Place::Namespace(number), _) => format!("{}/{number}", end.initiator),
            (Place::Own(_), Some(path)) => path.clone(),
            (Place::Own(_), None) => end.name.clone(),
        },
        file,
    }
}

/// The path of a file in full; as it is where there is no such file. Nothing for what is no file: the address of a controller that our driver
/// has, which stands for what it keeps.
fn whole(file: Option<&str>) -> Option<String> {
    let file = file?;
    let is_controller = file
        .split('/')
        .next()
        .is_some_and(|name| name.parse::<Bdf>().is_ok());
    if is_controller {
        return None;
    }
    let path = fs::canonicalize(file).ok();
    let path = path.and_then(|path| Some(path.to_str()?.to_owned()));
    Some(path.unwrap_or_else(|| file.to_owned()))
}

/// The path of a machine file in full, or the name of a machine that ships.
fn whole_machine(machine: &str) -> Cow<'_, str> {
    match Path::new(machine).is_file() {
        true => whole(Some(machine)).map_or(Cow::Borrowed(machine), Cow::Owned),
        false => Cow::Borrowed(machine),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn end<'a>(name: &'a str, is: &str, file: Option<&str>) -> Meant<'a> {
        Meant {
            name,
            is: is.into(),
            file: whole(file),
        }
    }

    fn copy<'a>(source: Meant<'a>, destination: Meant<'a>) -> Same<'a> {
        Same {
            machine: "this machine".into(),
            source,
            destination,
            offsets: [0, 4096],
            bytes: 1 << 20,
            seed: None,
        }
    }

    #[test]
    fn another_spelling_of_the_same_ends_goes_on_with_the_copy() {
        let folder = tempfile::tempdir().unwrap();
        let [state, disk, link] = ["state", "disk", "by-id"].map(|name| folder.path().join(name));
        fs::write(&disk, "disk").unwrap();
        std::os::unix::fs::symlink(&disk, &link).unwrap();
        let [disk, link] = [&disk, &link].map(|path| path.to_str().unwrap());
        let place = whole(Some(disk)).unwrap();
        let first = copy(
            end("0000:03:00.0", "0000:03:00.0/1", Some("0000:03:00.0")),
            end(disk, &place, Some(disk)),
        );
        State::new(first, 8192).write(&state).unwrap();
        let again = copy(
            end("3:0.0/1", "0000:03:00.0/1", Some("0000:03:00.0/1")),
            end(link, &place, Some(link)),
        );
        assert_eq!(State::done(&state, &again), Ok(8192));
        for other in [
            copy(
                end("0000:03:00.0/2", "0000:03:00.0/2", None),
                again.destination.clone(),
            ),
            copy(
                again.source.clone(),
                end("disk2", "/dev/disk2", Some("/dev/disk2")),
            ),
            Same {
                bytes: 1 << 21,
                ..again.clone()
            },
            Same {
                offsets: [4096, 4096],
                ..again.clone()
            },
        ] {
            assert!(State::done(&state, &other).is_err(), "{other:?}");
        }
    }
}
