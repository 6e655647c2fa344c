//! Every ioctl of this crate goes through [`pass`], so that a test can let any of them fail.
//!
//! With the feature `faults`, `PEERDMA_FAIL_IOCTL=N` in the environment lets the Nth ioctl of the process (from 1 on) fail with `EIO` without
//! reaching the kernel, and `PEERDMA_COUNT_IOCTLS=FILE` keeps in that file how many there were.
#![allow(unsafe_code)]

use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};
use std::ffi::c_void;

/// An ioctl that takes a pointer to `argument`, which the kernel may change; gives what the kernel returned.
///
/// # Errors
/// The kernel's.
///
/// # Safety
/// `request`, as the driver behind `fd` understands it, reads and writes no more than `argument`, the memory to which pointers in it lead, and memory
/// that is only ever accessed as memory that others change; it leaves a valid `T` behind.
pub(crate) unsafe fn with<T: ?Sized>(fd: impl AsFd, request: Opcode, argument: &mut T) -> Result<u32, Errno> {
    // SAFETY: passed on from the caller.
    unsafe { pass(fd.as_fd(), request, std::ptr::from_mut(argument).cast()) }
}

/// An ioctl that takes a number, or nothing (0); gives what the kernel returned.
///
/// # Errors
/// The kernel's.
///
/// # Safety
/// `request`, as the driver behind `fd` understands it, takes no pointer.
pub(crate) unsafe fn number(fd: impl AsFd, request: Opcode, argument: usize) -> Result<u32, Errno> {
    // SAFETY: passed on from the caller.
    unsafe { pass(fd.as_fd(), request, std::ptr::without_provenance_mut(argument)) }
}

/// # Safety
/// As of [`with`] and [`number`].
unsafe fn pass(fd: BorrowedFd<'_>, request: Opcode, argument: *mut c_void) -> Result<u32, Errno> {
    #[cfg(feature = "faults")]
    faults::strike()?;
    // SAFETY: the caller vouches for request and argument.
    let output = unsafe { rustix::ioctl::ioctl(fd, Call { request, argument }) }?;
    // Errors are negative and were told apart already.
    Ok(output.unsigned_abs())
}

struct Call {
    request: Opcode,
    argument: *mut c_void,
}

// SAFETY: request and argument are passed on as they are, for whose agreement the callers of `pass` vouch; no output is read through the pointer.
unsafe impl Ioctl for Call {
    type Output = IoctlOutput;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.request
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> Result<IoctlOutput, Errno> {
        Ok(output)
    }
}

#[cfg(feature = "faults")]
mod faults {
    use rustix::io::Errno;
    use std::env;
    use std::fs;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static COUNT: AtomicU64 = AtomicU64::new(0);
    static FAILS: OnceLock<Option<u64>> = OnceLock::new();

    /// Counts this ioctl, and fails if it is the one.
    pub(super) fn strike() -> Result<(), Errno> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(file) = env::var_os("PEERDMA_COUNT_IOCTLS") {
            // A count that cannot be kept is missed by whoever reads it.
            let _ = fs::write(file, number.to_string());
        }
        let fails = FAILS.get_or_init(|| env::var("PEERDMA_FAIL_IOCTL").ok()?.parse().ok());
        match *fails == Some(number) {
            true => Err(Errno::IO),
            false => Ok(()),
        }
    }
}
