use super::super::Memory;
use super::*;
use rustix::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

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
        miss();
        return;
    }
    let status = again(NAME);
    assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
}

/// Runs one test by itself, in another process.
fn again(name: &str) -> ExitStatus {
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args([name, "--exact", "--nocapture"]).env(CHILD, "1");
    test.status().unwrap()
}

/// A bus error that is no device's.
fn miss() {
    let file = memfd_create("other", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, BYTES).unwrap();
    let other = Memory::of_file(file.as_fd(), 0, BYTES).unwrap();
    ftruncate(&file, 0).unwrap();
    other.load_u32(0);
}

static CALLS: AtomicUsize = AtomicUsize::new(0);

/// As one that dumps and returns: the access is repeated, and must end the process. It leaves by 3 where it is called again, by 4 where it is not in the state it
/// asked for.
extern "C" fn once(_: libc::c_int) {
    let mut mask = MaybeUninit::uninit();
    // SAFETY: the mask is filled, and all calls are allowed in handlers.
    unsafe {
        libc::sigprocmask(libc::SIG_BLOCK, ptr::null(), mask.as_mut_ptr());
        let is_blocked = |signal| libc::sigismember(mask.as_ptr(), signal) == 1;
        if !is_blocked(libc::SIGUSR1) || !is_blocked(libc::SIGBUS) {
            libc::_exit(4);
        }
        if CALLS.fetch_add(1, Ordering::SeqCst) > 0 {
            libc::_exit(3);
        }
    }
}

#[test]
fn who_listened_before_is_called_once_where_it_wants_that_with_its_signals_blocked() {
    const NAME: &str = "sys::bus_error::tests::who_listened_before_is_called_once_where_it_wants_that_with_its_signals_blocked";
    if std::env::var_os(CHILD).is_some() {
        // SAFETY: an action of zeros is one, and the handler is of the form that its flags say.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(libc::c_int) = once;
            action.sa_sigaction = handler as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_RESETHAND;
            libc::sigaddset(&raw mut action.sa_mask, libc::SIGUSR1);
            exchange(Some(&action)).unwrap();
        }
        let (file, memory) = bar();
        // A device's is not its business.
        ftruncate(&file, 0).unwrap();
        assert_eq!(memory.load_u32(0), Some(u32::MAX));
        assert_eq!(CALLS.load(Ordering::SeqCst), 0);
        miss();
        return;
    }
    let status = again(NAME);
    assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
}

/// With `vm.overcommit_memory` of 2 the kernel refuses what it would have to promise; to see that takes a machine of its own.
#[test]
fn what_takes_the_place_of_a_large_bar_is_nothing_that_the_kernel_has_to_promise() {
    const LARGE: u64 = 1 << 30;
    let file = memfd_create("bar", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, LARGE).unwrap();
    let memory = Memory::of_device(file.as_fd(), 0, LARGE).unwrap();
    ftruncate(&file, 0).unwrap();
    for at in [LARGE - 8, 0, LARGE / 2, 4096] {
        memory.store_u32(at, 7).unwrap();
        assert_eq!(memory.load_u32(at), Some(u32::MAX));
    }
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let start = format!("{:08x}-", memory.address());
    let line = maps.lines().find(|line| line.starts_with(&start)).unwrap();
    // Shared, and not the one that was cut off.
    assert!(line.contains(" rw-s ") && !line.contains("memfd:bar "), "{line}");
}

#[test]
fn where_no_memory_is_left_for_all_of_it_the_pages_that_are_touched_are_given_up() {
    let file = memfd_create("bar", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, BYTES).unwrap();
    let memory = Memory::of_device(file.as_fd(), 0, BYTES).unwrap();
    memory.store_u32(0, 5).unwrap();
    // Somebody else gives it up already, and has not come far.
    let start = memory.address() as usize;
    let place = Place::default();
    place.is_gone.store(true, Ordering::SeqCst);
    assert!(place.give_up(start, BYTES as usize, start + 4100));
    memory.store_u32(4096, 7).unwrap();
    let shown = Memory::of_file(file.as_fd(), 0, BYTES).unwrap();
    assert_eq!((shown.load_u32(0), shown.load_u32(4096)), (Some(5), Some(0)));
    assert_eq!((memory.load_u32(0), memory.load_u32(4096)), (Some(5), Some(7)));
}

#[test]
fn what_lies_in_a_child_where_a_device_was_is_left_alone() {
    let (_file, memory) = bar();
    let address = memory.address() as usize;
    // SAFETY: the child only does what handlers of signals may do, too.
    let status = unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::_exit(take(address).into());
        }
        let mut status = -1;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        status
    };
    assert_eq!(status, 0);
    assert!(take(address) && memory.is_gone());
}

#[test]
fn an_address_of_nobody_is_left_to_others() {
    assert!(!take(0));
    assert!(!take(usize::MAX));
}
