//! Every ioctl of this crate goes through [`pass`], so that a test can let any of them fail.
//!
//! With the feature `faults`, `PEERDMA_FAIL_IOCTL=N` in the environment lets the Nth ioctl of the process (from 1 on) fail with `EIO` without
//! reaching the kernel, `PEERDMA_FAILED_IOCTL=FILE` has the number of its request written to that file once it did, and
//! `PEERDMA_COUNT_IOCTLS=FILE` keeps in that file how many there were.
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
    let len_bytes = size_of_val(argument);
    // SAFETY: passed on from the caller.
    unsafe {
        pass(
            fd.as_fd(),
            request,
            std::ptr::from_mut(argument).cast(),
            len_bytes,
        )
    }
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
    unsafe { pass(fd.as_fd(), request, std::ptr::without_provenance_mut(argument), 0) }
}

/// # Safety
/// As of [`with`] and [`number`]. `argument` leads to `len_bytes`.
unsafe fn pass(
    fd: BorrowedFd<'_>,
    request: Opcode,
    argument: *mut c_void,
    len_bytes: usize,
) -> Result<u32, Errno> {
    #[cfg(feature = "faults")]
    faults::strike(request)?;
    #[cfg(test)]
    // SAFETY: passed on from the caller.
    if let Some(answer) = unsafe { script::answer(request, argument, len_bytes) } {
        return answer;
    }
    let _ = len_bytes;
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
    use super::{Errno, Opcode};
    use std::env;
    use std::fs;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static COUNT: AtomicU64 = AtomicU64::new(0);
    static FAILS: OnceLock<Option<u64>> = OnceLock::new();

    /// Counts this ioctl, and fails if it is the one.
    pub(super) fn strike(request: Opcode) -> Result<(), Errno> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(file) = env::var_os("PEERDMA_COUNT_IOCTLS") {
            // A count that cannot be kept is missed by whoever reads it.
            let _ = fs::write(file, number.to_string());
        }
        let fails = FAILS.get_or_init(|| env::var("PEERDMA_FAIL_IOCTL").ok()?.parse().ok());
        if *fails != Some(number) {
            return Ok(());
        }
        if let Some(file) = env::var_os("PEERDMA_FAILED_IOCTL") {
            // Who waits for the file takes its absence for a fault that did not come.
            let _ = fs::write(file, request.to_string());
        }
        Err(Errno::IO)
    }
}

/// In place of the kernel: what a test says.
#[cfg(test)]
pub(crate) mod script {
    use super::{Errno, Opcode, c_void};
    use std::cell::RefCell;

    type Script = Box<dyn FnMut(Opcode, &mut [u8]) -> Result<u32, Errno>>;

    thread_local! {
        static SCRIPT: RefCell<Option<Script>> = const { RefCell::new(None) };
    }

    /// Has every ioctl of this thread answered by `script`, which is given the request and the bytes of its argument.
    pub(crate) fn play(script: impl FnMut(Opcode, &mut [u8]) -> Result<u32, Errno> + 'static) {
        SCRIPT.with_borrow_mut(|place| *place = Some(Box::new(script)));
    }

    /// # Safety
    /// `argument` leads to `len_bytes` that may be written.
    pub(super) unsafe fn answer(
        request: Opcode,
        argument: *mut c_void,
        len_bytes: usize,
    ) -> Option<Result<u32, Errno>> {
        SCRIPT.with_borrow_mut(|script| {
            let script = script.as_mut()?;
            let bytes = match len_bytes {
                0 => &mut [],
                // SAFETY: the caller vouches for it; structures of the kernel's interface have no padding.
                _ => unsafe { std::slice::from_raw_parts_mut(argument.cast(), len_bytes) },
            };
            Some(script(request, bytes))
        })
    }
}
