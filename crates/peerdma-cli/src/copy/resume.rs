//! The file of `--resume`: how far an interrupted copy got. [`super::same`] says whether it is of this copy.

use super::account::{Account, Ended};
use super::request::Request;
use super::same::{Meant, Same, same, whole, whole_machine};
use crate::args::CopyArgs;
use crate::error::Problem;
use peerdma::engine::Check;
use peerdma_linux::ring::Identity;
use serde::{Deserialize, Serialize};
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
    /// What their block devices say of themselves: their names are given anew with every boot. Files of earlier versions do not say it, nor do all
    /// devices.
    #[serde(default)]
    source_device: Option<String>,
    #[serde(default)]
    destination_device: Option<String>,
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

/// An end, as a file of ours has it.
struct Kept<'s> {
    name: &'s str,
    is: Option<&'s str>,
    device: Option<&'s str>,
    file: Option<&'s str>,
}

impl Kept<'_> {
    /// Does it mean the same place?
    fn is(&self, end: &Meant<'_>) -> bool {
        match (self.device, &end.device) {
            (Some(device), now) => *now == Identity::Told(device.to_owned()),
            (None, Identity::Told(_) | Identity::Untold) if self.is.is_some() => self.is_now(&end.is),
            (None, _) => {
                let same_place = self.is.map_or(self.name == end.name, |is| is == end.is);
                same_place && whole(self.file) == end.file
            }
        }
    }

    /// Is `is` what the name means now? A link that udev keeps (`/dev/disk/by-id`) leads to the device under its new name, and the name that it had
    /// may be another's.
    fn is_now(&self, is: &str) -> bool {
        let now = match Path::new(self.name).is_absolute() {
            true => fs::canonicalize(self.name).ok(),
            false => None,
        };
        now.map_or(self.is == Some(is), |now| now == Path::new(is))
    }
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
            source_device: told(copy.source.device),
            destination_device: told(copy.destination.device),
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
        let source = Kept {
            name: &self.source,
            is: self.source_is.as_deref(),
            device: self.source_device.as_deref(),
            file: self.source_file.as_deref(),
        };
        let destination = Kept {
            name: &self.destination,
            is: self.destination_is.as_deref(),
            device: self.destination_device.as_deref(),
            file: self.destination_file.as_deref(),
        };
        whole_machine(&self.machine) == copy.machine
            && source.is(&copy.source)
            && destination.is(&copy.destination)
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

fn told(device: Identity) -> Option<String> {
    match device {
        Identity::Told(device) => Some(device),
        Identity::Untold | Identity::NoDevice => None,
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
        false => State::new(same(args, request), account.kept_bytes()).write(path),
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
            device: Identity::NoDevice,
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
    /// A disk that was typed as `name`, is `is` now, and says `device`.
    fn disk<'a>(name: &'a str, is: &str, device: Identity) -> Meant<'a> {
        Meant {
            device,
            ..end(name, is, Some(is))
        }
    }

    #[test]
    fn a_disk_is_the_same_under_its_new_name_and_another_with_its_old_name_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let paths =
            ["state", "sda", "sdb", "by-id"].map(|name| folder.path().canonicalize().unwrap().join(name));
        let [state, old, new, link] = &paths;
        let [old, new, link] = [old, new, link].map(|path| path.to_str().unwrap());
        for path in [old, new] {
            fs::write(path, "disk").unwrap();
        }
        let source = || end("0000:03:00.0", "0000:03:00.0/1", None);
        let told = |text: &str| Identity::Told(text.to_owned());
        let done = |end: Meant<'_>| State::done(state, &copy(source(), end)).ok();
        let keep = |end: Meant<'_>| State::new(copy(source(), end), 8192).write(state).unwrap();

        // It says what it is.
        keep(disk(link, old, told("naa.1")));
        for name in [new, link] {
            assert_eq!(done(disk(name, new, told("naa.1"))), Some(8192));
        }
        for other in [told("naa.2"), Identity::Untold, Identity::NoDevice] {
            assert_eq!(done(disk(old, old, other)), None);
        }

        // It does not, or did not: what was typed tells, by what it means now.
        std::os::unix::fs::symlink(old, link).unwrap();
        keep(disk(link, old, Identity::Untold));
        fs::remove_file(link).unwrap();
        std::os::unix::fs::symlink(new, link).unwrap();
        for now in [Identity::Untold, told("naa.1")] {
            assert_eq!(done(disk(link, new, now.clone())), Some(8192));
            assert_eq!(done(disk(new, new, now.clone())), Some(8192));
            assert_eq!(done(disk(old, old, now)), None);
        }
        keep(disk(old, old, Identity::Untold));
        assert_eq!(done(disk(old, old, Identity::Untold)), Some(8192));
        assert_eq!(done(disk(new, new, Identity::Untold)), None);
    }
}
