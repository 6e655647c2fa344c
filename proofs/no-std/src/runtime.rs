//! What an embedder brings: an entry point, an allocator, a panic handler, and the five memory
//! routines that compiled Rust code calls.
//!
//! This needs `unsafe` since there is nothing below it but the processor and the kernel.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

const SYSCALL_WRITE: usize = 1;
const SYSCALL_EXIT_GROUP: usize = 231;

// The kernel enters with the argument count at the top of the stack and no return address.
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "and rsp, -16",
    "call {run}",
    "ud2",
    run = sym crate::run,
);

/// Writes `text` to standard output; what cannot be written is lost.
pub fn print(text: &str) {
    // SAFETY: write(2) reads `text.len()` bytes at the pointer, both from one live `str`; a
    // syscall clobbers rax, rcx and r11 only.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") SYSCALL_WRITE => _,
            in("rdi") 1usize,
            in("rsi") text.as_ptr(),
            in("rdx") text.len(),
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack, readonly),
        );
    }
}

/// Ends the program.
pub fn exit(code: i32) -> ! {
    // SAFETY: exit_group(2) does not return and reads no memory.
    unsafe {
        asm!(
            "syscall",
            in("rax") SYSCALL_EXIT_GROUP,
            in("rdi") code,
            options(noreturn, nostack),
        );
    }
}

#[panic_handler]
fn panic(_info: &PanicInfo<'_>) -> ! {
    print("panic\n");
    exit(101)
}

/// Memory that is handed out once and never taken back: the program is over soon.
struct Bump {
    arena: UnsafeCell<[u8; Bump::ARENA_BYTES]>,
    used_bytes: AtomicUsize,
}

impl Bump {
    const ARENA_BYTES: usize = 1 << 20;
}

// SAFETY: `used_bytes` is atomic, and every allocation gets bytes of the arena that no other has.
unsafe impl Sync for Bump {}

// SAFETY: `alloc` returns memory of the requested size and alignment that nobody else gets, or
// null; it does not unwind. The provided `realloc` and `alloc_zeroed` build on it.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let arena = self.arena.get().cast::<u8>();
        let mut offset = 0;
        let taken = self
            .used_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let address = (arena as usize).checked_add(used)?;
                offset = used.checked_add(address.wrapping_neg() & (layout.align() - 1))?;
                let end = offset.checked_add(layout.size())?;
                (end <= Self::ARENA_BYTES).then_some(end)
            });
        match taken {
            // SAFETY: `offset` and the `layout.size()` bytes after it lie within the arena.
            Ok(_) => unsafe { arena.add(offset) },
            Err(_) => null_mut(),
        }
    }

    unsafe fn dealloc(&self, _memory: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump = Bump {
    arena: UnsafeCell::new([0; Bump::ARENA_BYTES]),
    used_bytes: AtomicUsize::new(0),
};

/// `alloc` was compiled to unwind and names this routine; with `panic = "abort"` nobody calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() -> ! {
    exit(102)
}

/// Like [`rust_eh_personality`].
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    exit(102)
}

// In assembly, since the compiler turns a copying loop into a call of the routine it stands in.

/// # Safety
/// As in C: `count_bytes` bytes at `from` and at `to`, not overlapping.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count_bytes: usize) -> *mut u8 {
    // SAFETY: the caller vouches for both ranges; the direction flag is clear by the ABI.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") count_bytes => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
    }
    to
}

/// # Safety
/// As in C: `count_bytes` bytes at `from` and at `to`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count_bytes: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= count_bytes {
        // SAFETY: `to` does not lie within the source, so that copying upwards reads every byte
        // before it is overwritten; the caller vouches for both ranges.
        return unsafe { memcpy(to, from, count_bytes) };
    }
    // SAFETY: copying downwards reads every byte before it is overwritten, the ends are within the
    // ranges that the caller vouches for, and the direction flag is cleared again.
    unsafe {
        asm!(
            "std",
            "rep movsb",
            "cld",
            inout("rcx") count_bytes => _,
            inout("rdi") to.wrapping_add(count_bytes).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(count_bytes).wrapping_sub(1) => _,
            options(nostack),
        );
    }
    to
}

/// # Safety
/// As in C: `count_bytes` bytes at `to`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, count_bytes: usize) -> *mut u8 {
    // SAFETY: the caller vouches for the range; the direction flag is clear by the ABI.
    unsafe {
        asm!(
            "rep stosb",
            inout("rcx") count_bytes => _,
            inout("rdi") to => _,
            in("al") byte as u8,
            options(nostack, preserves_flags),
        );
    }
    to
}

/// # Safety
/// As in C: `count_bytes` bytes at `left` and at `right`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count_bytes: usize) -> i32 {
    for index in 0..count_bytes {
        // SAFETY: `index` lies within both ranges, for which the caller vouches; volatile, so that
        // the loop is not turned into a call of this routine.
        let (left, right) = unsafe { (left.add(index).read_volatile(), right.add(index).read_volatile()) };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
    }
    0
}

/// # Safety
/// As [`memcmp`].
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count_bytes: usize) -> i32 {
    // SAFETY: the caller owes the same.
    unsafe { memcmp(left, right, count_bytes) }
}
