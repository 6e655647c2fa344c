//! Why a device or file was not opened: told with its path, and what to do.

use super::holder::Holder;
use rustix::io::Errno;
use std::path::PathBuf;
use thiserror::Error;

/// Why a device or file was not opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system refused it.
    #[error("{}: {source}{}", path.display(), advice(*source))]
    System {
        /// What was to be opened.
        path: PathBuf,
        /// The system's word.
        source: Errno,
    },
    /// It is neither.
    #[error("{}: it is {what}, and neither a block device nor a plain file; name one of those", path.display())]
    WrongType {
        /// What was to be opened.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Somebody uses the blocks that were to be written.
    #[error("{}: it is in use: {}; unmount it, or end what uses it, before it is written", path.display(), listed(holders))]
    Held {
        /// What was to be opened.
        path: PathBuf,
        /// Who uses it, as far as that can be seen.
        holders: Vec<Holder>,
    },
    /// sysfs does not tell what it is.
    #[error("{}: sysfs does not tell the size of its blocks; is /sys mounted?", path.display())]
    NoSysfs {
        /// What was to be opened.
        path: PathBuf,
    },
    /// It does not hold a whole block.
    #[error("{}: its {len_bytes} bytes are not one block of {block_bytes}; choose another, or create it with a length", path.display())]
    TooSmall {
        /// What was to be opened.
        path: PathBuf,
        /// How many bytes it has.
        len_bytes: u64,
        /// Bytes of a block.
        block_bytes: u32,
    },
}

fn listed(holders: &[Holder]) -> String {
    let holders: Vec<String> = holders.iter().map(Holder::to_string).collect();
    holders.join("; ")
}

/// What to do about an error of open.
fn advice(error: Errno) -> &'static str {
    match error {
        Errno::ACCESS | Errno::PERM => "; ask as its owner (group disk for block devices), or as root",
        Errno::NOENT => "; is the name right, and the device not bound to another driver?",
        Errno::EXIST => "; it is there already: name another, or write to it as it is",
        Errno::ROFS => {
            "; it can only be read: mount the file system, or switch the device, to be written (`blockdev --setrw`), or name another"
        }
        Errno::NXIO | Errno::NODEV => "; no driver answers for it: look at the kernel's log",
        _ => "",
    }
}
