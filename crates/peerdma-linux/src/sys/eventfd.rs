//! What somebody waits on until something happens: an interrupt of a device, for one.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::time::Duration;

/// A counter in the kernel that devices and threads add to (eventfd(2)).
#[derive(Debug)]
pub struct EventFd {
    fd: OwnedFd,
}

impl EventFd {
    /// A counter at 0.
    ///
    /// # Errors
    /// That of eventfd(2): `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> Result<Self, Errno> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fd })
    }

    /// Adds 1: wakes who waits.
    ///
    /// # Errors
    /// `EAGAIN` where the counter is full, which wakes just as well.
    pub fn signal(&self) -> Result<(), Errno> {
        rustix::io::write(&self.fd, &1u64.to_ne_bytes()).map(drop)
    }

    /// Takes what was counted since the last time, without waiting; 0 where there was nothing.
    ///
    /// # Errors
    /// That of read(2).
    pub fn take(&self) -> Result<u64, Errno> {
        let mut count = [0; 8];
        match rustix::io::read(&self.fd, &mut count) {
            Ok(8) => Ok(u64::from_ne_bytes(count)),
            Ok(_) | Err(Errno::AGAIN) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Waits until something was counted, and takes it; 0 after `timeout` (nothing: for ever), or where a signal came meanwhile.
    ///
    /// # Errors
    /// That of poll(2) or read(2).
    pub fn wait(&self, timeout: Option<Duration>) -> Result<u64, Errno> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().min(i64::MAX as u64) as i64,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => Ok(0),
            Ok(_) => self.take(),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signalled_is_taken_once() {
        let event = EventFd::new().unwrap();
        assert_eq!(event.take(), Ok(0));
        event.signal().unwrap();
        event.signal().unwrap();
        assert_eq!(event.wait(None), Ok(2));
        assert_eq!(event.wait(Some(Duration::ZERO)), Ok(0));
    }

    #[test]
    fn a_waiter_is_woken_by_another_thread() {
        let event = EventFd::new().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| event.signal());
            assert_eq!(event.wait(Some(Duration::from_secs(60))), Ok(1));
        });
    }
}
