//! Where the blocks of a device or file lie, so that two names for the same blocks are known for what they are.
//!
//! Asked by who copies, before anything is written. A device on several others (dm, md) is not looked through: what it stands on is held by it,
//! and is not opened for writing.

use super::place::Place;
use rustix::fs::FileType;
use std::path::{Path, PathBuf};

/// Where the blocks of a device or file lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The folder of a disk in sysfs, or a file.
    keeper: PathBuf,
    start_bytes: u64,
}

impl Extent {
    /// Of a block device or a plain file; nothing where there is none, or the system does not tell.
    pub fn of(path: &Path) -> Option<Self> {
        let found = rustix::fs::stat(path).ok()?;
        let (keeper, start_bytes) = match FileType::from_raw_mode(found.st_mode) {
            FileType::BlockDevice => {
                let number = found.st_rdev;
                let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
                Place::of(Path::new("/sys"), major, minor)?.keeper()
            }
            FileType::RegularFile => (path.canonicalize().ok()?, 0),
            _ => return None,
        };
        Some(Self { keeper, start_bytes })
    }

    /// Do so many bytes, from an offset in each on, have one in common?
    pub fn overlaps(&self, offset: u64, other: &Self, other_offset: u64, len_bytes: u64) -> bool {
        let first = self.start_bytes.saturating_add(offset);
        let second = other.start_bytes.saturating_add(other_offset);
        self.keeper == other.keeper && first.abs_diff(second) < len_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_one_disk_overlap_where_they_share_a_byte() {
        let part = |keeper: &str, start_bytes| Extent {
            keeper: keeper.into(),
            start_bytes,
        };
        let (disk, partition) = (part("sda", 0), part("sda", 1 << 20));
        assert!(disk.overlaps(0, &partition, 0, (1 << 20) + 1));
        assert!(!disk.overlaps(0, &partition, 0, 1 << 20));
        assert!(partition.overlaps(0, &disk, 1 << 20, 1));
        assert!(!partition.overlaps(0, &disk, 0, 1 << 20));
        assert!(!disk.overlaps(0, &part("sdb", 0), 0, u64::MAX));
        assert!(disk.overlaps(u64::MAX, &partition, u64::MAX, 1));
    }
}
