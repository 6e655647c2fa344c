//! Transfers past the page cache (`O_DIRECT`): whether a file has them, and how its memory and offsets must be aligned for them.

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, OFlags, StatxFlags};
use rustix::io::Errno;

/// How the kernel moves the data of a device or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfers {
    /// Straight between it and the memory (`O_DIRECT`).
    Direct,
    /// By way of the page cache, with a copy by the CPU: its file system does nothing else.
    Buffered,
}

/// Has a file that is open transfer directly, if it can.
pub(super) fn made_direct(fd: &OwnedFd) -> Result<Transfers, Errno> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    match rustix::fs::fcntl_setfl(fd, flags | OFlags::DIRECT) {
        // Some file systems have no direct transfers at all, others none for this file.
        Err(Errno::INVAL) => Ok(Transfers::Buffered),
        Ok(()) if direct_alignment(fd) == Some((0, 0)) => {
            rustix::fs::fcntl_setfl(fd, flags)?;
            Ok(Transfers::Buffered)
        }
        other => other.map(|()| Transfers::Direct),
    }
}

/// Alignment of memory and of offsets for direct transfers, (0, 0) where there are none; nothing where the kernel does not tell (before 6.1, or
/// not of this file system).
pub(super) fn direct_alignment(fd: &OwnedFd) -> Option<(u32, u32)> {
    let found = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok();
    let found = found.or_else(|| {
        // Older kernels want the path of the descriptor itself.
        rustix::fs::statx(
            CWD,
            format!("/proc/self/fd/{}", raw(fd)),
            AtFlags::empty(),
            StatxFlags::DIOALIGN,
        )
        .ok()
    })?;
    let is_told = found.stx_mask & StatxFlags::DIOALIGN.bits() != 0;
    let pair = (found.stx_dio_mem_align, found.stx_dio_offset_align);
    let is_sound = pair == (0, 0) || (pair.0.is_power_of_two() && pair.1.is_power_of_two());
    (is_told && is_sound).then_some(pair)
}

fn raw(fd: &OwnedFd) -> i32 {
    use rustix::fd::AsRawFd;
    fd.as_raw_fd()
}
