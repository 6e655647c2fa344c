//! A kernel that fails as it is told: it stands between a volume and io_uring.
#![allow(unsafe_code)]

use crate::ring::uring::{Completed, Full, Kernel, Operation, Uring, Vector, Wait, What};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// As it is.
    Plain,
    /// It moves only so many bytes, if it has more.
    Short(u64),
    /// It ends with this error number, and nothing is moved.
    Fails(Errno),
    /// It says that it moved so many bytes, and moves none.
    Lies(i32),
    /// The kernel cannot even read what it is asked for: it ends, and what was queued behind it is not looked at.
    Stops,
}

/// What the kernel does.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// Of the next operations, in order; those after are plain.
    pub(super) fates: VecDeque<Fate>,
    /// What the next attempts to give operations to the kernel say.
    pub(super) entries: VecDeque<Errno>,
    /// Completions of operations that never were.
    pub(super) foreign: Vec<Completed>,
    pub(super) pushed: usize,
}

#[derive(Debug)]
pub(super) struct Faulty {
    pub(super) inner: Uring,
    pub(super) script: Arc<Mutex<Script>>,
    /// Shortened vectors: kept for as long as the kernel may look at them.
    pub(super) kept: Vec<Box<[libc::iovec]>>,
    pub(super) ended: Vec<Completed>,
}

// SAFETY: the vectors are only followed by the kernel.
unsafe impl Send for Faulty {}

impl Faulty {
    fn shorten(&mut self, vector: Vector, most_bytes: u64) -> Vector {
        // SAFETY: the volume keeps its vector valid until the completion.
        let pieces = unsafe { std::slice::from_raw_parts(vector.pieces, vector.count as usize) };
        let mut left = most_bytes as usize;
        let mut short = Vec::new();
        for piece in pieces {
            let iov_len = piece.iov_len.min(left);
            if iov_len > 0 {
                short.push(libc::iovec { iov_len, ..*piece });
            }
            left -= iov_len;
        }
        let short = short.into_boxed_slice();
        let vector = Vector {
            pieces: short.as_ptr(),
            count: short.len() as u32,
            ..vector
        };
        self.kept.push(short);
        vector
    }
}

impl Kernel for Faulty {
    unsafe fn push(&mut self, operation: Operation) -> Result<(), Full> {
        let fate = {
            let mut script = self.script.lock().unwrap();
            script.pushed += 1;
            script.fates.pop_front().unwrap_or(Fate::Plain)
        };
        let what = match (fate, operation.what) {
            (Fate::Fails(error), _) => {
                self.ended.push(Completed {
                    id: operation.id,
                    result: -error.raw_os_error(),
                });
                return Ok(());
            }
            (Fate::Lies(result), _) => {
                let id = operation.id;
                self.ended.push(Completed { id, result });
                return Ok(());
            }
            (Fate::Stops, What::Read(vector) | What::Write(vector)) => {
                let pieces = std::ptr::without_provenance(8);
                What::Read(Vector { pieces, ..vector })
            }
            (Fate::Short(most), What::Read(vector)) => What::Read(self.shorten(vector, most)),
            (Fate::Short(most), What::Write(vector)) => What::Write(self.shorten(vector, most)),
            (_, what) => what,
        };
        // SAFETY: as the caller says; shortened vectors are kept.
        unsafe { self.inner.push(Operation { what, ..operation }) }
    }

    fn enter(&mut self, wait: Wait) -> Result<(), Errno> {
        let refused = self.script.lock().unwrap().entries.pop_front();
        match refused {
            Some(error) => Err(error),
            None => self
                .inner
                .enter(if self.ended.is_empty() { wait } else { Wait::No }),
        }
    }

    fn has_queued(&self) -> bool {
        self.inner.has_queued()
    }

    fn abandon(&mut self, ids: &mut Vec<u64>) {
        self.inner.abandon(ids);
    }

    fn reap(&mut self, completed: &mut VecDeque<Completed>) {
        completed.extend(self.ended.drain(..));
        completed.extend(self.script.lock().unwrap().foreign.drain(..));
        self.inner.reap(completed);
    }
}
