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
use std::io::{self, BufReader, Chain, Cursor, Read};
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
    #[error("{name}: reading fails after {offset} bytes{}: {source}{}", unpacked(.how), advice(.source))]
    Read {
        /// What was read.
        name: String,
        /// How many bytes were read, after decompression.
        offset: u64,
        /// How it was compressed, if it was.
        how: Option<&'static str>,
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
    #[error("{name}: a zero byte at offset {offset}, where {expected} was expected")]
    NotText {
        /// What was read.
        name: String,
        /// Where the byte is, after decompression.
        offset: u64,
        /// What its start looked like.
        expected: &'static str,
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
    input: impl Read,
    name: &str,
    length_hint: u64,
    keep: KeepConfig,
    warnings: &mut Warnings,
) -> Result<Snapshot, SourceError> {
    let plain = Opened::new(input, name, length_hint, None)?;
    match plain.kind {
        Kind::Gzip => {
            let input = flate2::read::MultiGzDecoder::new(BufReader::with_capacity(CHUNK_BYTES, plain.input));
            Opened::new(input, name, 0, Some("gzip"))?.read(keep, warnings)
        }
        Kind::Bzip2 => {
            let input = bzip2::read::MultiBzDecoder::new(BufReader::with_capacity(CHUNK_BYTES, plain.input));
            Opened::new(input, name, 0, Some("bzip2"))?.read(keep, warnings)
        }
        _ => plain.read(keep, warnings),
    }
}

const CHUNK_BYTES: usize = 64 << 10;

/// A stream of which the start was looked at.
struct Opened<'a, R> {
    name: &'a str,
    length_hint: u64,
    /// How it was compressed, if it was.
    how: Option<&'static str>,
    kind: Kind,
    head: Vec<u8>,
    input: Chain<Cursor<Vec<u8>>, R>,
}

impl<'a, R: Read> Opened<'a, R> {
    fn new(
        mut input: R,
        name: &'a str,
        length_hint: u64,
        how: Option<&'static str>,
    ) -> Result<Self, SourceError> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        if let Err(source) = input.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head) {
            return Err(SourceError::Read {
                name: name.into(),
                offset: head.len() as u64,
                how,
                source,
            });
        }
        Ok(Self {
            name,
            length_hint,
            how,
            kind: kind::recognise(&head),
            input: Cursor::new(head.clone()).chain(input),
            head,
        })
    }

    /// Reads the machine; what is compressed once more is not recognised.
    fn read(self, keep: KeepConfig, warnings: &mut Warnings) -> Result<Snapshot, SourceError> {
        let name = || self.name.into();
        match self.kind {
            Kind::Tar => {
                let tree = ArchiveTree::read(self.input, ArchiveLimits::default(), warnings)
                    .map_err(|source| SourceError::Archive { name: name(), source })?;
                sysfs::read(&tree, warnings, keep)
                    .map_err(|source| SourceError::Sysfs { name: name(), source })
            }
            Kind::Json => {
                let text = text::read(self.input, self.length_hint)
                    .map_err(|error| error.named(self.name, self.how, "JSON"))?;
                json::read(&text, warnings).map_err(|source| SourceError::Json { name: name(), source })
            }
            Kind::Lspci => {
                let mut listing = lspci::Reader::new(keep);
                text::read_lines(self.input, |lines| {
                    listing.push(lines, warnings).map_err(ListingError::Listing)
                })
                .and_then(|()| listing.finish(warnings).map_err(ListingError::Listing))
                .map_err(|error| match error {
                    ListingError::Text(error) => error.named(self.name, self.how, "the output of lspci"),
                    ListingError::Listing(source) => SourceError::Lspci { name: name(), source },
                })
            }
            kind => {
                let found = kind.describe(&self.head);
                Err(SourceError::Unrecognised {
                    name: name(),
                    found: match self.how {
                        None => found,
                        Some(how) => format!("is {how}, the content of which {found}"),
                    },
                })
            }
        }
    }
}

/// What can go wrong between a text and its lines.
enum ListingError {
    Text(TextError),
    Listing(LspciError),
}

impl From<TextError> for ListingError {
    fn from(error: TextError) -> Self {
        Self::Text(error)
    }
}

impl TextError {
    /// The same, of this source, where `expected` was to be read.
    fn named(self, name: &str, how: Option<&'static str>, expected: &'static str) -> SourceError {
        let name = name.into();
        match self {
            TextError::Zero { offset } => SourceError::NotText {
                name,
                offset,
                expected,
            },
            TextError::TooLarge { limit_bytes } => SourceError::TooLarge { name, limit_bytes },
            TextError::Read { offset, source } => SourceError::Read {
                name,
                offset,
                how,
                source,
            },
        }
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => " (run as a user who may read it, or as root)",
        io::ErrorKind::NotFound => " (check the path)",
        _ => "",
    }
}

fn unpacked(how: &Option<&'static str>) -> String {
    how.map(|how| format!(" of {how}-compressed content"))
        .unwrap_or_default()
}
