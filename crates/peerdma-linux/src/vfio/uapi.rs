//! Numbers and structures of the two interfaces that the bindings leave to their users: the bindings have no ioctl numbers, and structures that end in a list
//! have it without a length (include/uapi/linux/vfio.h, include/uapi/linux/iommufd.h).

use iommufd_bindings as iommufd;
use rustix::ioctl::{Opcode, opcode};
use vfio_bindings::bindings::vfio;

const fn vfio(number: u8) -> Opcode {
    opcode::none(vfio::VFIO_TYPE, vfio::VFIO_BASE as u8 + number)
}

const fn iommu(command: u32) -> Opcode {
    opcode::none(iommufd::IOMMUFD_TYPE, command as u8)
}

pub(super) const GET_API_VERSION: Opcode = vfio(0);
pub(super) const CHECK_EXTENSION: Opcode = vfio(1);
pub(super) const SET_IOMMU: Opcode = vfio(2);
pub(super) const GROUP_GET_STATUS: Opcode = vfio(3);
pub(super) const GROUP_SET_CONTAINER: Opcode = vfio(4);
pub(super) const GROUP_GET_DEVICE_FD: Opcode = vfio(6);
pub(super) const DEVICE_GET_INFO: Opcode = vfio(7);
pub(super) const DEVICE_GET_REGION_INFO: Opcode = vfio(8);
pub(super) const DEVICE_GET_IRQ_INFO: Opcode = vfio(9);
pub(super) const DEVICE_SET_IRQS: Opcode = vfio(10);
pub(super) const DEVICE_RESET: Opcode = vfio(11);
// The numbers from 12 on mean other things to a container than to a device.
pub(super) const IOMMU_GET_INFO: Opcode = vfio(12);
pub(super) const IOMMU_MAP_DMA: Opcode = vfio(13);
pub(super) const IOMMU_UNMAP_DMA: Opcode = vfio(14);
pub(super) const DEVICE_FEATURE: Opcode = vfio(17);
pub(super) const DEVICE_BIND_IOMMUFD: Opcode = vfio(18);
pub(super) const DEVICE_ATTACH_IOMMUFD_PT: Opcode = vfio(19);

pub(super) const IOAS_ALLOC: Opcode = iommu(iommufd::IOMMUFD_CMD_IOAS_ALLOC);
pub(super) const IOAS_IOVA_RANGES: Opcode = iommu(iommufd::IOMMUFD_CMD_IOAS_IOVA_RANGES);
pub(super) const IOAS_MAP: Opcode = iommu(iommufd::IOMMUFD_CMD_IOAS_MAP);
pub(super) const IOAS_MAP_FILE: Opcode = iommu(iommufd::IOMMUFD_CMD_IOAS_MAP_FILE);
pub(super) const IOAS_UNMAP: Opcode = iommu(iommufd::IOMMUFD_CMD_IOAS_UNMAP);

/// `argsz` (VFIO) or `size` (iommufd) of a structure: all of it.
pub(super) const fn size_of_argument<T>() -> u32 {
    // No structure of theirs comes near 4 GiB.
    size_of::<T>() as u32
}

/// `struct vfio_device_feature` with a `struct vfio_device_feature_dma_buf` of one range.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct DmaBufFeature {
    pub(super) argsz: u32,
    pub(super) flags: u32,
    pub(super) region_index: u32,
    pub(super) open_flags: u32,
    pub(super) dma_buf_flags: u32,
    pub(super) nr_ranges: u32,
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// `struct vfio_irq_set` as dwords: the file descriptors of its vectors, `-1` for none, follow it. Without any, all of its kind are given up.
pub(super) fn irq_set(index: u32, start: u32, fds: &[i32]) -> Vec<u32> {
    let data = match fds.is_empty() {
        true => vfio::VFIO_IRQ_SET_DATA_NONE,
        false => vfio::VFIO_IRQ_SET_DATA_EVENTFD,
    };
    // No device has more than 2048 vectors.
    let count = fds.len() as u32;
    let argsz = size_of_argument::<vfio::vfio_irq_set>() + 4 * count;
    let head = [
        argsz,
        data | vfio::VFIO_IRQ_SET_ACTION_TRIGGER,
        index,
        start,
        count,
    ];
    let fds = fds.iter().map(|fd| fd.cast_unsigned());
    head.into_iter().chain(fds).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn structures_with_a_list_agree_with_the_bindings() {
        let feature = size_of::<vfio::vfio_device_feature>();
        assert_eq!(feature, offset_of!(DmaBufFeature, region_index));
        assert_eq!(
            feature + size_of::<vfio::vfio_device_feature_dma_buf>(),
            offset_of!(DmaBufFeature, offset)
        );
        assert_eq!(
            size_of::<DmaBufFeature>() - offset_of!(DmaBufFeature, offset),
            size_of::<vfio::vfio_region_dma_range>()
        );
        assert_eq!(irq_set(2, 0, &[]).len() * 4, size_of::<vfio::vfio_irq_set>());
    }

    #[test]
    fn numbers_are_those_of_the_headers() {
        // `_IO(';', 100 + n)` and `_IO(';', 0x80 + n)`.
        assert_eq!(DEVICE_FEATURE, 0x3b75);
        assert_eq!(IOAS_MAP_FILE, 0x3b8f);
    }
}
