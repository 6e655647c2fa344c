//! A real folder, read with as few system calls as it takes.
//!
//! Every file is opened relative to the folder it lies in, so that the kernel walks no long paths,
//! and only files that the folder lists are opened at all.

use super::{EntryKind, Gap, Listing, Tree, recorded};
use crate::keep::KeepConfig;
use peerdma::pci::Extent;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::path::Path;

/// A folder of this machine's file system.
#[derive(Debug)]
pub struct LiveTree {
    root: OwnedFd,
    mounted: Mounted,
}

/// What kind of file system the files lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mounted {
    /// The kernel's own sysfs: a file's size is the size of configuration space.
    Sysfs,
    /// A copy of it.
    Elsewhere,
}

/// `SYSFS_MAGIC` of include/uapi/linux/magic.h.
const SYSFS_MAGIC: u64 = 0x6265_6572;

/// Where functions are listed, below the three folders that may be named as root.
const PROBES: [&str; 3] = ["sys/bus/pci", "bus/pci", "devices"];

impl LiveTree {
    /// Opens the folder `root`.
    ///
    /// # Errors
    /// [`Gap`] where it cannot be opened.
    pub fn open(root: &Path) -> Result<Self, Gap> {
        let root = rustix::fs::open(root, FOLDER, Mode::empty()).map_err(gap)?;
        let is_sysfs = |path: &&str| {
            rustix::fs::openat(&root, *path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .and_then(rustix::fs::fstatfs)
                .is_ok_and(|found| found.f_type as u64 == SYSFS_MAGIC)
        };
        let mounted = match PROBES.iter().any(is_sysfs) {
            true => Mounted::Sysfs,
            false => Mounted::Elsewhere,
        };
        Ok(Self { root, mounted })
    }
}

impl Tree for LiveTree {
    type Folder = OwnedFd;

    fn root(&self) -> &OwnedFd {
        &self.root
    }

    fn folder(&self, at: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Gap> {
        rustix::fs::openat(at, path, FOLDER, Mode::empty()).map_err(gap)
    }

    fn same(&self, one: &OwnedFd, other: &OwnedFd) -> bool {
        match (rustix::fs::fstat(one), rustix::fs::fstat(other)) {
            (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
            _ => false,
        }
    }

    fn list(&self, folder: &OwnedFd, listing: &mut Listing) -> Result<(), Gap> {
        listing.clear();
        let folder = rustix::fs::openat(folder, ".", LISTED, Mode::empty()).map_err(gap)?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut entries = RawDir::new(folder.as_fd(), &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(gap)?;
            let kind = match entry.file_type() {
                FileType::RegularFile => EntryKind::File,
                FileType::Directory => EntryKind::Folder,
                FileType::Symlink => EntryKind::Link,
                _ => EntryKind::Other,
            };
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => listing.push(name, kind)?,
            }
        }
        Ok(())
    }

    fn has(&self, at: &OwnedFd, name: &[u8]) -> bool {
        rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    fn read(&self, at: &OwnedFd, path: &[u8], buffer: &mut [u8]) -> Result<usize, Gap> {
        let file = rustix::fs::openat(at, path, FILE, Mode::empty()).map_err(gap)?;
        fill(&file, buffer)
    }

    fn read_whole(&self, at: &OwnedFd, path: &[u8], most_bytes: usize) -> Result<Vec<u8>, Gap> {
        let file = rustix::fs::openat(at, path, FILE, Mode::empty()).map_err(gap)?;
        let mut bytes = Vec::new();
        File::from(file)
            .take(most_bytes as u64)
            .read_to_end(&mut bytes)
            .map_err(|error| gap(error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)))?;
        Ok(bytes)
    }

    fn read_config(&self, at: &OwnedFd, keep: KeepConfig, buffer: &mut [u8]) -> Result<(usize, Extent), Gap> {
        let file = rustix::fs::openat(at, &b"config"[..], FILE, Mode::empty()).map_err(gap)?;
        if self.mounted == Mounted::Elsewhere {
            return Ok(recorded(fill(&file, buffer)?));
        }
        let size = rustix::fs::fstat(&file).map_err(gap)?.st_size;
        let length = usize::try_from(size).map_or(buffer.len(), |size| size.min(buffer.len()));
        let Some(space) = buffer.get_mut(..length) else {
            return Err(gap(Errno::INVAL));
        };
        // The kernel gives everybody the first 64 bytes, and the rest to root alone.
        let mut beyond = [0];
        let is_cut = length > EVERYBODYS_BYTES
            && pread(&file, &mut beyond, EVERYBODYS_BYTES as u64).map_err(gap)? == 0;
        if is_cut {
            let start = space.get_mut(..EVERYBODYS_BYTES).unwrap_or_default();
            return Ok((fill(&file, start)?, Extent::MayGoOn));
        }
        match keep {
            KeepConfig::Keep => Ok((fill(&file, space)?, Extent::Whole)),
            KeepConfig::Drop => {
                let fetched = peerdma::pci::fetch_needed(space, |offset, bytes| {
                    let wanted = bytes.len();
                    match pread(&file, bytes, u64::from(offset)) {
                        Ok(got) if got == wanted => Ok(()),
                        Ok(_) => Err(Errno::IO),
                        Err(error) => Err(error),
                    }
                });
                fetched.map_err(gap)?;
                Ok((length, Extent::Whole))
            }
        }
    }

    fn link(&self, at: &OwnedFd, name: &[u8], buffer: &mut [u8]) -> Result<usize, Gap> {
        match rustix::fs::readlinkat_raw(at, name, &mut *buffer) {
            // A target that fills the buffer may have been cut.
            Ok(length) if length >= buffer.len() => Err(gap(Errno::NAMETOOLONG)),
            Ok(length) => Ok(length),
            Err(Errno::INVAL) => Err(Gap::NotALink),
            Err(other) => Err(gap(other)),
        }
    }
}

/// How much of a configuration space everybody may read.
const EVERYBODYS_BYTES: usize = 64;

fn pread(file: &OwnedFd, bytes: &mut [u8], offset: u64) -> Result<usize, Errno> {
    loop {
        match rustix::io::pread(file, &mut *bytes, offset) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// A folder to start from. Most are never listed, and without that are cheaper to open.
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A folder whose entries are wanted.
const LISTED: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A copied tree may hold anything: links are not followed to files, and nothing waits for the other
/// end of a pipe.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// Reads until `buffer` is full or the file ends.
///
/// sysfs gives a text file in one piece: a short read that ends a line is the end. Copies on other file
/// systems read likewise.
fn fill(file: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Gap> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match rustix::io::read(file, rest) {
            Ok(0) => break,
            Ok(more) => {
                length += more;
                // Most files are a line: the read that would only say "end" is spared.
                if buffer.get(length - 1) == Some(&b'\n') || matches!(length, 64 | 256) {
                    break;
                }
            }
            Err(Errno::INTR) => {}
            Err(other) => return Err(gap(other)),
        }
    }
    Ok(length)
}

fn gap(error: Errno) -> Gap {
    match error {
        Errno::NOENT | Errno::NOTDIR => Gap::Missing,
        Errno::ACCESS | Errno::PERM => Gap::AccessDenied,
        other => Gap::Failed(other.raw_os_error()),
    }
}
