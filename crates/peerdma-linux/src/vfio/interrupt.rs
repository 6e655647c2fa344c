//! Interrupts of a device (MSI-X, else MSI), each told by an eventfd.
//!
//! Locking: [`Vectors`] is behind a mutex of its device, held over the ioctl that changes what the kernel knows, so that the two agree.
#![allow(unsafe_code)]

use super::device::Device;
use super::error::VfioError;
use super::info::{Growth, Interrupts};
use super::uapi;
use crate::sys::{EventFd, ioctl};
use peerdma::addr::Bdf;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::sync::Arc;
use std::time::Duration;

/// An interrupt of a device that is listened to. On drop it is no longer; the device stays open until then.
#[derive(Debug)]
pub struct Interrupt {
    vector: u32,
    event: Arc<EventFd>,
    device: Device,
}

impl Interrupt {
    pub(super) fn new(device: &Device, vector: u32) -> Result<Self, VfioError> {
        let event = device.vectors().listen(device.bdf(), device.fd(), vector)?;
        Ok(Self {
            vector,
            event,
            device: device.clone(),
        })
    }

    /// Its number.
    pub fn vector(&self) -> u32 {
        self.vector
    }

    /// Waits until it came, and says how often since the last time; 0 after `timeout` (nothing: for ever) or where a signal came. It may come without a
    /// cause: whoever waits looks at the device.
    ///
    /// # Errors
    /// That of poll(2) or read(2).
    pub fn wait(&self, timeout: Option<Duration>) -> Result<u64, Errno> {
        self.event.wait(timeout)
    }
}

impl AsFd for Interrupt {
    /// To wait for several things at once: it can be read when the interrupt came.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.device.vectors().forget(self.device.fd(), self.vector);
    }
}

/// The interrupts of a device that are listened to.
#[derive(Debug)]
pub(super) struct Vectors {
    kind: Interrupts,
    /// As many as are in use by the kernel: some only because a higher one is.
    used: Vec<Option<Arc<EventFd>>>,
}

impl Vectors {
    pub(super) fn new(kind: Interrupts) -> Self {
        Self {
            kind,
            used: Vec::new(),
        }
    }

    fn listen(&mut self, bdf: Bdf, fd: BorrowedFd<'_>, vector: u32) -> Result<Arc<EventFd>, VfioError> {
        let Interrupts { count, growth, .. } = self.kind;
        if vector >= count {
            return Err(VfioError::NoInterrupt { bdf, vector, count });
        }
        let doing = || VfioError::system(format!("give interrupt {vector} of {bdf}"));
        let index = vector as usize;
        if self.used.get(index).is_some_and(Option::is_some) {
            return Err(doing()(Errno::BUSY));
        }
        let event = Arc::new(EventFd::new().map_err(doing())?);
        let is_more = index >= self.used.len();
        let outcome = match growth {
            Growth::Anew if is_more => self.take_anew(fd, index, &event),
            _ => set(fd, self.kind.index, vector, &[event.as_fd().as_raw_fd()]),
        };
        outcome.map_err(doing())?;
        if is_more {
            self.used.resize(index + 1, None);
        }
        if let Some(place) = self.used.get_mut(index) {
            *place = Some(event.clone());
        }
        Ok(event)
    }

    /// Gives up all, and takes up to `index`. Interrupts that come meanwhile are lost: so each is told once without a cause.
    fn take_anew(&mut self, fd: BorrowedFd<'_>, index: usize, event: &EventFd) -> Result<(), Errno> {
        if !self.used.is_empty() {
            set(fd, self.kind.index, 0, &[])?;
        }
        let raw = |event: &Option<Arc<EventFd>>| event.as_ref().map_or(-1, |event| event.as_fd().as_raw_fd());
        let mut fds: Vec<_> = self.used.iter().map(raw).collect();
        fds.resize(index + 1, -1);
        fds[index] = event.as_fd().as_raw_fd();
        let outcome = set(fd, self.kind.index, 0, &fds);
        if outcome.is_err() {
            // Those that were there before are to go on, if the kernel lets them.
            fds.truncate(self.used.len());
            if !fds.is_empty() && set(fd, self.kind.index, 0, &fds).is_err() {
                self.used.clear();
            }
        }
        for event in self.used.iter().flatten() {
            // A counter that is full wakes just as well.
            let _ = event.signal();
        }
        outcome
    }

    fn forget(&mut self, fd: BorrowedFd<'_>, vector: u32) {
        if let Some(place) = self.used.get_mut(vector as usize) {
            *place = None;
            // If the kernel refuses it, it goes on to count in an eventfd of which nobody knows.
            let _ = set(fd, self.kind.index, vector, &[-1]);
        }
    }

    /// The kernel gives up all of them.
    pub(super) fn give_up(&mut self, fd: BorrowedFd<'_>) {
        if !self.used.is_empty() {
            self.used.clear();
            // If it refuses, it does so when the file is closed.
            let _ = set(fd, self.kind.index, 0, &[]);
        }
    }
}

/// Has the kernel tell vectors from `start` on to eventfds (`-1`: to nobody); without any it gives up all of their kind.
pub(super) fn set(fd: BorrowedFd<'_>, index: u32, start: u32, fds: &[i32]) -> Result<(), Errno> {
    let mut words = uapi::irq_set(index, start, fds);
    // SAFETY: takes this structure and as many file descriptors as it says.
    unsafe { ioctl::with(fd, uapi::DEVICE_SET_IRQS, words.as_mut_slice()) }.map(drop)
}
