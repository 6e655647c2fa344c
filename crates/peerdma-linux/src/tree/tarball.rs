//! Reads a tar archive into an [`ArchiveTree`], in one pass and in bounded memory.
//!
//! Members are looked at as they stand in the archive (the `tar` crate's raw entries): long names and
//! extended headers are put together here, since they must not grow beyond a path's length.

use super::archive::{ArchiveTree, Leaf};
use super::member::{Interest, MemberKind, interest, kept_above};
use crate::shown::Shown;
use crate::sysfs::leads_outside;
use peerdma::snapshot::Warnings;
use std::io::{self, Read};
use tar::{Archive, EntryType, PaxExtensions};

/// How much of an archive is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Bytes read, after decompression.
    pub read_bytes: u64,
    /// Bytes kept.
    pub kept_bytes: usize,
    /// Folders, files and links kept.
    pub members: usize,
}

impl Default for ArchiveLimits {
    /// Enough for a hundred thousand functions.
    fn default() -> Self {
        Self {
            read_bytes: 2 << 30,
            kept_bytes: 512 << 20,
            members: 2 << 20,
        }
    }
}

/// An archive that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It ends early, or is damaged.
    #[error("the tar archive is damaged or cut short at offset {offset} (after decompression): {source}")]
    Broken {
        /// How many bytes were read.
        offset: u64,
        /// What is wrong.
        source: io::Error,
    },
    /// It is larger than is ever taken in.
    #[error(
        "the tar archive holds more than {limit} {unit}; pack only sys/bus/pci, sys/devices/pci*, \
             sys/kernel/iommu_groups and proc/cpuinfo, proc/version, proc/cmdline"
    )]
    TooLarge {
        /// How much is taken in.
        limit: u64,
        /// Of what.
        unit: &'static str,
    },
    /// It holds a file with holes.
    #[error("the tar archive holds sparse files; pack it again without --sparse")]
    Sparse,
}

/// The longest path, and the longest extended header.
const PATH_BYTES: usize = 4096;
/// How deep folders may be nested.
const MOST_PARTS: usize = 128;

impl ArchiveTree {
    /// Reads an archive.
    ///
    /// Members and links that lead out of the archive are skipped with a warning.
    ///
    /// # Errors
    /// [`ArchiveError`] where it is damaged, or larger than `limits`.
    pub fn read(
        input: impl Read,
        limits: ArchiveLimits,
        warnings: &mut Warnings,
    ) -> Result<Self, ArchiveError> {
        let mut tree = ArchiveTree::new();
        let mut archive = Archive::new(Metered {
            input,
            read: 0,
            limit: limits.read_bytes,
        });
        let outcome = read_members(&mut archive, &mut tree, limits, warnings);
        let metered = archive.into_inner();
        match outcome {
            Ok(()) => {
                tree.settle();
                Ok(tree)
            }
            Err(Failure::Archive(error)) => Err(error),
            Err(Failure::Io(_)) if metered.read >= metered.limit => Err(ArchiveError::TooLarge {
                limit: metered.limit,
                unit: "bytes",
            }),
            Err(Failure::Io(source)) => Err(ArchiveError::Broken {
                offset: metered.read,
                source,
            }),
        }
    }
}

/// Why reading stopped.
enum Failure {
    Io(io::Error),
    Archive(ArchiveError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}

fn read_members<R: Read>(
    archive: &mut Archive<R>,
    tree: &mut ArchiveTree,
    limits: ArchiveLimits,
    warnings: &mut Warnings,
) -> Result<(), Failure> {
    let mut longer = Longer::default();
    let mut content = Vec::new();
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let kind = match entry.header().entry_type() {
            EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink => {
                longer.take(&mut entry, warnings)?;
                continue;
            }
            EntryType::XGlobalHeader => continue,
            EntryType::GNUSparse => return Err(Failure::Archive(ArchiveError::Sparse)),
            EntryType::Directory => MemberKind::Folder,
            EntryType::Symlink => MemberKind::Link,
            EntryType::Regular | EntryType::Continuous => MemberKind::File,
            // Devices, pipes, and hard links, of which sysfs has none.
            _ => {
                longer = Longer::default();
                continue;
            }
        };
        let Longer { path, target } = std::mem::take(&mut longer);
        let path = path.unwrap_or_else(|| entry.path_bytes().into_owned());
        let Some(mut parts) = parts(&path) else {
            warnings.push(
                Shown(&path),
                "a member of the archive that leads out of it; skipped",
            );
            continue;
        };
        let leaf = match interest(&parts, kind) {
            Interest::None => match kept_above(&parts) {
                Some(above) => {
                    let depth = above.len();
                    parts.truncate(depth);
                    Leaf::Folder
                }
                None => continue,
            },
            Interest::Content(most_bytes) => {
                content.clear();
                entry.by_ref().take(most_bytes as u64).read_to_end(&mut content)?;
                Leaf::File(&content)
            }
            Interest::Presence if kind == MemberKind::Folder => Leaf::Folder,
            Interest::Presence => {
                content = match target {
                    Some(target) => target,
                    None => entry.link_name_bytes().unwrap_or_default().into_owned(),
                };
                if leads_outside(&content, parts.len() - 1) {
                    warnings.push(Shown(&path), "a link that leads out of the archive; skipped");
                    continue;
                }
                Leaf::Link(&content)
            }
        };
        if tree.insert(&parts, leaf).is_err() {
            warnings.push(
                Shown(&path),
                "another member of the archive is in its place; skipped",
            );
        }
        let full = |limit: usize, unit| {
            Err(Failure::Archive(ArchiveError::TooLarge {
                limit: limit as u64,
                unit,
            }))
        };
        if tree.len() > limits.members {
            return full(limits.members, "members about PCI");
        }
        if tree.len_bytes() > limits.kept_bytes {
            return full(limits.kept_bytes, "bytes about PCI");
        }
    }
    Ok(())
}

/// The parts of a member's path; nothing where it leads out of the archive.
fn parts(path: &[u8]) -> Option<Vec<&[u8]>> {
    if path.starts_with(b"/") || path.len() > PATH_BYTES {
        return None;
    }
    let parts: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
        .collect();
    (parts.len() <= MOST_PARTS && !parts.contains(&&b".."[..])).then_some(parts)
}

/// What members before a member say of it: names longer than its header takes.
#[derive(Default)]
struct Longer {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

impl Longer {
    fn take<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>, warnings: &mut Warnings) -> io::Result<()> {
        let kind = entry.header().entry_type();
        let mut bytes = Vec::new();
        entry
            .by_ref()
            .take(PATH_BYTES as u64 + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() > PATH_BYTES {
            warnings.push(
                "tar archive",
                format_args!("a name or extended header of more than {PATH_BYTES} bytes; not used"),
            );
            return Ok(());
        }
        if kind == EntryType::XHeader {
            for extension in PaxExtensions::new(&bytes).flatten() {
                match extension.key_bytes() {
                    b"path" => self.path = Some(extension.value_bytes().to_vec()),
                    b"linkpath" => self.target = Some(extension.value_bytes().to_vec()),
                    _ => {}
                }
            }
            return Ok(());
        }
        // GNU tar ends the name with a zero byte.
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        bytes.truncate(end);
        match kind {
            EntryType::GNULongName => self.path = Some(bytes),
            _ => self.target = Some(bytes),
        }
        Ok(())
    }
}

/// Counts what is read, and ends it at a limit.
struct Metered<R> {
    input: R,
    read: u64,
    limit: u64,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read >= self.limit {
            return Err(io::Error::other("too large"));
        }
        let length = self.input.read(buffer)?;
        self.read += length as u64;
        Ok(length)
    }
}
