//! The kernel wants a device back: it is being unbound or removed, and that waits until its file is closed (`VFIO_PCI_REQ_IRQ_INDEX`).

use super::info;
use super::interrupt;
use crate::sys::EventFd;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::sync::atomic::{AtomicBool, Ordering};
use vfio_bindings::bindings::vfio;

/// Tells whether the kernel has asked for a device.
#[derive(Debug)]
pub(super) struct Recall {
    event: Option<EventFd>,
    was_asked: AtomicBool,
}

impl Recall {
    /// Has the kernel tell it; kernels that do not are never seen to ask.
    pub(super) fn listen(fd: BorrowedFd<'_>) -> Result<Self, Errno> {
        let kind = info::interrupts_of(fd, vfio::VFIO_PCI_REQ_IRQ_INDEX)?;
        let mut event = None;
        if kind.count != 0 {
            let told = EventFd::new()?;
            interrupt::set(fd, kind.index, 0, &[told.as_fd().as_raw_fd()])?;
            event = Some(told);
        }
        Ok(Self {
            event,
            was_asked: AtomicBool::new(false),
        })
    }

    pub(super) fn was_asked(&self) -> bool {
        if self
            .event
            .as_ref()
            .is_some_and(|event| matches!(event.take(), Ok(1..)))
        {
            self.was_asked.store(true, Ordering::Relaxed);
        }
        self.was_asked.load(Ordering::Relaxed)
    }
}
