//! A tree of small files and links, as sysfs is one: what [`crate::sysfs`] reads from.
//!
//! - [`LiveTree`]: a real folder, the running machine's among them;
//! - [`ArchiveTree`]: a tar archive, read once into memory.
//!
//! A tree is only ever read. Nothing here knows what the files mean, except that `config` is
//! configuration space, of which it matters whether it is whole.

mod archive;
mod live;
mod member;
mod tarball;

pub use archive::{ArchiveTree, Position};
pub use live::LiveTree;
pub use tarball::{ArchiveError, ArchiveLimits};

use crate::keep::KeepConfig;
use peerdma::fact::Unread;
use peerdma::pci::{ConfigView, Extent};
use std::fmt;

/// Where small files are read from.
pub trait Tree {
    /// An open folder.
    type Folder;

    /// The folder that everything else is reached from.
    fn root(&self) -> &Self::Folder;

    /// Opens the folder `path` below `at`; links are followed.
    ///
    /// # Errors
    /// [`Gap`] where there is no such folder, or it may not be opened.
    fn folder(&self, at: &Self::Folder, path: &[u8]) -> Result<Self::Folder, Gap>;

    /// Are the two one and the same folder?
    fn same(&self, one: &Self::Folder, other: &Self::Folder) -> bool;

    /// Replaces `listing` by the entries of `folder`, in no particular order.
    ///
    /// # Errors
    /// [`Gap`] where the folder cannot be read, or holds more than [`Listing::MOST_BYTES`] of names.
    fn list(&self, folder: &Self::Folder, listing: &mut Listing) -> Result<(), Gap>;

    /// Is there an entry `name` in `at`? Links are not followed.
    fn has(&self, at: &Self::Folder, name: &[u8]) -> bool;

    /// Reads the start of the file `path` below `at`, as much as `buffer` takes; says how many bytes.
    ///
    /// # Errors
    /// [`Gap`] where there is no such file, or it may not be read.
    fn read(&self, at: &Self::Folder, path: &[u8], buffer: &mut [u8]) -> Result<usize, Gap>;

    /// Reads the file `path` below `at` up to its end, at most `most_bytes`. Unlike [`Self::read`] it does not stop at the end of a
    /// line: longer files of `proc` come in several pieces.
    ///
    /// # Errors
    /// [`Gap`] where there is no such file, or it may not be read.
    fn read_whole(&self, at: &Self::Folder, path: &[u8], most_bytes: usize) -> Result<Vec<u8>, Gap>;

    /// Reads configuration space from the file `config` in `at`; says how many bytes, and whether
    /// there may be more. Unless it is to be kept, a live one may hold 0 wherever its meaning does
    /// not depend on the byte.
    ///
    /// # Errors
    /// [`Gap`] where there is no such file, or it may not be read.
    fn read_config(
        &self,
        at: &Self::Folder,
        keep: KeepConfig,
        buffer: &mut [u8],
    ) -> Result<(usize, Extent), Gap>;

    /// Reads the target of the link `name` in `at`; says how many bytes it has.
    ///
    /// # Errors
    /// [`Gap`] where there is no such link ([`Gap::NotALink`] where it is something else).
    fn link(&self, at: &Self::Folder, name: &[u8], buffer: &mut [u8]) -> Result<usize, Gap>;
}

/// How far to trust the length of a recorded configuration space: 64 and 256 bytes may also be what
/// whoever made the copy was allowed to read, or chose to.
fn recorded(length: usize) -> (usize, Extent) {
    match length >= ConfigView::MAX_BYTES {
        true => (length, Extent::Whole),
        false => (length, Extent::MayGoOn),
    }
}

/// Why something could not be read from a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// It is not there.
    Missing,
    /// It is there, and permission is missing.
    AccessDenied,
    /// It is there, and it is no link.
    NotALink,
    /// A folder holds more names than are ever taken in.
    TooMany,
    /// The operating system failed otherwise, with this number.
    Failed(i32),
}

impl Gap {
    /// Why a fact that would have stood there is unknown.
    pub fn unread(self) -> Unread {
        match self {
            Gap::AccessDenied => Unread::AccessDenied,
            Gap::Failed(_) => Unread::Unreadable,
            Gap::Missing | Gap::NotALink | Gap::TooMany => Unread::NotInSource,
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gap::Missing => f.write_str("there is no such file or folder"),
            Gap::AccessDenied => f.write_str("permission denied"),
            Gap::NotALink => f.write_str("it is not a link"),
            Gap::TooMany => f.write_str("the folder holds too many entries"),
            Gap::Failed(number) => write!(f, "{}", std::io::Error::from_raw_os_error(*number)),
        }
    }
}

/// What an entry of a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A link.
    Link,
    /// The file system did not say, or it is something else.
    Other,
}

/// The entries of a folder; kept between folders so that its memory is used again.
#[derive(Debug, Default)]
pub struct Listing {
    names: Vec<u8>,
    entries: Vec<(usize, EntryKind)>,
}

impl Listing {
    /// How many bytes of names are taken in: those of two million functions.
    pub const MOST_BYTES: usize = 32 << 20;

    /// The entries, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], EntryKind)> {
        let mut start = 0;
        self.entries.iter().map(move |&(end, kind)| {
            let name = self.names.get(start..end).unwrap_or_default();
            start = end;
            (name, kind)
        })
    }

    /// Forgets all entries.
    pub fn clear(&mut self) {
        self.names.clear();
        self.entries.clear();
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// [`Gap::TooMany`] where there are too many.
    pub fn push(&mut self, name: &[u8], kind: EntryKind) -> Result<(), Gap> {
        if self.names.len() + name.len() > Self::MOST_BYTES {
            return Err(Gap::TooMany);
        }
        self.names.extend_from_slice(name);
        self.entries.push((self.names.len(), kind));
        Ok(())
    }
}
