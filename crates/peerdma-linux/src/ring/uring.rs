//! The kernel's queue of operations, io_uring: one trait, so that tests can stand between a volume and the kernel.
//!
//! Used by [`super::volume`], which keeps what is submitted alive. (io_uring(7), io_uring_enter(2).)
#![allow(unsafe_code)]

use io_uring::{Builder, IoUring, opcode, squeue, types};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// One operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    pub(super) what: What,
    /// Comes back with its completion.
    pub(super) id: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    Read(Vector),
    Write(Vector),
    Flush,
    /// Ends the operation of this name, if that can be.
    Cancel(u64),
}

/// Memory, and where in the file its data is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vector {
    pub(super) pieces: *const libc::iovec,
    pub(super) count: u32,
    pub(super) offset_bytes: u64,
}

/// An operation that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Completed {
    pub(super) id: u64,
    /// Bytes, or the error number, negative.
    pub(super) result: i32,
}

/// How long to wait for completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    No,
    /// For one, but not longer than this.
    For(Duration),
}

/// No room for another operation: [`Kernel::enter`] makes some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// Who carries operations out.
pub(super) trait Kernel: fmt::Debug + Send {
    /// Queues an operation.
    ///
    /// # Errors
    /// [`Full`]
    ///
    /// # Safety
    /// The vector of an operation, and the memory that it names, are valid until its completion was taken or it was given up ([`Self::abandon`]), whoever drops
    /// what in between. The kernel changes the memory of a read meanwhile: nobody has a reference to it but to atomic cells.
    unsafe fn push(&mut self, operation: Operation) -> Result<(), Full>;

    /// Gives what is queued to the kernel. What it does not take stays queued.
    ///
    /// # Errors
    /// What io_uring_enter(2) says.
    fn enter(&mut self, wait: Wait) -> Result<(), Errno>;

    /// Is anything queued that the kernel has not taken? It stops at an operation that it cannot read, and looks at those behind it the next time.
    fn has_queued(&self) -> bool;

    /// Gives up: the names of what is queued and was never given to the kernel, nor will be. There is no room for anything from then on.
    fn abandon(&mut self, ids: &mut Vec<u64>);

    /// Takes what has ended.
    fn reap(&mut self, completed: &mut VecDeque<Completed>);
}

/// io_uring itself, for one file.
pub(super) struct Uring {
    ring: Ring,
    /// For operations that a ring for polling does not take.
    second: Option<Ring>,
    /// The file, open for as long as anything can be queued for it.
    fd: OwnedFd,
}

/// A ring, and what the kernel has not taken from it yet.
struct Ring {
    ring: IoUring,
    queued: VecDeque<u64>,
    is_abandoned: bool,
}

/// Does the device interrupt, or is it polled?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    ByInterrupt,
    /// `IORING_SETUP_IOPOLL`: only for direct transfers of a driver that has queues for it.
    ByPolling,
}

impl Uring {
    /// A ring with room for so many operations, on the file of `fd`.
    ///
    /// # Errors
    /// What io_uring_setup(2) and dup(2) say.
    pub(super) fn new(fd: BorrowedFd<'_>, entries: u32, ends: Ends) -> Result<Self, Errno> {
        // Of its own: what is queued names it by number, which must not come to mean another file.
        let fd = rustix::io::fcntl_dupfd_cloexec(fd, 0)?;
        let (ring, second) = match ends {
            Ends::ByInterrupt => (Ring::new(&IoUring::builder(), entries)?, None),
            Ends::ByPolling => {
                let ring = Ring::new(IoUring::builder().setup_iopoll(), entries)?;
                (ring, Some(Ring::new(&IoUring::builder(), entries)?))
            }
        };
        Ok(Self { ring, second, fd })
    }

    fn entry(&self, operation: Operation) -> squeue::Entry {
        let fd = types::Fd(self.fd.as_raw_fd());
        let entry = match operation.what {
            What::Read(vector) => opcode::Readv::new(fd, vector.pieces, vector.count)
                .offset(vector.offset_bytes)
                .build(),
            What::Write(vector) => opcode::Writev::new(fd, vector.pieces, vector.count)
                .offset(vector.offset_bytes)
                .build(),
            What::Flush => opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build(),
            What::Cancel(id) => opcode::AsyncCancel::new(id).build(),
        };
        entry.user_data(operation.id)
    }
}

impl Kernel for Uring {
    unsafe fn push(&mut self, operation: Operation) -> Result<(), Full> {
        let entry = self.entry(operation);
        let ring = match (operation.what, &mut self.second) {
            (What::Flush, Some(second)) => second,
            _ => &mut self.ring,
        };
        // SAFETY: the caller keeps the vector and its memory valid until the completion; the file is ours, and open for as long as the ring.
        unsafe { ring.push(&entry, operation.id) }
    }

    fn enter(&mut self, wait: Wait) -> Result<(), Errno> {
        if let Some(second) = &mut self.second
            && !second.queued.is_empty()
        {
            second.enter(Wait::No)?;
        }
        self.ring.enter(wait)
    }

    fn has_queued(&self) -> bool {
        let mut rings = [Some(&self.ring), self.second.as_ref()].into_iter().flatten();
        rings.any(|ring| !ring.queued.is_empty())
    }

    fn abandon(&mut self, ids: &mut Vec<u64>) {
        for ring in [Some(&mut self.ring), self.second.as_mut()].into_iter().flatten() {
            ring.is_abandoned = true;
            ids.extend(ring.queued.drain(..));
        }
    }

    fn reap(&mut self, completed: &mut VecDeque<Completed>) {
        for ring in [Some(&mut self.ring), self.second.as_mut()].into_iter().flatten() {
            completed.extend(ring.ring.completion().map(|entry| Completed {
                id: entry.user_data(),
                result: entry.result(),
            }));
        }
    }
}

impl Ring {
    fn new(builder: &Builder, entries: u32) -> Result<Self, Errno> {
        Ok(Self {
            ring: builder.build(entries).map_err(|error| errno(&error))?,
            queued: VecDeque::with_capacity(entries as usize),
            is_abandoned: false,
        })
    }

    /// # Safety
    /// As [`Kernel::push`]; the file of the entry is open for as long as the ring lives.
    unsafe fn push(&mut self, entry: &squeue::Entry, id: u64) -> Result<(), Full> {
        // The kernel is not told of anything any more.
        if self.is_abandoned {
            return Err(Full);
        }
        // SAFETY: the caller keeps the vector, its memory and the file valid until the completion. What was abandoned has none: it stays in the ring, and
        // nobody enters that any more.
        unsafe { self.ring.submission().push(entry) }.map_err(|_| Full)?;
        self.queued.push_back(id);
        Ok(())
    }

    fn enter(&mut self, wait: Wait) -> Result<(), Errno> {
        if self.is_abandoned {
            // The kernel would take what was abandoned. What it has, ends without being asked.
            if let Wait::For(time) = wait {
                std::thread::sleep(time.min(NAP));
            }
            return Ok(());
        }
        let ring = &self.ring;
        let entered = match wait {
            Wait::No => ring.submit(),
            Wait::For(time) if ring.params().is_feature_ext_arg() && !ring.params().is_setup_iopoll() => {
                let time = types::Timespec::from(time);
                let args = types::SubmitArgs::new().timespec(&time);
                ring.submitter().submit_with_args(1, &args)
            }
            // Asked now, a polled device may have ended something; others use the processor meanwhile.
            Wait::For(_) if ring.params().is_setup_iopoll() => {
                std::thread::yield_now();
                ring.submit()
            }
            // Kernels before 5.11 know no time-out here.
            Wait::For(time) => {
                let entered = ring.submit();
                std::thread::sleep(time.min(NAP));
                entered
            }
        };
        let taken = entered.map_err(|error| errno(&error))?;
        self.queued.drain(..taken.min(self.queued.len()));
        Ok(())
    }
}

const NAP: Duration = Duration::from_millis(1);

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

impl fmt::Debug for Uring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uring")
            .field("fd", &self.fd)
            .field("queued", &self.ring.queued.len())
            .finish_non_exhaustive()
    }
}
