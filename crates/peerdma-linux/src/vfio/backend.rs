//! An I/O address space of the kernel, as the process's mapper uses it: a container of type 1 or an IOAS of iommufd.

use crate::sys::Memory;
use peerdma::addr::{Iova, Span};
use peerdma::iommu::Rights;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::fmt;

/// One I/O address space of the kernel. What is still mapped when it is dropped is unmapped.
pub trait Backend: Send + Sync + fmt::Debug {
    /// By which of the two interfaces it was made.
    fn api(&self) -> Api;

    /// Bytes of the smallest page that can be mapped: a power of two.
    fn page_bytes(&self) -> u64;

    /// The addresses that can be mapped, as the kernel says: sorted, none overlaps another. The windows of host bridges are not cut out of them.
    fn apertures(&self) -> Vec<Span<Iova>>;

    /// How many more mappings the kernel grants, where it says so: type 1 does (`VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL`). It counts them all, those of BARs too.
    fn mappings_left(&self) -> Option<u32> {
        None
    }

    /// Maps `len_bytes` of `from` at `iova`.
    ///
    /// # Errors
    /// The kernel's error; nothing was mapped. `ENODEV` where the memory was a device's that is gone ([`Memory::is_gone`]).
    fn map(&self, iova: Iova, from: Source<'_>, len_bytes: u64, rights: Rights) -> Result<(), Errno>;

    /// Unmaps what was mapped from `iova` on by one call of [`Self::map`] with this length.
    ///
    /// # Errors
    /// The kernel's error; `ENOENT` where it unmapped nothing, `EIO` where it unmapped another number of bytes.
    fn unmap(&self, iova: Iova, len_bytes: u64) -> Result<(), Errno>;
}

/// The kernel's two interfaces to I/O address spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// Groups and containers: `/dev/vfio/vfio`, `/dev/vfio/GROUP` (drivers/vfio/vfio_iommu_type1.c).
    Type1,
    /// Devices and address spaces: `/dev/iommu`, `/dev/vfio/devices/vfioN` (drivers/iommu/iommufd).
    Iommufd,
}

/// What is mapped.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Memory of this process: RAM, or a BAR's pages (those only by type 1: iommufd refuses them).
    Memory {
        /// The memory.
        memory: &'a Memory,
        /// Where in it the mapping begins.
        offset_bytes: u64,
    },
    /// A dma-buf (only by iommufd).
    DmaBuf {
        /// The dma-buf.
        fd: BorrowedFd<'a>,
        /// Where in it the mapping begins.
        offset_bytes: u64,
    },
}

/// Maps memory, given where `len_bytes` of it from an offset on are in this process, if it is still what it was when it is mapped. Where a device was, there
/// is RAM once it is gone ([`crate::sys::bus_error`]). The kernel would map that gladly, and what peers write there would be lost without a word.
///
/// # Errors
/// Those of `map`; `ENODEV` where the device is gone, `EFAULT` where they are not all in the memory
pub(super) fn while_there(
    memory: &Memory,
    (offset_bytes, len_bytes): (u64, u64),
    map: impl FnOnce(u64) -> Result<(), Errno>,
    unmap: impl FnOnce() -> Result<(), Errno>,
) -> Result<(), Errno> {
    if memory.is_gone() {
        return Err(Errno::NODEV);
    }
    map(address_within(memory, offset_bytes, len_bytes)?)?;
    // The mark comes before the RAM: where it is not there by now, the kernel saw the device.
    match memory.is_gone() {
        // Where it cannot be unmapped either, it stays until the address space is closed: who asked is told that it is no mapping.
        true => unmap().and(Err(Errno::NODEV)),
        false => Ok(()),
    }
}

/// Where `len_bytes` of a memory from an offset on are in this process.
///
/// # Errors
/// `EFAULT` where they are not all in it.
fn address_within(memory: &Memory, offset_bytes: u64, len_bytes: u64) -> Result<u64, Errno> {
    let end = offset_bytes.checked_add(len_bytes).ok_or(Errno::FAULT)?;
    match end <= memory.len_bytes() {
        true => memory.address().checked_add(offset_bytes).ok_or(Errno::FAULT),
        false => Err(Errno::FAULT),
    }
}

/// Was as much unmapped as should have been?
pub(super) fn whole(unmapped_bytes: u64, len_bytes: u64) -> Result<(), Errno> {
    match unmapped_bytes {
        0 => Err(Errno::NOENT),
        bytes if bytes == len_bytes => Ok(()),
        _ => Err(Errno::IO),
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Type1 => "type1",
            Self::Iommufd => "iommufd",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::{AsFd, OwnedFd};
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use std::cell::Cell;

    const BYTES: u64 = 8192;

    /// A file in memory stands in for a BAR.
    fn bar() -> (OwnedFd, Memory) {
        let file = memfd_create("bar", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, BYTES).unwrap();
        let memory = Memory::of_device(file.as_fd(), 0, BYTES).unwrap();
        (file, memory)
    }

    fn lose(file: &OwnedFd, memory: &Memory) {
        ftruncate(file, 0).unwrap();
        assert_eq!(memory.load_u32(0), Some(u32::MAX));
    }

    #[test]
    fn the_ram_that_took_the_place_of_a_device_is_never_mapped() {
        let (file, memory) = bar();
        lose(&file, &memory);
        let mapped = while_there(&memory, (0, BYTES), |_| panic!("mapped"), || Ok(()));
        assert_eq!(mapped, Err(Errno::NODEV));
    }

    #[test]
    fn what_was_mapped_while_its_device_vanished_is_unmapped() {
        let (file, memory) = bar();
        let is_mapped = Cell::new(false);
        let map = |address| {
            assert_eq!(address, memory.address() + 4096);
            lose(&file, &memory);
            is_mapped.set(true);
            Ok(())
        };
        let unmap = || {
            is_mapped.set(false);
            Ok(())
        };
        assert_eq!(while_there(&memory, (4096, 4096), map, unmap), Err(Errno::NODEV));
        assert!(!is_mapped.get());
    }

    #[test]
    fn what_is_there_is_mapped_and_nothing_beyond_it() {
        let (_file, memory) = bar();
        let unmap = || panic!("unmapped");
        assert_eq!(while_there(&memory, (0, BYTES), |_| Ok(()), unmap), Ok(()));
        let mapped = while_there(&memory, (4096, BYTES), |_| panic!("mapped"), unmap);
        assert_eq!(mapped, Err(Errno::FAULT));
    }
}
