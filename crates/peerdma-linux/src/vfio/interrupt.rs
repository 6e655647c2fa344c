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
        let mut vectors = self.device.vectors();
        vectors.forget(self.device.fd(), self.vector, &self.event);
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
        // Those that are lost, too: their owners look at the device, and then know.
        let owners: Vec<_> = self.used.iter().flatten().cloned().collect();
        let outcome = set(fd, self.kind.index, 0, &fds);
        if outcome.is_err() {
            // Those that were there before are to go on, if the kernel lets them.
            fds.truncate(self.used.len());
            if !fds.is_empty() && set(fd, self.kind.index, 0, &fds).is_err() {
                self.used.clear();
            }
        }
        for event in owners {
            // A counter that is full wakes just as well.
            let _ = event.signal();
        }
        outcome
    }

    /// Nobody listens any more by this eventfd. Where the kernel has given up all, another may have the vector by now.
    fn forget(&mut self, fd: BorrowedFd<'_>, vector: u32, event: &Arc<EventFd>) {
        let is_its =
            |place: &&mut Option<Arc<EventFd>>| place.as_ref().is_some_and(|other| Arc::ptr_eq(other, event));
        if let Some(place) = self.used.get_mut(vector as usize).filter(is_its) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::ioctl::script;
    use crate::vfio::chain::u32_at;
    use std::cell::RefCell;
    use std::fs::File;
    use std::rc::Rc;

    const BDF: Bdf = Bdf::from_devfn(0, 1, 0);

    /// What the kernel was told: the first vector, and for each one whether there is an eventfd.
    type Told = Rc<RefCell<Vec<(u32, Vec<bool>)>>>;

    /// A kernel that refuses the `refused`th time (from 0 on).
    fn kernel(refused: Option<usize>) -> Told {
        let told = Told::default();
        let log = told.clone();
        script::play(move |request, bytes| {
            assert_eq!(request, uapi::DEVICE_SET_IRQS);
            assert_eq!(u32_at(bytes, 0), Some(bytes.len() as u32));
            assert_eq!(u32_at(bytes, 16), Some((bytes.len() as u32 - 20) / 4));
            let fds = bytes[20..].chunks_exact(4).map(|fd| fd != [0xff; 4]).collect();
            let mut log = log.borrow_mut();
            log.push((u32_at(bytes, 12).unwrap(), fds));
            match Some(log.len() - 1) == refused {
                true => Err(Errno::NOSPC),
                false => Ok(0),
            }
        });
        told
    }

    fn vectors(growth: Growth) -> Vectors {
        Vectors::new(Interrupts {
            index: 1,
            count: 4,
            growth,
        })
    }

    #[test]
    fn vectors_are_added_one_by_one_where_the_kernel_can() {
        let (told, file) = (kernel(None), File::open("/dev/null").unwrap());
        let mut vectors = vectors(Growth::Free);
        let second = vectors.listen(BDF, file.as_fd(), 1).unwrap();
        vectors.listen(BDF, file.as_fd(), 0).unwrap();
        vectors.listen(BDF, file.as_fd(), 3).unwrap();
        vectors.forget(file.as_fd(), 1, &second);
        vectors.listen(BDF, file.as_fd(), 1).unwrap();
        vectors.give_up(file.as_fd());
        vectors.give_up(file.as_fd());
        let one = |vector, has| (vector, Vec::from([has]));
        let calls = [
            one(1, true),
            one(0, true),
            one(3, true),
            one(1, false),
            one(1, true),
            (0, Vec::new()),
        ];
        assert_eq!(*told.borrow(), calls);
    }

    #[test]
    fn vectors_that_are_taken_anew_tell_those_who_wait_that_they_may_have_missed_one() {
        let (told, file) = (kernel(None), File::open("/dev/null").unwrap());
        let mut vectors = vectors(Growth::Anew);
        let first = vectors.listen(BDF, file.as_fd(), 0).unwrap();
        let third = vectors.listen(BDF, file.as_fd(), 2).unwrap();
        assert_eq!((first.take(), third.take()), (Ok(1), Ok(0)));
        vectors.listen(BDF, file.as_fd(), 1).unwrap();
        let calls = [
            (0, Vec::from([true])),
            (0, Vec::new()),
            (0, Vec::from([true, false, true])),
            (1, Vec::from([true])),
        ];
        assert_eq!(*told.borrow(), calls);
    }

    #[test]
    fn those_that_were_there_go_on_where_more_are_refused() {
        let (told, file) = (kernel(Some(2)), File::open("/dev/null").unwrap());
        let mut vectors = vectors(Growth::Anew);
        let first = vectors.listen(BDF, file.as_fd(), 0).unwrap();
        let refused = vectors.listen(BDF, file.as_fd(), 1);
        assert!(matches!(
            refused,
            Err(VfioError::System {
                errno: Errno::NOSPC,
                ..
            })
        ));
        assert_eq!(first.take(), Ok(1));
        assert_eq!(told.borrow().last(), Some(&(0, Vec::from([true]))));
        vectors.listen(BDF, file.as_fd(), 1).unwrap();
    }

    #[test]
    fn who_waits_is_woken_where_the_kernel_gives_nothing_back_and_takes_nothing_from_who_comes_after() {
        let calls = Rc::new(RefCell::new(0));
        let count = calls.clone();
        script::play(move |_, _| {
            *count.borrow_mut() += 1;
            match *count.borrow() {
                // More vectors, and then those that there were.
                3 | 4 => Err(Errno::NOSPC),
                _ => Ok(0),
            }
        });
        let file = File::open("/dev/null").unwrap();
        let mut vectors = vectors(Growth::Anew);
        let first = vectors.listen(BDF, file.as_fd(), 0).unwrap();
        vectors.listen(BDF, file.as_fd(), 1).unwrap_err();
        assert_eq!(first.take(), Ok(1));
        let later = vectors.listen(BDF, file.as_fd(), 0).unwrap();
        vectors.forget(file.as_fd(), 0, &first);
        assert_eq!(vectors.used.len(), 1);
        assert!(
            vectors.used[0]
                .as_ref()
                .is_some_and(|event| Arc::ptr_eq(event, &later))
        );
    }

    #[test]
    fn a_vector_is_given_once_and_none_beyond_the_last() {
        let (_told, file) = (kernel(None), File::open("/dev/null").unwrap());
        let mut vectors = vectors(Growth::Free);
        vectors.listen(BDF, file.as_fd(), 0).unwrap();
        let twice = vectors.listen(BDF, file.as_fd(), 0);
        assert!(matches!(
            twice,
            Err(VfioError::System {
                errno: Errno::BUSY,
                ..
            })
        ));
        let beyond = vectors.listen(BDF, file.as_fd(), 4);
        let error = VfioError::NoInterrupt {
            bdf: BDF,
            vector: 4,
            count: 4,
        };
        assert_eq!(beyond.unwrap_err(), error);
    }
}
