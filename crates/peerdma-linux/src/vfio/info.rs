//! What VFIO tells of a device: its regions and its interrupts.
#![allow(unsafe_code)]

use super::bar::Area;
use super::chain;
use super::file::{self, Question};
use super::uapi;
use crate::sys::ioctl;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use vfio_bindings::bindings::vfio;

/// Can a device be reset for itself?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resettable {
    Yes,
    No,
}

/// A region of a device's file: a BAR, or configuration space.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Region {
    /// Where in the file it begins.
    pub(super) offset_bytes: u64,
    pub(super) len_bytes: u64,
    pub(super) mapping: Mapping,
}

/// What of a region can be mapped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Mapping {
    #[default]
    Nothing,
    /// All but the pages of the MSI-X table.
    AroundMsix,
    /// All.
    Everything,
    /// These parts.
    Areas(Vec<Area>),
}

/// A kind of interrupts of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interrupts {
    /// Its number among the kinds.
    pub(super) index: u32,
    /// How many it has.
    pub(super) count: u32,
    /// Can vectors be added while others are in use?
    pub(super) growth: Growth,
}

/// How vectors are added to those in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// One by one.
    Free,
    /// Only by giving up all, and taking more.
    Anew,
}

pub(super) fn resettable(fd: BorrowedFd<'_>) -> Result<Resettable, Errno> {
    let mut info = vfio::vfio_device_info {
        argsz: uapi::size_of_argument::<vfio::vfio_device_info>(),
        ..Default::default()
    };
    // SAFETY: takes this structure, and writes the rest of it.
    unsafe { ioctl::with(fd, uapi::DEVICE_GET_INFO, &mut info) }?;
    Ok(match info.flags & vfio::VFIO_DEVICE_FLAGS_RESET {
        0 => Resettable::No,
        _ => Resettable::Yes,
    })
}

pub(super) fn region(fd: BorrowedFd<'_>, index: u32) -> Result<Region, Errno> {
    // SAFETY: `struct vfio_region_info`: 32 bytes, begins with `argsz`, has the index as third dword, and chains what there is no room for.
    let answer = unsafe { file::ask(fd, uapi::DEVICE_GET_REGION_INFO, Question::Number(index)) }?;
    Ok(read_region(&answer).unwrap_or_default())
}

/// MSI-X where the device has it, else MSI.
pub(super) fn interrupts(fd: BorrowedFd<'_>) -> Result<Interrupts, Errno> {
    let msix = interrupts_of(fd, vfio::VFIO_PCI_MSIX_IRQ_INDEX)?;
    match msix.count {
        0 => interrupts_of(fd, vfio::VFIO_PCI_MSI_IRQ_INDEX),
        _ => Ok(msix),
    }
}

/// One kind of them.
pub(super) fn interrupts_of(fd: BorrowedFd<'_>, index: u32) -> Result<Interrupts, Errno> {
    let mut info = vfio::vfio_irq_info {
        argsz: uapi::size_of_argument::<vfio::vfio_irq_info>(),
        index,
        ..Default::default()
    };
    // SAFETY: takes this structure, and writes `flags` and `count`.
    unsafe { ioctl::with(fd, uapi::DEVICE_GET_IRQ_INFO, &mut info) }?;
    let has_eventfd = info.flags & vfio::VFIO_IRQ_INFO_EVENTFD != 0;
    Ok(Interrupts {
        index,
        count: if has_eventfd { info.count } else { 0 },
        growth: match info.flags & vfio::VFIO_IRQ_INFO_NORESIZE {
            0 => Growth::Free,
            _ => Growth::Anew,
        },
    })
}

/// Reads `struct vfio_region_info` and its capabilities.
fn read_region(answer: &[u8]) -> Option<Region> {
    let flags = chain::u32_at(answer, 4)?;
    let first = match flags & vfio::VFIO_REGION_INFO_FLAG_CAPS {
        0 => 0,
        _ => chain::u32_at(answer, 12)?,
    };
    let len_bytes = chain::u64_at(answer, 16)?;
    let sparse = || chain::find(answer, first, vfio::VFIO_REGION_INFO_CAP_SPARSE_MMAP as u16);
    let msix = || chain::find(answer, first, vfio::VFIO_REGION_INFO_CAP_MSIX_MAPPABLE as u16);
    let wanted = vfio::VFIO_REGION_INFO_FLAG_READ
        | vfio::VFIO_REGION_INFO_FLAG_WRITE
        | vfio::VFIO_REGION_INFO_FLAG_MMAP;
    let mapping = if flags & wanted != wanted {
        Mapping::Nothing
    } else if let Some(sparse) = sparse() {
        Mapping::Areas(chain::sparse_areas(sparse, len_bytes))
    } else if msix().is_some() {
        Mapping::Everything
    } else {
        Mapping::AroundMsix
    };
    Some(Region {
        offset_bytes: chain::u64_at(answer, 24)?,
        len_bytes,
        mapping,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_region_with_areas_offers_those_alone() {
        let mut answer = Vec::new();
        for word in [80u32, 0b1111, 0, 32] {
            answer.extend(word.to_ne_bytes());
        }
        for word in [0x4000u64, 1 << 40] {
            answer.extend(word.to_ne_bytes());
        }
        // The capability: id 1, version 1, no next, one area.
        answer.extend(1u16.to_ne_bytes());
        answer.extend(1u16.to_ne_bytes());
        for word in [0u32, 1, 0] {
            answer.extend(word.to_ne_bytes());
        }
        for word in [0u64, 0x2000] {
            answer.extend(word.to_ne_bytes());
        }
        let region = read_region(&answer).unwrap();
        assert_eq!((region.offset_bytes, region.len_bytes), (1 << 40, 0x4000));
        assert_eq!(
            region.mapping,
            Mapping::Areas(Vec::from([Area::new(0, 0x2000).unwrap()]))
        );
    }

    proptest! {
        #[test]
        fn no_answer_of_the_kernel_is_too_odd(answer in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Some(Region { mapping: Mapping::Areas(areas), len_bytes, .. }) = read_region(&answer) {
                for area in areas {
                    prop_assert!(area.start() < area.end() && area.end() <= len_bytes);
                }
            }
        }
    }
}
