//! Files of VFIO below `/dev`: opening them, and asking them for what they answer at a length of their choosing.
#![allow(unsafe_code)]

use super::error::VfioError;
use crate::sys::ioctl;
use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::Opcode;
use std::path::Path;

/// Opens a file that the `modules` of the kernel bring.
pub(super) fn open(path: &Path, modules: &'static str) -> Result<OwnedFd, VfioError> {
    rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
        let path = path.to_path_buf();
        match errno {
            Errno::NOENT | Errno::NODEV | Errno::NXIO => VfioError::ModuleMissing { path, modules },
            Errno::ACCESS | Errno::PERM => VfioError::Permission { path },
            Errno::BUSY => VfioError::Busy { path },
            errno => VfioError::System {
                doing: format!("open {}", path.display()),
                errno,
            },
        }
    })
}

/// Takes what an ioctl gave as a new file descriptor.
///
/// # Safety
/// It is open, and belongs to nobody else.
pub(super) unsafe fn adopt(fd: u32) -> Result<OwnedFd, Errno> {
    let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: passed on from the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A question to which the answer begins with its own length, `argsz`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    /// The structure has no inputs beside the length.
    Whole,
    /// The third dword says which one.
    Number(u32),
}

/// More bytes than any answer has.
const MOST_BYTES: usize = 1 << 16;

/// Asks, and gives the whole answer.
///
/// # Safety
/// `request` takes a structure that begins with its length `argsz` (in bytes, from 24 to 256) and inputs as `question` has them, writes no more than that many bytes
/// of it, and says in `argsz` where it has more to say.
pub(super) unsafe fn ask(fd: BorrowedFd<'_>, request: Opcode, question: Question) -> Result<Vec<u8>, Errno> {
    let mut len_bytes = 256;
    loop {
        let mut words = vec![0u32; len_bytes / 4];
        // Lengths stay below `MOST_BYTES`.
        words[0] = len_bytes as u32;
        if let Question::Number(number) = question {
            words[2] = number;
        }
        // SAFETY: the caller vouches for what the request does with a structure of this length.
        unsafe { ioctl::with(fd, request, words.as_mut_slice()) }?;
        let needed = words[0] as usize;
        if needed <= len_bytes || len_bytes == MOST_BYTES {
            return Ok(words.iter().flat_map(|word| word.to_ne_bytes()).collect());
        }
        len_bytes = needed.min(MOST_BYTES).next_multiple_of(8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::ioctl::script;
    use rustix::fd::AsFd;
    use std::fs::File;

    /// Asks a kernel that wants `needed` bytes, and writes 7 to all that there is room for.
    fn asked(needed: u32) -> Vec<u8> {
        script::play(move |_, bytes| {
            assert_eq!(bytes[..4], (bytes.len() as u32).to_ne_bytes());
            assert_eq!(bytes[8], 3);
            bytes.fill(7);
            bytes[..4].copy_from_slice(&needed.to_ne_bytes());
            Ok(0)
        });
        let file = File::open("/dev/null").unwrap();
        // SAFETY: the script answers; it writes what there is room for.
        unsafe { ask(file.as_fd(), 1, Question::Number(3)) }.unwrap()
    }

    #[test]
    fn an_answer_comes_whole_but_never_longer_than_any_is() {
        for (needed, len_bytes) in [
            (0, 256),
            (256, 256),
            (257, 264),
            (5000, 5000),
            (u32::MAX, MOST_BYTES),
        ] {
            let answer = asked(needed);
            assert_eq!(answer.len(), len_bytes);
            assert_eq!(answer.last(), Some(&7));
        }
    }
}
