//! What becomes of an access to a mapping that has lost its device.
//!
//! Linux answers the CPU with SIGBUS where it touches a BAR whose memory decoding is switched off, whose device is gone, or a dma-buf that was
//! moved away (`vfio_pci_mmap_huge_fault` in drivers/vfio/pci/vfio_pci_core.c). The hardware would have answered with all ones, which drivers know how to
//! take. Accesses by the kernel (`pread` of the device's file) would be an error instead of a signal, but each is a call of the system: too slow for a
//! doorbell, and it does not help where several threads and a mapping that others hold are at it. So the process listens to SIGBUS. Where the address
//! lies in a mapping of a device, that mapping is marked as gone and becomes anonymous memory as a whole: the access is repeated, and
//! succeeds. [`super::Memory`] looks at the mark after each load, and yields all ones. It stays so: who wants the device again maps it anew.
//!
//! All other bus errors go to whoever listened before, as if nothing had come in between.
//!
//! Nothing is changed by linking the library: it begins to listen when the first BAR is mapped. A program that listens itself says so before, by [`decline`],
//! and calls [`take`] with `si_addr` in its own handler.
#![allow(unsafe_code)]

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// One place for a mapping. Places are never freed, since a handler may be looking at them, but used again.
#[derive(Debug, Default)]
struct Place {
    is_taken: AtomicBool,
    start: AtomicUsize,
    /// Behind its last byte; 0 while there is none.
    end: AtomicUsize,
    is_gone: AtomicBool,
    next: AtomicPtr<Place>,
}

/// A mapping that is watched until this is dropped; that has to be before it is unmapped.
#[derive(Debug)]
pub(super) struct Watch {
    place: &'static Place,
}

static PLACES: AtomicPtr<Place> = AtomicPtr::new(ptr::null_mut());
/// Who listened before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();
static STATE: Mutex<State> = Mutex::new(State::Quiet);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Quiet,
    Listening,
    Declined,
}

/// The program listens to SIGBUS itself, and calls [`take`]. Without effect once a BAR was mapped.
pub fn decline() {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    if *state == State::Quiet {
        *state = State::Declined;
    }
}

/// Takes care of a bus error (`si_code` above 0) at an address: `true` if it lies in a mapping of a device. The access may be repeated then, which a
/// handler lets happen by returning. Nothing in here allocates or locks: it is for handlers of signals.
pub fn take(address: usize) -> bool {
    let mut place = PLACES.load(Ordering::Acquire);
    // SAFETY: places are never freed, and all but `next` of what is in them is atomic; `next` is, too.
    while let Some(this) = unsafe { place.as_ref() } {
        let end = this.end.load(Ordering::Acquire);
        let start = this.start.load(Ordering::Acquire);
        // Who faults holds its mapping, whose place does not change; of others that do, no half is taken for the truth.
        if start <= address && address < end && this.end.load(Ordering::Acquire) == end {
            return this.give_up(start, end - start);
        }
        place = this.next.load(Ordering::Acquire);
    }
    false
}

/// Has bus errors in a mapping taken care of.
///
/// # Errors
/// That of `sigaction`.
pub(super) fn watch(start: usize, len_bytes: usize) -> Result<Watch, Errno> {
    listen()?;
    let place = free_place();
    place.is_gone.store(false, Ordering::Release);
    place.start.store(start, Ordering::Release);
    place
        .end
        .store(start.saturating_add(len_bytes), Ordering::Release);
    Ok(Watch { place })
}

impl Watch {
    /// Was it touched when its device did not answer? What is in it is nothing, then.
    pub(super) fn is_gone(&self) -> bool {
        self.place.is_gone.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.place.end.store(0, Ordering::Release);
        self.place.is_taken.store(false, Ordering::Release);
    }
}

impl Place {
    /// Puts anonymous memory where the device was. The mark comes first: who loads from that memory sees it.
    fn give_up(&self, start: usize, len_bytes: usize) -> bool {
        self.is_gone.store(true, Ordering::SeqCst);
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: exactly the mapping that was told of by its owner is replaced, which outlives its place here. Nobody has references into
        // it: it is accessed by single loads and stores, which any memory is good for.
        let mapped = unsafe {
            rustix::mm::mmap_anonymous(ptr::with_exposed_provenance_mut(start), len_bytes, rights, flags)
        };
        mapped.is_ok()
    }
}

/// A place that is nobody's: one that was given back, or a new one.
fn free_place() -> &'static Place {
    let mut place = PLACES.load(Ordering::Acquire);
    // SAFETY: as in `take`.
    while let Some(this) = unsafe { place.as_ref() } {
        let taken = (this.is_taken).compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed);
        if taken.is_ok() {
            return this;
        }
        place = this.next.load(Ordering::Acquire);
    }
    let new: &'static Place = Box::leak(Box::default());
    new.is_taken.store(true, Ordering::Relaxed);
    let _ = PLACES.fetch_update(Ordering::AcqRel, Ordering::Acquire, |first| {
        new.next.store(first, Ordering::Release);
        Some(ptr::from_ref(new).cast_mut())
    });
    new
}

/// Listens, unless that was done or is not to be.
fn listen() -> Result<(), Errno> {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    if *state != State::Quiet {
        return Ok(());
    }
    // The handler may be called before this function is over: first who listened before.
    let before = exchange(None)?;
    let _ = BEFORE.set(before);
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void) = on_bus_error;
    let mut action = before;
    action.sa_sigaction = handler as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the set is this process's own, and is initialised.
    unsafe { libc::sigemptyset(&raw mut action.sa_mask) };
    exchange(Some(&action))?;
    *state = State::Listening;
    Ok(())
}

/// Sets who listens, if anybody is given; who did before.
fn exchange(new: Option<&libc::sigaction>) -> Result<libc::sigaction, Errno> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: both are null or this process's own; a handler that is set is `on_bus_error` or was set before.
    let result = unsafe {
        libc::sigaction(
            libc::SIGBUS,
            new.map_or(ptr::null(), ptr::from_ref),
            before.as_mut_ptr(),
        )
    };
    match result {
        // SAFETY: the kernel has filled it.
        0 => Ok(unsafe { before.assume_init() }),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

/// Only what may be done in handlers is done here and in what it calls: atomics, `mmap`, `sigaction`, `raise`.
extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel gives it; `si_addr` is its for signals that the kernel sends for a fault.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let is_fault = code == libc::BUS_ADRERR || code == libc::BUS_OBJERR;
    if is_fault && take(address) {
        return;
    }
    match BEFORE.get() {
        Some(before) if before.sa_sigaction == libc::SIG_IGN && code <= 0 => {}
        Some(before) if !matches!(before.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) => {
            // SAFETY: it was set as the handler of this very signal, of one of the two forms by its flags.
            unsafe {
                if before.sa_flags & libc::SA_SIGINFO != 0 {
                    let next: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void) =
                        std::mem::transmute(before.sa_sigaction);
                    next(signal, info, context);
                } else {
                    let next: extern "C" fn(libc::c_int) = std::mem::transmute(before.sa_sigaction);
                    next(signal);
                }
            }
        }
        _ => {
            // As if nobody listened: it ends the process when this returns.
            // SAFETY: an action of all zeros is the default one; both calls are allowed in handlers.
            unsafe {
                let default: libc::sigaction = std::mem::zeroed();
                libc::sigaction(libc::SIGBUS, &raw const default, ptr::null_mut());
                libc::raise(libc::SIGBUS);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;
    use rustix::fd::{AsFd, OwnedFd};
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const BYTES: u64 = 8192;
    const CHILD: &str = "PEERDMA_TEST_BUS_ERROR";

    /// A file in memory stands in for a BAR: cut off, it answers as one that has lost its device does.
    fn bar() -> (OwnedFd, Memory) {
        let file = memfd_create("bar", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, BYTES).unwrap();
        let memory = Memory::of_device(file.as_fd(), 0, BYTES).unwrap();
        (file, memory)
    }

    #[test]
    fn a_device_that_vanishes_under_a_mapping_reads_as_all_ones_and_is_told() {
        let (file, memory) = bar();
        memory.store_u32(0x10, 7).unwrap();
        assert_eq!((memory.load_u32(0x10), memory.is_gone()), (Some(7), false));
        ftruncate(&file, 0).unwrap();
        assert_eq!(memory.load_u32(0x10), Some(u32::MAX));
        assert!(memory.is_gone());
        // What is written is lost, in every page.
        memory.store_u64(0x10, 7).unwrap();
        memory.store_u8(4096, 7).unwrap();
        assert_eq!(memory.load_u64(0x10), Some(u64::MAX));
        assert_eq!(memory.load_u8(4096), Some(u8::MAX));
        assert_eq!(memory.load_u16(8190), Some(u16::MAX));
        assert_eq!(memory.load_u16(8192), None);
    }

    #[test]
    fn a_store_finds_out_too_and_another_mapping_goes_on() {
        let (file, memory) = bar();
        let (_other_file, other) = bar();
        ftruncate(&file, 0).unwrap();
        memory.store_u32(4096, 1).unwrap();
        assert!(memory.is_gone() && !other.is_gone());
        other.store_u32(0, 5).unwrap();
        assert_eq!(other.load_u32(0), Some(5));
        // A place that is used again knows nothing of who had it before.
        drop(memory);
        let (_file, again) = bar();
        assert!(!again.is_gone());
        assert_eq!(again.load_u32(0), Some(0));
    }

    #[test]
    fn threads_that_lose_a_device_at_the_same_time_all_read_ones() {
        let (file, memory) = bar();
        memory.store_u32(0, 7).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let seen = std::iter::repeat_with(|| memory.load_u32(0).unwrap());
                    let other = seen.skip_while(|value| *value == 7).take(100);
                    assert!({ other }.all(|value| value == u32::MAX));
                });
            }
            ftruncate(&file, 0).unwrap();
        });
    }

    /// Run again by itself, in a process that is to die.
    #[test]
    fn a_bus_error_elsewhere_still_ends_the_process() {
        const NAME: &str = "sys::bus_error::tests::a_bus_error_elsewhere_still_ends_the_process";
        if std::env::var_os(CHILD).is_some() {
            let (_file, _memory) = bar();
            let file = memfd_create("other", MemfdFlags::CLOEXEC).unwrap();
            ftruncate(&file, BYTES).unwrap();
            let other = Memory::of_file(file.as_fd(), 0, BYTES).unwrap();
            ftruncate(&file, 0).unwrap();
            other.load_u32(0);
            return;
        }
        let status = Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
    }

    #[test]
    fn an_address_of_nobody_is_left_to_others() {
        assert!(!take(0));
        assert!(!take(usize::MAX));
    }
}
