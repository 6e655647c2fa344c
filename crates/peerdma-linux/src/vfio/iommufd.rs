//! Device files and iommufd: one IOAS for one group (drivers/vfio/device_cdev.c, drivers/iommu/iommufd).
//!
//! The file `/dev/iommu` is opened once for each group: when it and its devices' files are closed, the kernel undoes all that was mapped.
#![allow(unsafe_code)]

use super::backend::{Api, Backend, Source};
use super::chain;
use super::error::VfioError;
use super::file;
use super::place::Places;
use super::space::Space;
use super::uapi;
use crate::sys::ioctl;
use iommufd_bindings as bindings;
use peerdma::addr::{Address, Bdf, Iova, Span};
use peerdma::iommu::Rights;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io::Errno;
use std::sync::{Mutex, PoisonError};
use vfio_bindings::bindings::vfio;

/// More ranges than an address space has.
const MOST_RANGES: u32 = 1 << 12;

/// The address space of a group.
#[derive(Debug)]
pub(super) struct Iommufd {
    fd: OwnedFd,
    ioas: u32,
    group: u32,
    /// Each device that comes can narrow them.
    apertures: Mutex<Vec<Span<Iova>>>,
}

impl Iommufd {
    /// Makes an address space for a group. It has no devices yet.
    pub(super) fn open(places: &Places, group: u32) -> Result<Self, VfioError> {
        let fd = file::open(&places.iommu(), "iommufd")?;
        let mut argument = bindings::iommu_ioas_alloc {
            size: uapi::size_of_argument::<bindings::iommu_ioas_alloc>(),
            ..Default::default()
        };
        // SAFETY: takes this structure, and writes `out_ioas_id`.
        unsafe { ioctl::with(&fd, uapi::IOAS_ALLOC, &mut argument) }.map_err(VfioError::system(format!(
            "make an address space for IOMMU group {group}"
        )))?;
        Ok(Self {
            fd,
            ioas: argument.out_ioas_id,
            group,
            apertures: Mutex::default(),
        })
    }

    /// What devices may use now, as `IOMMU_IOAS_IOVA_RANGES` tells it.
    fn ask_apertures(&self) -> Result<Vec<Span<Iova>>, Errno> {
        let mut room = 16;
        loop {
            let mut ranges = vec![bindings::iommu_iova_range::default(); room as usize];
            let mut argument = bindings::iommu_ioas_iova_ranges {
                size: uapi::size_of_argument::<bindings::iommu_ioas_iova_ranges>(),
                ioas_id: self.ioas,
                num_iovas: room,
                allowed_iovas: ranges.as_mut_ptr().expose_provenance() as u64,
                ..Default::default()
            };
            // SAFETY: takes this structure, and writes to `ranges`, which lives until then, as many as there is room for.
            match unsafe { ioctl::with(&self.fd, uapi::IOAS_IOVA_RANGES, &mut argument) } {
                Err(Errno::MSGSIZE) if room < argument.num_iovas && argument.num_iovas <= MOST_RANGES => {
                    room = argument.num_iovas
                }
                Err(errno) => return Err(errno),
                Ok(_) => {
                    let told = ranges.iter().take(argument.num_iovas as usize);
                    let spans = told.filter_map(|range| {
                        Span::new(Iova::from_u64(range.start), Iova::from_u64(range.last)).ok()
                    });
                    return Ok(chain::in_order(spans));
                }
            }
        }
    }
}

impl Backend for Iommufd {
    fn api(&self) -> Api {
        Api::Iommufd
    }

    fn page_bytes(&self) -> u64 {
        rustix::param::page_size() as u64
    }

    fn apertures(&self) -> Vec<Span<Iova>> {
        self.apertures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn map(&self, iova: Iova, from: Source<'_>, len_bytes: u64, rights: Rights) -> Result<(), Errno> {
        let flags = bindings::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_FIXED_IOVA
            | match rights {
                Rights::Read => bindings::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE,
                Rights::Write => bindings::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_WRITEABLE,
                Rights::ReadWrite => {
                    bindings::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE
                        | bindings::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_WRITEABLE
                }
            };
        match from {
            Source::Memory { memory, offset_bytes } => {
                let mut argument = bindings::iommu_ioas_map {
                    size: uapi::size_of_argument::<bindings::iommu_ioas_map>(),
                    flags,
                    ioas_id: self.ioas,
                    length: len_bytes,
                    iova: iova.to_u64(),
                    ..Default::default()
                };
                let map = |user_va| {
                    argument.user_va = user_va;
                    // SAFETY: takes this structure, and writes its numbers back. Devices then reach `memory`, which is only ever accessed as memory that devices change; its pages stay as
                    // long as they are mapped, even where it is unmapped from this process first.
                    unsafe { ioctl::with(&self.fd, uapi::IOAS_MAP, &mut argument) }.map(drop)
                };
                let unmap = || self.unmap(iova, len_bytes);
                super::backend::while_there(memory, (offset_bytes, len_bytes), map, unmap)
            }
            Source::DmaBuf { fd, offset_bytes } => {
                let mut argument = bindings::iommu_ioas_map_file {
                    size: uapi::size_of_argument::<bindings::iommu_ioas_map_file>(),
                    flags,
                    ioas_id: self.ioas,
                    fd: fd.as_raw_fd(),
                    start: offset_bytes,
                    length: len_bytes,
                    iova: iova.to_u64(),
                };
                // SAFETY: takes this structure, and writes its numbers back. What devices then reach is what a dma-buf exports: memory of a device, which this process
                // accesses, if at all, as memory that others change.
                unsafe { ioctl::with(&self.fd, uapi::IOAS_MAP_FILE, &mut argument) }.map(drop)
            }
        }
    }

    fn unmap(&self, iova: Iova, len_bytes: u64) -> Result<(), Errno> {
        let mut argument = bindings::iommu_ioas_unmap {
            size: uapi::size_of_argument::<bindings::iommu_ioas_unmap>(),
            ioas_id: self.ioas,
            iova: iova.to_u64(),
            length: len_bytes,
        };
        // SAFETY: takes this structure, and writes to `length` how much was unmapped.
        unsafe { ioctl::with(&self.fd, uapi::IOAS_UNMAP, &mut argument) }?;
        super::backend::whole(argument.length, len_bytes)
    }
}

impl Space for Iommufd {
    fn group(&self) -> u32 {
        self.group
    }

    fn open_device(&self, places: &Places, bdf: Bdf) -> Result<OwnedFd, VfioError> {
        let path = places.device_file(bdf).ok_or(VfioError::NoDeviceFile { bdf })?;
        let device = file::open(&path, "vfio-pci")?;
        let mut bind = vfio::vfio_device_bind_iommufd {
            argsz: uapi::size_of_argument::<vfio::vfio_device_bind_iommufd>(),
            iommufd: self.fd.as_raw_fd(),
            ..Default::default()
        };
        // SAFETY: takes this structure, and writes `out_devid`.
        unsafe { ioctl::with(&device, uapi::DEVICE_BIND_IOMMUFD, &mut bind) }.map_err(|errno| {
            let others = places.obstacles(self.group);
            match errno {
                Errno::PERM | Errno::BUSY if !others.is_empty() => VfioError::NotViable {
                    group: self.group,
                    others,
                },
                Errno::BUSY | Errno::INVAL => VfioError::Busy { path: path.clone() },
                Errno::PERM => VfioError::NoInterruptRemapping { group: self.group },
                errno => VfioError::System {
                    doing: format!("bind {bdf} to iommufd"),
                    errno,
                },
            }
        })?;
        let mut attach = vfio::vfio_device_attach_iommufd_pt {
            argsz: uapi::size_of_argument::<vfio::vfio_device_attach_iommufd_pt>(),
            pt_id: self.ioas,
            ..Default::default()
        };
        // SAFETY: takes this structure, and writes `pt_id`, a number.
        unsafe { ioctl::with(&device, uapi::DEVICE_ATTACH_IOMMUFD_PT, &mut attach) }.map_err(|errno| {
            match errno {
                Errno::PERM => VfioError::NoInterruptRemapping { group: self.group },
                errno => VfioError::System {
                    doing: format!("give {bdf} its address space"),
                    errno,
                },
            }
        })?;
        let apertures = self
            .ask_apertures()
            .map_err(VfioError::system("tell what the IOMMU can map"))?;
        *self.apertures.lock().unwrap_or_else(PoisonError::into_inner) = apertures;
        Ok(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Memory;
    use crate::sys::ioctl::script;
    use chain::{u32_at, u64_at};
    use rustix::fd::AsFd;
    use std::cell::RefCell;
    use std::fs::File;
    use std::rc::Rc;

    fn space() -> Iommufd {
        let fd = File::open("/dev/null").unwrap().into();
        Iommufd {
            fd,
            ioas: 7,
            group: 4,
            apertures: Mutex::default(),
        }
    }

    #[test]
    fn all_ranges_are_asked_for_however_many_there_are() {
        let asked = Rc::new(RefCell::new(Vec::new()));
        let log = asked.clone();
        script::play(move |request, bytes| {
            assert_eq!(
                (request, u32_at(bytes, 0), u32_at(bytes, 4)),
                (uapi::IOAS_IOVA_RANGES, Some(32), Some(7))
            );
            let room = u32_at(bytes, 8).unwrap();
            log.borrow_mut().push(room);
            bytes[8..12].copy_from_slice(&20u32.to_ne_bytes());
            if room < 20 { Err(Errno::MSGSIZE) } else { Ok(0) }
        });
        // Nothing was written to the ranges: all are the same one, of one byte.
        assert_eq!(space().ask_apertures().unwrap().len(), 1);
        assert_eq!(*asked.borrow(), [16, 20]);
    }

    #[test]
    fn a_kernel_that_always_wants_more_room_is_not_given_it() {
        script::play(|_, bytes| {
            bytes[8..12].copy_from_slice(&u32::MAX.to_ne_bytes());
            Err(Errno::MSGSIZE)
        });
        assert_eq!(space().ask_apertures(), Err(Errno::MSGSIZE));
        script::play(|_, bytes| {
            bytes[8..12].copy_from_slice(&u32::MAX.to_ne_bytes());
            Ok(0)
        });
        assert_eq!(
            space().ask_apertures().unwrap().len(),
            1,
            "told more than there was room for"
        );
    }

    #[test]
    fn memory_and_dma_bufs_are_mapped_where_they_are_wanted() {
        let memory = Memory::anonymous(0x4000).unwrap();
        let address = memory.address();
        let dma_buf = File::open("/dev/null").unwrap();
        script::play(move |request, bytes| {
            let rest = [u64_at(bytes, 16), u64_at(bytes, 24), u64_at(bytes, 32)].map(Option::unwrap);
            match (request, u32_at(bytes, 4).unwrap(), u32_at(bytes, 8)) {
                // Readable and fixed; then writable and fixed.
                (uapi::IOAS_MAP, 0b101, Some(7)) => assert_eq!(rest, [address + 0x1000, 0x2000, 0x8000]),
                (uapi::IOAS_MAP_FILE, 0b011, Some(7)) => assert_eq!(rest, [0x3000, 0x1000, 0x9000]),
                other => panic!("{other:?}"),
            }
            Ok(0)
        });
        let space = space();
        let source = Source::Memory {
            memory: &memory,
            offset_bytes: 0x1000,
        };
        assert_eq!(
            space.map(Iova::from_u64(0x8000), source, 0x2000, Rights::Read),
            Ok(())
        );
        assert_eq!(
            space.map(Iova::from_u64(0x8000), source, 0x3001, Rights::Read),
            Err(Errno::FAULT)
        );
        let source = Source::DmaBuf {
            fd: dma_buf.as_fd(),
            offset_bytes: 0x3000,
        };
        assert_eq!(
            space.map(Iova::from_u64(0x9000), source, 0x1000, Rights::Write),
            Ok(())
        );
    }

    #[test]
    fn more_or_less_unmapped_than_was_asked_for_is_an_error() {
        for (unmapped, outcome) in [
            (0x2000u64, Ok(())),
            (0, Err(Errno::NOENT)),
            (0x3000, Err(Errno::IO)),
        ] {
            script::play(move |request, bytes| {
                assert_eq!((request, u64_at(bytes, 8)), (uapi::IOAS_UNMAP, Some(0x8000)));
                bytes[16..24].copy_from_slice(&unmapped.to_ne_bytes());
                Ok(0)
            });
            assert_eq!(space().unmap(Iova::from_u64(0x8000), 0x2000), outcome);
        }
    }
}
