//! Where a machine comes from: one [`open`] for every kind of source.
//!
//! Called by the command line for `--from`, [`live`] for the machine at hand. A source is recognised by
//! its content, never by its name, from its first kilobyte: what cannot be read is refused before more
//! is read.

mod kind;
mod text;

use crate::json::{self, JsonError};
use crate::keep::KeepConfig;
use crate::lspci::{self, LspciError};
use crate::sysfs::{self, SysfsError};
use crate::tree::{ArchiveError, ArchiveLimits, ArchiveTree, Gap, LiveTree};
use kind::{HEAD_BYTES, Kind};
use peerdma::snapshot::{Snapshot, Warnings};
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use text::TextError;

/// A source that no machine can be read from.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be opened.
    #[error("{name}: cannot be opened: {source}{}", advice(.source))]
    Open {
        /// What was to be opened.
        name: String,
        /// Why it cannot.
        source: io::Error,
    },
    /// Reading it fails, or it is damaged where it is compressed.
    #[error("{name}: reading fails after {offset} bytes{}: {source}{}", unpacked(.kind), advice(.source))]
    Read {
        /// What was read.
        name: String,
        /// How many bytes were read, after decompression.
        offset: u64,
        /// How it was compressed, if it was.
        kind: Option<&'static str>,
        /// What failed.
        source: io::Error,
    },
    /// It is nothing that is understood.
    #[error(
        "{name}: not recognised: at offset 0 it {found}. Understood are: a sysfs tree as a folder, .tar, .tar.gz or \
         .tar.bz2; the output of `lspci -vvv`, -x, -xxx or -xxxx; a snapshot of `peerdma snapshot`; all of them \
         also through gzip or bzip2"
    )]
    Unrecognised {
        /// What was read.
        name: String,
        /// What stands there instead.
        found: String,
    },
    /// It is a text that is larger than is ever taken in.
    #[error("{name}: more than {limit_bytes} bytes of text, after decompression")]
    TooLarge {
        /// What was read.
        name: String,
        /// How many bytes are taken in.
        limit_bytes: u64,
    },
    /// It starts as a text and goes on with something else.
    #[error("{name}: a zero byte at offset {offset}, where {kind} was expected")]
    NotText {
        /// What was read.
        name: String,
        /// Where the byte is, after decompression.
        offset: u64,
        /// What its start looked like.
        kind: &'static str,
    },
    /// It is a sysfs tree that holds no machine.
    #[error("{name}: {source}")]
    Sysfs {
        /// What was read.
        name: String,
        /// What is wrong.
        source: SysfsError,
    },
    /// It is an archive that cannot be read.
    #[error("{name}: {source}")]
    Archive {
        /// What was read.
        name: String,
        /// What is wrong.
        source: ArchiveError,
    },
    /// It is JSON that is no snapshot.
    #[error("{name}: {source}")]
    Json {
        /// What was read.
        name: String,
        /// What is wrong, with line and column.
        source: JsonError,
    },
    /// It is a listing of `lspci` that cannot be read.
    #[error("{name}: {source}")]
    Lspci {
        /// What was read.
        name: String,
        /// What is wrong, with the line.
        source: LspciError,
    },
}

/// Reads the machine at `path`: a folder, a file, or standard input where it is `-`.
///
/// # Errors
/// [`SourceError`] where it cannot be read or is nothing that is understood; it says what was found.
pub fn open(path: &Path, keep: KeepConfig, warnings: &mut Warnings) -> Result<Snapshot, SourceError> {
    if path.as_os_str() == "-" {
        return read(io::stdin().lock(), "standard input", 0, keep, warnings);
    }
    let name = path.display().to_string();
    let opened = File::open(path).and_then(|file| {
        let metadata = file.metadata()?;
        Ok((file, metadata))
    });
    match opened {
        Ok((_, metadata)) if metadata.is_dir() => live(path, keep, warnings),
        Ok((file, metadata)) => read(file, &name, metadata.len(), keep, warnings),
        Err(source) => Err(SourceError::Open { name, source }),
    }
}

/// Reads the sysfs tree in the folder `root`: `/` for the machine at hand, or a copy of one.
///
/// # Errors
/// [`SourceError`] where there is no such folder, or it holds no PCI functions.
pub fn live(root: &Path, keep: KeepConfig, warnings: &mut Warnings) -> Result<Snapshot, SourceError> {
    let name = || root.display().to_string();
    let tree = LiveTree::open(root).map_err(|gap| SourceError::Open {
        name: name(),
        source: match gap {
            Gap::Missing => io::ErrorKind::NotFound.into(),
            Gap::AccessDenied => io::ErrorKind::PermissionDenied.into(),
            Gap::Failed(number) => io::Error::from_raw_os_error(number),
            other => io::Error::other(other.to_string()),
        },
    })?;
    sysfs::read(&tree, warnings, keep).map_err(|source| SourceError::Sysfs { name: name(), source })
}

/// Reads the machine in a stream of bytes. `name` stands in messages; `length_hint` is how many bytes are
/// expected, 0 where nobody knows.
///
/// # Errors
/// As [`open`].
pub fn read(
    mut input: impl Read,
    name: &str,
    length_hint: u64,
    keep: KeepConfig,
    warnings: &mut Warnings,
) -> Result<Snapshot, SourceError> {
    let head = take_head(&mut input, name, None)?;
    let kind = kind::recognise(&head);
    let input = Cursor::new(head.clone()).chain(input);
    match kind {
        Kind::Gzip => {
            let input = flate2::read::MultiGzDecoder::new(BufReader::with_capacity(CHUNK_BYTES, input));
            unpacked_read(input, name, "gzip", keep, warnings)
        }
        Kind::Bzip2 => {
            let input = bzip2::read::MultiBzDecoder::new(BufReader::with_capacity(CHUNK_BYTES, input));
            unpacked_read(input, name, "bzip2", keep, warnings)
        }
        kind => content(kind, input, &head, name, length_hint, None, keep, warnings),
    }
}

const CHUNK_BYTES: usize = 64 << 10;

/// Reads what was compressed once; what is compressed twice is not recognised.
fn unpacked_read(
    mut input: impl Read,
    name: &str,
    how: &'static str,
    keep: KeepConfig,
    warnings: &mut Warnings,
) -> Result<Snapshot, SourceError> {
    let head = take_head(&mut input, name, Some(how))?;
    let kind = kind::recognise(&head);
    let input = Cursor::new(head.clone()).chain(input);
    content(kind, input, &head, name, 0, Some(how), keep, warnings)
}

#[expect(clippy::too_many_arguments, reason = "the last step of one way, split off only for its two callers")]
fn content(
    kind: Kind,
    input: impl Read,
    head: &[u8],
    name: &str,
    length_hint: u64,
    how: Option<&'static str>,
    keep: KeepConfig,
    warnings: &mut Warnings,
) -> Result<Snapshot, SourceError> {
    let text = |expected| {
        text::read(input, length_hint).map_err(|error| match error {
            TextError::Zero { offset } => SourceError::NotText {
                name: name.into(),
                offset,
                kind: expected,
            },
            TextError::TooLarge { limit_bytes } => SourceError::TooLarge {
                name: name.into(),
                limit_bytes,
            },
            TextError::Read { offset, source } => SourceError::Read {
                name: name.into(),
                offset,
                kind: how,
                source,
            },
        })
    };
    match kind {
        Kind::Tar => {
            let tree = ArchiveTree::read(input, ArchiveLimits::default(), warnings).map_err(|source| {
                SourceError::Archive {
                    name: name.into(),
                    source,
                }
            })?;
            sysfs::read(&tree, warnings, keep).map_err(|source| SourceError::Sysfs {
                name: name.into(),
                source,
            })
        }
        Kind::Json => json::read(&text("JSON")?, warnings).map_err(|source| SourceError::Json {
            name: name.into(),
            source,
        }),
        Kind::Lspci => {
            lspci::read(&text("the output of lspci")?, keep, warnings).map_err(|source| SourceError::Lspci {
                name: name.into(),
                source,
            })
        }
        kind => Err(SourceError::Unrecognised {
            name: name.into(),
            found: match how {
                None => kind.describe(head),
                Some(how) => format!("is {how}, of which the content {}", kind.describe(head)),
            },
        }),
    }
}

/// The first bytes of a source.
fn take_head(input: &mut impl Read, name: &str, how: Option<&'static str>) -> Result<Vec<u8>, SourceError> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    match input.take(HEAD_BYTES as u64).read_to_end(&mut head) {
        Ok(_) => Ok(head),
        Err(source) => Err(SourceError::Read {
            name: name.into(),
            offset: head.len() as u64,
            kind: how,
            source,
        }),
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => " (run as a user who may read it, or as root)",
        io::ErrorKind::NotFound => " (check the path)",
        _ => "",
    }
}

fn unpacked(kind: &Option<&'static str>) -> String {
    kind.map(|kind| format!(" of {kind}-compressed content"))
        .unwrap_or_default()
}
