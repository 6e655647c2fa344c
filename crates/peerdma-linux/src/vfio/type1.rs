//! Groups and containers: one container for one group (drivers/vfio/container.c, group.c, vfio_iommu_type1.c).
//!
//! All that is mapped is undone by the kernel when the group leaves the container, which it does when its last file is closed.
#![allow(unsafe_code)]

use super::backend::{Api, Backend, Source};
use super::chain;
use super::error::VfioError;
use super::file::{self, Question};
use super::place::Places;
use super::space::Space;
use super::uapi;
use crate::sys::ioctl;
use peerdma::addr::{Address, Bdf, Iova, Span};
use peerdma::iommu::Rights;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;
use std::ffi::CString;
use vfio_bindings::bindings::vfio;

const MODULES: &str = "vfio-pci vfio_iommu_type1";

/// A group in a container of its own. The group is closed first.
#[derive(Debug)]
pub(super) struct Type1 {
    group: OwnedFd,
    container: OwnedFd,
    number: u32,
    page_bytes: u64,
    apertures: Vec<Span<Iova>>,
}

impl Type1 {
    /// Opens group `number`, to which `bdf` belongs.
    pub(super) fn open(places: &Places, number: u32, bdf: Bdf) -> Result<Self, VfioError> {
        let container = open_container(places)?;
        let group = open_group(places, number, bdf)?;
        if !is_viable(&group, number)? {
            return Err(VfioError::NotViable {
                group: number,
                others: places.obstacles(number),
            });
        }
        let mut raw = container.as_raw_fd();
        // SAFETY: takes a pointer to an int, the container's file descriptor.
        unsafe { ioctl::with(&group, uapi::GROUP_SET_CONTAINER, &mut raw) }.map_err(VfioError::system(
            format!("put IOMMU group {number} into a container"),
        ))?;
        // SAFETY: takes a number.
        unsafe { ioctl::number(&container, uapi::SET_IOMMU, vfio::VFIO_TYPE1v2_IOMMU as usize) }.map_err(
            |errno| match errno {
                Errno::PERM => VfioError::NoInterruptRemapping { group: number },
                errno => VfioError::System {
                    doing: format!("make an address space for IOMMU group {number}"),
                    errno,
                },
            },
        )?;
        let info = info(&container).map_err(VfioError::system("tell what the IOMMU can map"))?;
        Ok(Self {
            group,
            container,
            number,
            page_bytes: page_bytes(&info),
            apertures: apertures(&info),
        })
    }
}

impl Backend for Type1 {
    fn api(&self) -> Api {
        Api::Type1
    }

    fn page_bytes(&self) -> u64 {
        self.page_bytes
    }

    fn apertures(&self) -> Vec<Span<Iova>> {
        self.apertures.clone()
    }

    fn mappings_left(&self) -> Option<u32> {
        let info = info(&self.container).ok()?;
        chain::u32_at(
            capability(&info, vfio::VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL as u16)?,
            AVAIL,
        )
    }

    fn map(&self, iova: Iova, from: Source<'_>, len_bytes: u64, rights: Rights) -> Result<(), Errno> {
        let Source::Memory { memory, offset_bytes } = from else {
            return Err(Errno::OPNOTSUPP);
        };
        let mut argument = vfio::vfio_iommu_type1_dma_map {
            argsz: uapi::size_of_argument::<vfio::vfio_iommu_type1_dma_map>(),
            flags: match rights {
                Rights::Read => vfio::VFIO_DMA_MAP_FLAG_READ,
                Rights::Write => vfio::VFIO_DMA_MAP_FLAG_WRITE,
                Rights::ReadWrite => vfio::VFIO_DMA_MAP_FLAG_READ | vfio::VFIO_DMA_MAP_FLAG_WRITE,
            },
            iova: iova.to_u64(),
            size: len_bytes,
            vaddr: 0,
        };
        let map = |vaddr| {
            argument.vaddr = vaddr;
            // SAFETY: takes this structure. Devices then reach `memory`, which is only ever accessed as memory that devices change; pages of RAM stay as
            // long as they are mapped, even where it is unmapped from this process first, and pages of a BAR are no memory that anybody else is given.
            unsafe { ioctl::with(&self.container, uapi::IOMMU_MAP_DMA, &mut argument) }.map(drop)
        };
        let unmap = || self.unmap(iova, len_bytes);
        super::backend::while_there(memory, (offset_bytes, len_bytes), map, unmap)
    }

    fn unmap(&self, iova: Iova, len_bytes: u64) -> Result<(), Errno> {
        let mut argument = vfio::vfio_iommu_type1_dma_unmap {
            argsz: uapi::size_of_argument::<vfio::vfio_iommu_type1_dma_unmap>(),
            flags: 0,
            iova: iova.to_u64(),
            size: len_bytes,
            ..Default::default()
        };
        // SAFETY: takes this structure, and writes to `size` how much was unmapped.
        unsafe { ioctl::with(&self.container, uapi::IOMMU_UNMAP_DMA, &mut argument) }?;
        super::backend::whole(argument.size, len_bytes)
    }
}

impl Space for Type1 {
    fn group(&self) -> u32 {
        self.number
    }

    fn open_device(&self, _: &Places, bdf: Bdf) -> Result<OwnedFd, VfioError> {
        // The text of an address has no NUL.
        let mut name = CString::new(bdf.to_string())
            .unwrap_or_default()
            .into_bytes_with_nul();
        // SAFETY: takes a string that ends with NUL, of which the kernel reads up to there.
        let fd = unsafe { ioctl::with(&self.group, uapi::GROUP_GET_DEVICE_FD, name.as_mut_slice()) };
        // SAFETY: it is a new file descriptor, this process's own.
        let fd = fd.and_then(|fd| unsafe { file::adopt(fd) });
        fd.map_err(|errno| match errno {
            // The name of a device that has left the group.
            Errno::NODEV => VfioError::Gone { bdf },
            errno => VfioError::System {
                doing: format!("open {bdf}"),
                errno,
            },
        })
    }
}

fn open_container(places: &Places) -> Result<OwnedFd, VfioError> {
    let container = file::open(&places.container(), MODULES)?;
    // SAFETY: takes nothing.
    let version = unsafe { ioctl::number(&container, uapi::GET_API_VERSION, 0) }
        .map_err(VfioError::system("tell VFIO's version"))?;
    // SAFETY: takes a number.
    let has_type1 = unsafe {
        ioctl::number(
            &container,
            uapi::CHECK_EXTENSION,
            vfio::VFIO_TYPE1v2_IOMMU as usize,
        )
    }
    .map_err(VfioError::system("tell what VFIO offers"))?;
    match (version, has_type1) {
        (vfio::VFIO_API_VERSION, 1..) => Ok(container),
        _ => Err(VfioError::NoType1),
    }
}

fn open_group(places: &Places, number: u32, bdf: Bdf) -> Result<OwnedFd, VfioError> {
    let path = places.group_file(number);
    file::open(&path, MODULES).map_err(|error| {
        let without_iommu = places.dev.join(format!("vfio/noiommu-{number}"));
        match error {
            VfioError::ModuleMissing { .. } if without_iommu.exists() => VfioError::NoIommu { bdf },
            error => error,
        }
    })
}

fn is_viable(group: &OwnedFd, number: u32) -> Result<bool, VfioError> {
    let mut status = vfio::vfio_group_status {
        argsz: uapi::size_of_argument::<vfio::vfio_group_status>(),
        flags: 0,
    };
    // SAFETY: takes this structure, and writes `flags`.
    unsafe { ioctl::with(group, uapi::GROUP_GET_STATUS, &mut status) }.map_err(VfioError::system(
        format!("tell the state of IOMMU group {number}"),
    ))?;
    Ok(status.flags & vfio::VFIO_GROUP_FLAGS_VIABLE != 0)
}

/// Offsets in `struct vfio_iommu_type1_info`.
const FLAGS: usize = 4;
const PAGE_SIZES: usize = 8;
const CAP_OFFSET: usize = 16;

/// Offset in `struct vfio_iommu_type1_info_dma_avail`.
const AVAIL: usize = 8;

/// What the kernel says of a container with an IOMMU.
fn info(container: &OwnedFd) -> Result<Vec<u8>, Errno> {
    // SAFETY: `struct vfio_iommu_type1_info`: 24 bytes, begins with `argsz`, and chains what there is no room for.
    unsafe { file::ask(container.as_fd(), uapi::IOMMU_GET_INFO, Question::Whole) }
}

/// A capability of that.
fn capability(info: &[u8], id: u16) -> Option<&[u8]> {
    let has_chain = chain::u32_at(info, FLAGS).is_some_and(|flags| flags & vfio::VFIO_IOMMU_INFO_CAPS != 0);
    chain::find(info, chain::u32_at(info, CAP_OFFSET).filter(|_| has_chain)?, id)
}

/// The smallest page of which the IOMMU says that it knows it, but none below those of the CPU, in which the kernel pins memory.
fn page_bytes(info: &[u8]) -> u64 {
    let has_sizes =
        chain::u32_at(info, FLAGS).is_some_and(|flags| flags & vfio::VFIO_IOMMU_INFO_PGSIZES != 0);
    let sizes = chain::u64_at(info, PAGE_SIZES).filter(|sizes| has_sizes && *sizes != 0);
    let smallest = sizes.map_or(0, |sizes| 1 << sizes.trailing_zeros());
    smallest.max(rustix::param::page_size() as u64)
}

/// What can be mapped: what the kernel says, or, before Linux 5.4, which said nothing, everything that all IOMMUs can (39 bits), without the window of MSI on x86.
fn apertures(info: &[u8]) -> Vec<Span<Iova>> {
    match capability(info, vfio::VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE as u16) {
        Some(capability) => chain::iova_ranges(capability),
        None => {
            let known = [(0, 0xfedf_ffff), (0xfef0_0000, (1 << 39) - 1)];
            let spans = known.map(|(first, last)| Span::new(Iova::from_u64(first), Iova::from_u64(last)));
            spans.into_iter().flatten().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_answer_of_the_kernel_is_too_odd(info in proptest::collection::vec(any::<u8>(), 0..120)) {
            prop_assert!(page_bytes(&info).is_power_of_two());
            for pair in apertures(&info).windows(2) {
                prop_assert!(pair[0].last() < pair[1].first());
            }
        }
    }
}
