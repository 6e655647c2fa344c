//! What becomes of an access to a mapping that has lost its device.
//!
//! Linux answers the CPU with SIGBUS where it touches a BAR whose memory decoding is switched off, whose device is gone, or a dma-buf that was
//! moved away (`vfio_pci_mmap_huge_fault` in drivers/vfio/pci/vfio_pci_core.c). The hardware would have answered with all ones, which drivers know how to
//! take. Accesses by the kernel (`pread` of the device's file) would be an error instead of a signal, but each is a call of the system: too slow for a
//! doorbell, and it does not help where several threads and a mapping that others hold are at it. So the process listens to SIGBUS. Where the address
//! lies in a mapping of a device, that mapping is marked as gone and becomes memory of nobody as a whole: the access is repeated, and
//! succeeds. [`super::Memory`] looks at the mark after each load, and yields all ones. It stays so: who wants the device again maps it anew.
//!
//! That memory takes RAM where it is written to. In a process that locks all that it maps (`mlockall(MCL_FUTURE)`) it takes RAM as a whole, as much as the BAR
//! has, or, beyond RLIMIT_MEMLOCK, is not to be had, which ends the process: such programs add `MCL_ONFAULT`.
//!
//! All other bus errors go to whoever listened before, on the stack and with the signals blocked that it asked for, and only once where it asked for that
//! (SA_RESETHAND: this here listens on, but then treats what is not its own as if nobody had listened before). Who sets a handler later
//! replaces this one, and calls [`take`] or, as is usual, the handler that it found.
//!
//! Nothing is changed by linking the library: it begins to listen when the first BAR is mapped. A program that listens itself says so before, by [`decline`],
//! and calls [`take`] with `si_addr` in its own handler.
#![allow(unsafe_code)]

use rustix::fd::AsFd;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::process::{Resource, getrlimit};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// One place for a mapping. Places are never freed, since a handler may be looking at them, but used again.
#[derive(Debug, Default)]
struct Place {
    is_taken: AtomicBool,
    start: AtomicUsize,
    /// Behind its last byte; 0 while there is none.
    end: AtomicUsize,
    /// The process that has it. A child has the places too, but not the mappings: what lies there in a child is something else.
    process: AtomicI32,
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
/// Was that called, and wanted to be called only once?
static IS_BEFORE_SPENT: AtomicBool = AtomicBool::new(false);
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

/// Takes care of a bus error at an address: `true` if it lies in a mapping of a device. The access may be repeated then, which a handler lets happen by
/// returning. Nothing in here allocates or locks: it is for handlers of signals.
///
/// Only for `si_code` of `BUS_ADRERR` or `BUS_OBJERR`. `BUS_MCEERR_AR` and `BUS_MCEERR_AO` are memory that has failed, whose contents the process must not believe to
/// be a device's; after `BUS_ADRALN` (an access that is not aligned) the access would fail again for ever; 0 and below were sent by a process, with no address.
pub fn take(address: usize) -> bool {
    let process = own_id();
    let mut place = PLACES.load(Ordering::Acquire);
    // SAFETY: places are never freed, and all but `next` of what is in them is atomic; `next` is, too.
    while let Some(this) = unsafe { place.as_ref() } {
        let end = this.end.load(Ordering::Acquire);
        let start = this.start.load(Ordering::Acquire);
        // Who faults holds its mapping, whose place does not change; of others that do, no half is taken for the truth.
        let is_own = this.process.load(Ordering::Acquire) == process;
        if is_own && start <= address && address < end && this.end.load(Ordering::Acquire) == end {
            return this.give_up(start, end - start, address);
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
    place.process.store(own_id(), Ordering::Release);
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
    /// Puts memory of nobody where the device was. The mark comes first: who loads from that memory sees it.
    fn give_up(&self, start: usize, len_bytes: usize, address: usize) -> bool {
        let was_gone = self.is_gone.swap(true, Ordering::SeqCst);
        if !was_gone && (put_file(start, len_bytes).is_ok() || put_ram(start, len_bytes).is_ok()) {
            return true;
        }
        // Where there is not so much to be had, or another thread is about to put it there: one page after the other, as they are touched.
        let page_bytes = rustix::param::page_size();
        put_ram(address - address % page_bytes, page_bytes).is_ok()
    }
}

/// Puts a file in memory, of holes, in place of a mapping. It counts as memory of the process only where it is written to, also where the kernel promises no more than it has
/// (`vm.overcommit_memory` of 2): there, as much anonymous memory as large BARs are is not to be had.
fn put_file(start: usize, len_bytes: usize) -> Result<(), Errno> {
    // Beyond that, a signal ends the process.
    if getrlimit(Resource::Fsize)
        .current
        .is_some_and(|most_bytes| most_bytes < len_bytes as u64)
    {
        return Err(Errno::FBIG);
    }
    let file = memfd_create(c"peerdma-gone", MemfdFlags::CLOEXEC)?;
    ftruncate(&file, len_bytes as u64)?;
    let at = ptr::with_exposed_provenance_mut(start);
    // SAFETY: as in `put_ram`. Nobody else has the file, which is not cut off.
    unsafe {
        rustix::mm::mmap(
            at,
            len_bytes,
            RIGHTS,
            MapFlags::SHARED | MapFlags::FIXED,
            file.as_fd(),
            0,
        )
    }
    .map(drop)
}

/// Puts anonymous memory in place of a mapping, or of a part of it.
fn put_ram(start: usize, len_bytes: usize) -> Result<(), Errno> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
    let at = ptr::with_exposed_provenance_mut(start);
    // SAFETY: only the mapping that was told of by its owner is replaced, which outlives its place. Nobody has references into
    // it: it is accessed by single loads and stores, which any memory is good for.
    unsafe { rustix::mm::mmap_anonymous(at, len_bytes, RIGHTS, flags) }.map(drop)
}

const RIGHTS: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

fn own_id() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
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
    if is_handler(&before) {
        // It is called from here with what it asked for: with the signals blocked of its set, on the stack that it expects to be large enough.
        let kept = libc::SA_ONSTACK | libc::SA_RESTART | libc::SA_NODEFER;
        action.sa_flags = libc::SA_SIGINFO | (before.sa_flags & kept);
    } else {
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        // SAFETY: the set is this process's own, and is initialised.
        unsafe { libc::sigemptyset(&raw mut action.sa_mask) };
    }
    exchange(Some(&action))?;
    *state = State::Listening;
    Ok(())
}

/// Is it a function of the program, and none of the two words for none?
fn is_handler(action: &libc::sigaction) -> bool {
    !matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN)
}

/// May it be called? One that wanted to be called only once was never there, the second time.
fn is_to_be_called(before: &libc::sigaction) -> bool {
    let is_once = before.sa_flags & libc::SA_RESETHAND != 0;
    is_handler(before) && !(is_once && IS_BEFORE_SPENT.swap(true, Ordering::AcqRel))
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

/// Only what may be done in handlers is done here and in what it calls: atomics, `sigaction`, `raise`, and system calls without a library's state
/// (`getpid`, `getrlimit`, `memfd_create`, `ftruncate`, `mmap`, `close`).
extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel gives it; `si_addr` is its for signals that the kernel sends for a fault.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let is_fault = code == libc::BUS_ADRERR || code == libc::BUS_OBJERR;
    if is_fault && take(address) {
        return;
    }
    match BEFORE.get() {
        Some(before) if before.sa_sigaction == libc::SIG_IGN && code <= 0 => {}
        Some(before) if is_to_be_called(before) => {
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
mod tests;
