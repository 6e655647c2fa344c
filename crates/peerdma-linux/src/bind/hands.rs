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
    /// array)? Found out by claiming it for a moment.
    ///
    /// # Errors
    /// Those of the kernel, where it cannot be found out.
    fn is_claimed(&mut self, node: &Path) -> io::Result<bool>;
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

    fn is_claimed(&mut self, node: &Path) -> io::Result<bool> {
        use rustix::fs::{Mode, OFlags};
        use rustix::io::Errno;
        let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(node, flags, Mode::empty()) {
            Ok(_) => Ok(false),
            Err(Errno::BUSY) => Ok(true),
            // No medium in it, or no node in this container: nothing is mounted from it here.
            Err(Errno::NOMEDIUM | Errno::NXIO | Errno::NODEV | Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
