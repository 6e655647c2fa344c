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
    /// The kernel's error; nothing was mapped.
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

/// Where `len_bytes` of a memory from an offset on are in this process.
///
/// # Errors
/// `EFAULT` where they are not all in it.
pub(super) fn address_within(memory: &Memory, offset_bytes: u64, len_bytes: u64) -> Result<u64, Errno> {
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
