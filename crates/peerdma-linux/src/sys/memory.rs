//! Memory that is mapped into this process: anonymous pages, or what a file descriptor shows (a BAR, p2pmem).
//!
//! Devices write to such memory at any time. So nothing here ever makes a slice or a reference of it: it is loaded and stored by
//! volatile accesses of exactly one width.
#![allow(unsafe_code)]

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use std::ffi::c_void;
use std::ptr::NonNull;

/// One mapping of memory, undone on drop.
#[derive(Debug)]
pub struct Memory {
    start: NonNull<c_void>,
    len_bytes: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread; it is only unmapped by the drop of its one owner, and all that `&Memory`
// offers are volatile accesses to memory that others (devices) change anyway.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Anonymous memory: reads as zero, and takes RAM only where it is touched or pinned.
    ///
    /// # Errors
    /// That of `mmap`; `EINVAL` for no bytes at all, or more than the process can address.
    pub fn anonymous(len_bytes: u64) -> Result<Self, Errno> {
        let len_bytes = checked(len_bytes)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: the kernel chooses the address, so no other mapping is replaced.
        let start =
            unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), len_bytes, READ_WRITE, flags) }?;
        Self::owned(start, len_bytes)
    }

    /// What `fd` shows from `offset_bytes` on, shared.
    ///
    /// # Errors
    /// That of `mmap`; `EINVAL` for no bytes at all, or more than the process can address.
    pub fn of_file(fd: BorrowedFd<'_>, offset_bytes: u64, len_bytes: u64) -> Result<Self, Errno> {
        let len_bytes = checked(len_bytes)?;
        // SAFETY: the kernel chooses the address, so no other mapping is replaced.
        let start = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len_bytes,
                READ_WRITE,
                MapFlags::SHARED,
                fd,
                offset_bytes,
            )
        }?;
        Self::owned(start, len_bytes)
    }

    /// Where it begins in this process.
    pub fn address(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// Bytes of it, as they were asked for.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes as u64
    }

    /// Loads a dword by one access; nothing outside of the memory or where it is not aligned.
    pub fn load_u32(&self, offset_bytes: u64) -> Option<u32> {
        let at = self.at::<u32>(offset_bytes)?;
        // SAFETY: `at` lies in this mapping, which lives as long as `self`, and is aligned.
        Some(unsafe { at.as_ptr().read_volatile() })
    }

    /// Stores a dword by one access; nothing happens outside of the memory or where it is not aligned.
    pub fn store_u32(&self, offset_bytes: u64, value: u32) -> Option<()> {
        let at = self.at::<u32>(offset_bytes)?;
        // SAFETY: `at` lies in this mapping, which lives as long as `self`, and is aligned.
        unsafe { at.as_ptr().write_volatile(value) };
        Some(())
    }

    /// Loads a qword by one access (two on machines of 32 bits); nothing outside of the memory or where it is not aligned.
    pub fn load_u64(&self, offset_bytes: u64) -> Option<u64> {
        let at = self.at::<u64>(offset_bytes)?;
        // SAFETY: `at` lies in this mapping, which lives as long as `self`, and is aligned.
        Some(unsafe { at.as_ptr().read_volatile() })
    }

    /// Stores a qword by one access (two on machines of 32 bits); nothing happens outside of the memory or where it is not aligned.
    pub fn store_u64(&self, offset_bytes: u64, value: u64) -> Option<()> {
        let at = self.at::<u64>(offset_bytes)?;
        // SAFETY: `at` lies in this mapping, which lives as long as `self`, and is aligned.
        unsafe { at.as_ptr().write_volatile(value) };
        Some(())
    }

    fn owned(start: *mut c_void, len_bytes: usize) -> Result<Self, Errno> {
        let start = NonNull::new(start).ok_or(Errno::NOMEM)?;
        Ok(Self { start, len_bytes })
    }

    /// The place of an access, if it lies within and is aligned.
    fn at<T>(&self, offset_bytes: u64) -> Option<NonNull<T>> {
        let offset = usize::try_from(offset_bytes).ok()?;
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.len_bytes || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: `offset` lies within the mapping.
        Some(unsafe { self.start.byte_add(offset) }.cast())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that was made, whole, and nobody else has its address after the drop of its owner.
        // It can only fail for want of memory to split a mapping; then it stays mapped, which harms nobody.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr(), self.len_bytes) };
    }
}

const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

fn checked(len_bytes: u64) -> Result<usize, Errno> {
    match usize::try_from(len_bytes) {
        Ok(0) | Err(_) => Err(Errno::INVAL),
        Ok(len_bytes) => Ok(len_bytes),
    }
}
