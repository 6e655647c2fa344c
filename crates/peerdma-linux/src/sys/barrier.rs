//! Order between RAM and registers, as a driver needs it: what `dma_wmb` and `dma_rmb` are in Linux.
//!
//! The fences of the language order RAM among threads; only on some processors do they order it with registers too.
#![allow(unsafe_code)]

/// What was stored to RAM before it is there for devices before a register is stored to after it.
#[inline]
pub(crate) fn before_register_store() {
    #[cfg(target_arch = "x86_64")]
    // Stores are seen in their order there, those to registers too; the compiler is to keep it.
    std::sync::atomic::fence(std::sync::atomic::Ordering::Release);
    #[cfg(target_arch = "aarch64")]
    // SAFETY: only orders accesses (those of the outer shareable domain, where devices are).
    unsafe {
        std::arch::asm!("dmb oshst", options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: only orders accesses.
    unsafe {
        std::arch::asm!("fence w, ow", options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

/// What is loaded from RAM after it is what was there when a register was loaded from before it.
#[inline]
pub(crate) fn after_register_load() {
    #[cfg(target_arch = "x86_64")]
    std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
    #[cfg(target_arch = "aarch64")]
    // SAFETY: only orders accesses.
    unsafe {
        std::arch::asm!("dmb oshld", options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: only orders accesses.
    unsafe {
        std::arch::asm!("fence ir, r", options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}
