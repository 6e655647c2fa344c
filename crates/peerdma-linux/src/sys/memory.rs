//! Memory that is mapped into this process: anonymous pages, or what a file descriptor shows (a BAR, p2pmem, a dma-buf).
//!
//! Devices write to such memory at any time. So nothing here ever makes a slice of it: memory of BARs is loaded and stored by volatile
//! accesses of exactly one width, RAM by atomic cells. Called by `process` (RAM and BARs), `vfio` (registers) and `ring` (p2pmem).
#![allow(unsafe_code)]

use super::bus_error::{self, Watch};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, fence};

/// One mapping of memory, undone on drop.
#[derive(Debug)]
pub struct Memory {
    // Taken away before what it watches is unmapped.
    watch: Option<Watch>,
    start: NonNull<c_void>,
    len_bytes: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread; it is only unmapped by the drop of its one owner, and all that `&Memory`
// offers are volatile or atomic accesses to memory that others (devices) change anyway.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Anonymous memory: reads as zero, and takes RAM only where it is touched or pinned. A child of this process does not have it.
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

    /// What `fd` shows from `offset_bytes` on, shared. A child of this process does not have it: it would keep a device open that is closed here.
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

    /// What a device shows, as [`Self::of_file`]. Where the device vanishes or does not answer, loads yield all ones, as of hardware, and
    /// [`Self::is_gone`] tells (see [`bus_error`]).
    ///
    /// # Errors
    /// That of `mmap` or `sigaction`; `EINVAL` for no bytes at all, or more than the process can address.
    pub fn of_device(fd: BorrowedFd<'_>, offset_bytes: u64, len_bytes: u64) -> Result<Self, Errno> {
        let mut memory = Self::of_file(fd, offset_bytes, len_bytes)?;
        // The kernel maps whole pages.
        let pages_bytes = memory.len_bytes.next_multiple_of(rustix::param::page_size());
        let start = memory.start.as_ptr().expose_provenance();
        memory.watch = Some(bus_error::watch(start, pages_bytes)?);
        Ok(memory)
    }

    /// Was it touched when its device was gone or did not answer? It reaches the device no more, then, also where that comes back: it is to be mapped anew.
    pub fn is_gone(&self) -> bool {
        self.watch.as_ref().is_some_and(Watch::is_gone)
    }

    /// Where it begins in this process.
    pub fn address(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// Bytes of it, as they were asked for.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes as u64
    }

    /// Loads a byte; nothing outside of the memory.
    pub fn load_u8(&self, offset_bytes: u64) -> Option<u8> {
        let at = self.at::<u8>(offset_bytes)?;
        // SAFETY: `at` lies in this mapping, which lives as long as `self`.
        let value = unsafe { at.as_ptr().read_volatile() };
        Some(self.answered(value, u8::MAX))
    }

    /// Stores a byte; nothing happens outside of the memory.
    pub fn store_u8(&self, offset_bytes: u64, value: u8) -> Option<()> {
        let at = self.at::<u8>(offset_bytes)?;
        // SAFETY: `at` lies in this mapping, which lives as long as `self`.
        unsafe { at.as_ptr().write_volatile(value) };
        Some(())
    }

    /// Loads a word by one access; nothing outside of the memory or where it is not aligned.
    pub fn load_u16(&self, offset_bytes: u64) -> Option<u16> {
        let at = self.at::<u16>(offset_bytes)?;
        // SAFETY: `at` lies in this mapping, which lives as long as `self`, and is aligned.
        let value = unsafe { at.as_ptr().read_volatile() };
        Some(self.answered(value, u16::MAX))
    }

    /// Stores a word by one access; nothing happens outside of the memory or where it is not aligned.
    pub fn store_u16(&self, offset_bytes: u64, value: u16) -> Option<()> {
        let at = self.at::<u16>(offset_bytes)?;
        // SAFETY: `at` lies in this mapping, which lives as long as `self`, and is aligned.
        unsafe { at.as_ptr().write_volatile(value) };
        Some(())
    }

    /// Loads a dword by one access; nothing outside of the memory or where it is not aligned.
    pub fn load_u32(&self, offset_bytes: u64) -> Option<u32> {
        let at = self.at::<u32>(offset_bytes)?;
        // SAFETY: `at` lies in this mapping, which lives as long as `self`, and is aligned.
        let value = unsafe { at.as_ptr().read_volatile() };
        Some(self.answered(value, u32::MAX))
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
        let value = unsafe { at.as_ptr().read_volatile() };
        Some(self.answered(value, u64::MAX))
    }

    /// Stores a qword by one access (two on machines of 32 bits); nothing happens outside of the memory or where it is not aligned.
    pub fn store_u64(&self, offset_bytes: u64, value: u64) -> Option<()> {
        let at = self.at::<u64>(offset_bytes)?;
        // SAFETY: `at` lies in this mapping, which lives as long as `self`, and is aligned.
        unsafe { at.as_ptr().write_volatile(value) };
        Some(())
    }

    /// Loads a dword of RAM: what its writer wrote before it is seen by what is read after it. Nothing outside of the memory or where
    /// it is not aligned.
    pub fn load_acquire(&self, offset_bytes: u64) -> Option<u32> {
        Some(self.atomic_u32(offset_bytes)?.load(Ordering::Acquire))
    }

    /// Stores a dword of RAM: who loads it by [`Self::load_acquire`] sees what was written before it.
    pub fn store_release(&self, offset_bytes: u64, value: u32) -> Option<()> {
        self.atomic_u32(offset_bytes)?.store(value, Ordering::Release);
        Some(())
    }

    /// Copies from RAM; nothing where not all of it lies in the memory.
    pub fn copy_out(&self, offset_bytes: u64, into: &mut [u8]) -> Option<()> {
        let Cells { cells, skip_bytes } = self.cells(offset_bytes, into.len())?;
        let (head, body) = into.split_at_mut(skip_bytes.min(into.len()));
        let (first, rest) = cells.split_at(usize::from(!head.is_empty()));
        for cell in first {
            let word = cell.load(Ordering::Relaxed).to_ne_bytes();
            head.copy_from_slice(&word[CELL_BYTES - skip_bytes..][..head.len()]);
        }
        for (bytes, cell) in body.chunks_mut(CELL_BYTES).zip(rest) {
            let word = cell.load(Ordering::Relaxed).to_ne_bytes();
            bytes.copy_from_slice(&word[..bytes.len()]);
        }
        Some(())
    }

    /// Copies to RAM; nothing happens where not all of it would lie in the memory.
    pub fn copy_in(&self, offset_bytes: u64, from: &[u8]) -> Option<()> {
        let Cells { cells, skip_bytes } = self.cells(offset_bytes, from.len())?;
        let (head, body) = from.split_at(skip_bytes.min(from.len()));
        let (first, rest) = cells.split_at(usize::from(!head.is_empty()));
        for cell in first {
            store_part(cell, CELL_BYTES - skip_bytes, head);
        }
        for (bytes, cell) in body.chunks(CELL_BYTES).zip(rest) {
            match bytes.try_into() {
                Ok(word) => cell.store(u32::from_ne_bytes(word), Ordering::Relaxed),
                Err(_) => store_part(cell, 0, bytes),
            }
        }
        Some(())
    }

    /// Lets RAM be zero; nothing happens where not all of it lies in the memory.
    pub fn clear(&self, offset_bytes: u64, len_bytes: u64) -> Option<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let end = offset_bytes.checked_add(len_bytes)?;
        if end > self.len_bytes() {
            return None;
        }
        let mut at = offset_bytes;
        while at < end {
            let count = (end - at).min(ZEROS.len() as u64);
            self.copy_in(at, ZEROS.get(..count as usize)?)?;
            at += count;
        }
        Some(())
    }

    fn owned(start: *mut c_void, len_bytes: usize) -> Result<Self, Errno> {
        let memory = Self {
            watch: None,
            start: NonNull::new(start).ok_or(Errno::NOMEM)?,
            len_bytes,
        };
        // A copy of RAM for a child would part what the process sees from what devices do. Where the kernel refuses it, nothing else is lost.
        // SAFETY: the range is this mapping, and the advice changes nothing in this process.
        let _ = unsafe { rustix::mm::madvise(start, len_bytes, Advice::LinuxDontFork) };
        Ok(memory)
    }

    /// What a load yields: nothing but ones of a device that is gone.
    fn answered<T>(&self, value: T, ones: T) -> T {
        let Some(watch) = &self.watch else {
            return value;
        };
        // The mark was set before anything else could be loaded.
        fence(Ordering::Acquire);
        match watch.is_gone() {
            true => ones,
            false => value,
        }
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

    fn atomic_u32(&self, offset_bytes: u64) -> Option<&AtomicU32> {
        let at = self.at::<u32>(offset_bytes)?;
        // SAFETY: it lies in this mapping, which lives as long as `self`, and is aligned. Within the process, RAM is accessed by atomics
        // alone; what devices write is, to the abstract machine, another thread that does the same.
        Some(unsafe { AtomicU32::from_ptr(at.as_ptr()) })
    }

    /// The atomic cells that a range of RAM touches: dwords all, as in [`Self::load_acquire`], so that no byte is ever accessed by two widths.
    fn cells(&self, offset_bytes: u64, len_bytes: usize) -> Option<Cells<'_>> {
        let offset = usize::try_from(offset_bytes).ok()?;
        let end = offset.checked_add(len_bytes)?;
        if end > self.len_bytes {
            return None;
        }
        let first = offset / CELL_BYTES;
        let count = end.div_ceil(CELL_BYTES) - first;
        // SAFETY: a mapping begins at a page and is whole pages, so that all dwords that its bytes touch lie in it; it lives as long as the
        // result. What is atomic may change under a shared reference, and the process accesses RAM by such cells alone (as in `atomic_u32`).
        let cells: &[AtomicU32] =
            unsafe { std::slice::from_raw_parts(self.start.cast::<AtomicU32>().as_ptr().add(first), count) };
        // The bytes of the range in its first cell, where that one is not the range's from its start on.
        let skip_bytes = (CELL_BYTES - offset % CELL_BYTES) % CELL_BYTES;
        Some(Cells { cells, skip_bytes })
    }
}

/// Bytes of a cell.
const CELL_BYTES: usize = size_of::<AtomicU32>();

/// What a range of RAM touches.
struct Cells<'m> {
    cells: &'m [AtomicU32],
    /// Bytes up to the first cell that begins within the range.
    skip_bytes: usize,
}

/// Stores some bytes of a cell from `at` on; the others stay as they are, whoever writes them meanwhile.
fn store_part(cell: &AtomicU32, at: usize, bytes: &[u8]) {
    // It is done again until nobody came in between.
    let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
        let mut word = word.to_ne_bytes();
        word.get_mut(at..)?.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(u32::from_ne_bytes(word))
    });
}

impl Drop for Memory {
    fn drop(&mut self) {
        drop(self.watch.take());
        // SAFETY: this is the mapping that was made, whole, and nobody else has its address after the drop of its owner.
        // It can only fail for want of memory to split a mapping; then it stays mapped, which harms nobody.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr(), self.len_bytes) };
    }
}

const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

fn checked(len_bytes: u64) -> Result<usize, Errno> {
    match usize::try_from(len_bytes) {
        Ok(len_bytes) if 0 < len_bytes && len_bytes <= isize::MAX as usize => Ok(len_bytes),
        Ok(_) | Err(_) => Err(Errno::INVAL),
    }
}

#[cfg(test)]
mod tests;
