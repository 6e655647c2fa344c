//! Everything that binding writes, and the one thing that it asks by trying.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// What touches the machine. Tests put a machine of their own in its place, where any step may fail.
pub trait Hands {
    /// Writes `bytes` to an attribute of sysfs, at once.
    ///
    /// # Errors
    /// Those of the kernel.
    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Makes a new file with this content, and the folders above it.
    ///
    /// # Errors
    /// Those of the kernel, [`io::ErrorKind::AlreadyExists`] among them.
    fn keep(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Removes a file that [`Self::keep`] made.
    ///
    /// # Errors
    /// Those of the kernel.
    fn forget(&mut self, path: &Path) -> io::Result<()>;

    /// Has somebody in the kernel, or a program, claimed the block device `node` for itself (mounted, swapped to, part of an
    /// array)? Found out by claiming it for a moment. `number` is what sysfs calls it (`major:minor`): the node of another device says nothing.
    ///
    /// # Errors
    /// Those of the kernel, where it cannot be found out; [`io::ErrorKind::NotFound`] where it has no node here: in a container, what the machine
    /// has mounted cannot be seen.
    fn is_claimed(&mut self, node: &Path, number: &str) -> io::Result<bool>;
}

/// The machine at hand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Live;

impl Hands for Live {
    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        // sysfs takes a value in one piece; a second write would be a second value.
        match file.write(bytes)? {
            written if written == bytes.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn keep(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        }
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(path)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if written.is_err() {
            // Half a record is worse than none.
            let _ = fs::remove_file(path);
        }
        written
    }

    fn forget(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn is_claimed(&mut self, node: &Path, number: &str) -> io::Result<bool> {
        use rustix::fs::{Mode, OFlags};
        use rustix::io::Errno;
        // Not opened before it is known to be the one: opening others may do something.
        check_number(rustix::fs::stat(node)?, number)?;
        let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(node, flags, Mode::empty()) {
            Ok(file) => check_number(rustix::fs::fstat(file)?, number).map(|()| false),
            Err(Errno::BUSY) => Ok(true),
            // No medium in it, or the device has left.
            Err(Errno::NOMEDIUM | Errno::NXIO | Errno::NODEV) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Is it the block device that sysfs calls so?
fn check_number(found: rustix::fs::Stat, number: &str) -> io::Result<()> {
    use rustix::fs::{FileType, major, minor};
    let is_block = FileType::from_raw_mode(found.st_mode) == FileType::BlockDevice;
    let its = format!("{}:{}", major(found.st_rdev), minor(found.st_rdev));
    match is_block && its == number {
        true => Ok(()),
        false => Err(io::Error::other("its node below /dev is that of another device")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_a_node_or_with_that_of_another_is_not_taken_for_free() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Live.is_claimed(&folder.path().join("nvme0n1"), "259:0");
        assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(Live.is_claimed(Path::new("/dev/null"), "1:3").is_err());
        assert!(Live.is_claimed(Path::new("/dev/null"), "259:0").is_err());
    }
}
