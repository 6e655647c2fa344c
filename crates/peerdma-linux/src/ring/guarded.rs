//! Bytes copied to and from memory that may vanish: p2pmem, whose pages the kernel takes out of the process when its device is unbound.
//!
//! A load of such memory by the process itself would end it by SIGBUS. BARs, which are rung as doorbells and polled, are worth a handler of that signal for
//! the whole process ([`crate::sys::bus_error`]). p2pmem is not: it is only looked at by who wants to see what a device wrote, and data that is moved is never
//! touched by the CPU at all. So the kernel does the copying, through a pipe: where its own access faults, the system call says EFAULT, and no state of
//! the process is changed. That costs a copy more.
#![allow(unsafe_code)]

use crate::sys::Memory;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::cell::Cell;
use thiserror::Error;

/// Why memory that may vanish was not read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GuardedError {
    /// It has vanished: its device was unbound, or taken out. Of a write, a part may have been done.
    #[error(
        "the memory is no longer there: its device was unbound or taken out; bind it again and take new memory"
    )]
    Gone,
    /// Not all of it lies within the memory.
    #[error("{len_bytes} bytes from {offset_bytes:#x} on pass the end of the memory")]
    Outside {
        /// Where it was to begin.
        offset_bytes: u64,
        /// How many bytes.
        len_bytes: u64,
    },
    /// The system gives no pipe.
    #[error("the system gives no pipe to copy through: {0}")]
    System(Errno),
}

/// How much goes through a pipe at a time: what it holds by itself (pipe(7)).
const PIPE_BYTES: usize = 64 << 10;

/// Copies from `memory`.
///
/// # Errors
/// [`GuardedError`]; what `into` holds then means nothing.
pub(crate) fn read(memory: &Memory, offset_bytes: u64, into: &mut [u8]) -> Result<(), GuardedError> {
    let mut at = place(memory, offset_bytes, into.len())?;
    let pipe = pipe()?;
    let mut rest = into;
    while !rest.is_empty() {
        let most = rest.len().min(PIPE_BYTES);
        // SAFETY: the range lies within the memory, which is mapped as long as `memory`; where its pages have vanished the kernel says so. The
        // kernel only reads, and what changes there meanwhile is bytes.
        let taken = bytes(unsafe { libc::write(pipe.1.as_raw_fd(), at.cast_const(), most) })?;
        let (now, later) = rest
            .split_at_mut_checked(taken)
            .ok_or(GuardedError::System(Errno::IO))?;
        fill(&pipe.0, now)?;
        rest = later;
        at = at.wrapping_byte_add(taken);
    }
    keep(pipe);
    Ok(())
}

/// Copies to `memory`.
///
/// # Errors
/// [`GuardedError`]
pub(crate) fn write(memory: &Memory, offset_bytes: u64, from: &[u8]) -> Result<(), GuardedError> {
    let mut at = place(memory, offset_bytes, from.len())?;
    let pipe = pipe()?;
    let mut rest = from;
    while !rest.is_empty() {
        let most = rest.get(..rest.len().min(PIPE_BYTES)).unwrap_or(rest);
        let taken = rustix::io::write(&pipe.1, most).map_err(GuardedError::System)?;
        let mut left = taken;
        while left > 0 {
            // SAFETY: as in `read`; a `Memory` is mapped to be written, and references to it exist but to atomic cells, which others may change.
            let given = bytes(unsafe { libc::read(pipe.0.as_raw_fd(), at, left) })?;
            left = left.checked_sub(given).ok_or(GuardedError::System(Errno::IO))?;
            at = at.wrapping_byte_add(given);
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    keep(pipe);
    Ok(())
}

/// Where a copy begins in this process.
fn place(memory: &Memory, offset_bytes: u64, len: usize) -> Result<*mut libc::c_void, GuardedError> {
    let len_bytes = len as u64;
    let end = offset_bytes.checked_add(len_bytes);
    match end.is_some_and(|end| end <= memory.len_bytes()) {
        true => Ok((memory.address() + offset_bytes) as *mut libc::c_void),
        false => Err(GuardedError::Outside {
            offset_bytes,
            len_bytes,
        }),
    }
}

/// Where bytes come out, and where they go in.
type Pipe = (OwnedFd, OwnedFd);

thread_local! {
    /// An empty pipe: words of a BAR are copied one by one, and a pipe for each would cost more than all else.
    static KEPT: Cell<Option<Pipe>> = const { Cell::new(None) };
}

fn pipe() -> Result<Pipe, GuardedError> {
    match KEPT.try_with(Cell::take) {
        Ok(Some(pipe)) => Ok(pipe),
        _ => pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(GuardedError::System),
    }
}

/// Only after a copy that went well: after another there may be bytes in it.
fn keep(pipe: Pipe) {
    // Where the thread ends it is closed.
    let _ = KEPT.try_with(|kept| kept.set(Some(pipe)));
}

fn fill(from: &OwnedFd, mut into: &mut [u8]) -> Result<(), GuardedError> {
    while !into.is_empty() {
        let given = rustix::io::read(from, &mut *into).map_err(GuardedError::System)?;
        into = match into.split_at_mut_checked(given) {
            Some((_, later)) if given > 0 => later,
            _ => return Err(GuardedError::System(Errno::IO)),
        };
    }
    Ok(())
}

/// What a system call moved: at least a byte.
fn bytes(moved: isize) -> Result<usize, GuardedError> {
    match usize::try_from(moved) {
        Ok(0) => Err(GuardedError::System(Errno::IO)),
        Ok(moved) => Ok(moved),
        Err(_) => {
            let error = std::io::Error::last_os_error();
            match Errno::from_io_error(&error) {
                Some(Errno::FAULT) => Err(GuardedError::Gone),
                other => Err(GuardedError::System(other.unwrap_or(Errno::IO))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;

    #[test]
    fn what_is_written_is_read_wherever_it_lies_and_nothing_beside_it_changes() {
        let memory = Memory::anonymous(300_000).unwrap();
        let bytes: Vec<u8> = (0..200_001_u32).map(|at| (at % 251) as u8).collect();
        write(&memory, 4093, &bytes).unwrap();
        let mut back = vec![0; 300_000];
        read(&memory, 0, &mut back).unwrap();
        assert_eq!(back[4093..204_094], bytes);
        assert!(back[..4093].iter().chain(&back[204_094..]).all(|byte| *byte == 0));
    }

    #[test]
    fn what_does_not_lie_within_is_refused() {
        let memory = Memory::anonymous(4096).unwrap();
        for (offset, len) in [(4096, 1), (0, 4097), (u64::MAX, 2)] {
            let refused = read(&memory, offset, &mut vec![0; len]);
            assert!(matches!(refused, Err(GuardedError::Outside { .. })));
            let refused = write(&memory, offset, &vec![0; len]);
            assert!(matches!(refused, Err(GuardedError::Outside { .. })));
        }
        assert_eq!(read(&memory, 4096, &mut []), Ok(()));
    }

    /// A file that is cut off under its mapping does to it what unbinding does to p2pmem.
    #[test]
    fn memory_that_vanished_is_an_error_and_not_the_end_of_the_process() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        let memory = Memory::of_file(file.as_fd(), 0, 8192).unwrap();
        write(&memory, 0, &[7; 8192]).unwrap();
        file.set_len(4096).unwrap();

        let mut back = [0; 8192];
        assert_eq!(read(&memory, 0, &mut back[..4096]), Ok(()));
        assert_eq!(back[..4096], [7; 4096]);
        assert_eq!(read(&memory, 4096, &mut back[4096..]), Err(GuardedError::Gone));
        assert_eq!(read(&memory, 0, &mut back), Err(GuardedError::Gone));
        assert_eq!(write(&memory, 4096, &[1]), Err(GuardedError::Gone));
        // What stuck in the pipe does not come out of it in the next copy.
        assert_eq!(write(&memory, 0, &[9; 100]), Ok(()));
        assert_eq!(read(&memory, 0, &mut back[..200]), Ok(()));
        assert_eq!((&back[..100], &back[100..200]), (&[9; 100][..], &[7; 100][..]));
    }
}
