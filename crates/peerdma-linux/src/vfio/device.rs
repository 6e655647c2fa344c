//! A device that this process has for itself.
//!
//! Order on drop (of the last clone): interrupts, bus mastering, the mappings of its BARs, its file, then, if it was the last, its group and their address
//! space. The kernel resets it when its file is closed. [`BarMapping`]s that others still hold keep the file open: they reach the device, which does no
//! DMA any more.
#![allow(unsafe_code)]

use super::backend::Backend;
use super::bar::{self, BarInfo, BarMapping};
use super::config::{self, ConfigSpace};
use super::error::VfioError;
use super::file;
use super::info::{self, Region, Resettable};
use super::interrupt::{Interrupt, Vectors};
use super::lost_bars;
use super::place::Places;
use super::recall::Recall;
use super::space::Space;
use super::uapi;
use crate::sys::{Memory, ioctl};
use peerdma::addr::{Address, Bdf, PhysAddr, Span};
use peerdma::device::{BusMaster, Presence};
use peerdma::pci::Bar;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vfio_bindings::bindings::vfio;

/// How often a reset is tried that the kernel is too busy for, and how long is waited in between.
const RESET_TRIES: usize = 20;
const RESET_PAUSE: Duration = Duration::from_millis(10);

/// A device that is open. Clones are the same device.
#[derive(Debug, Clone)]
pub struct Device {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bdf: Bdf,
    resettable: Resettable,
    config: Region,
    bars: Vec<BarInfo>,
    recall: Recall,
    vectors: Mutex<Vectors>,
    /// Held while the command register is changed, which is read before it is written.
    command: Mutex<()>,
    mappings: Mutex<[Option<BarMapping>; 6]>,
    fd: OwnedFd,
    // The last: it outlives the file.
    space: Arc<dyn Space>,
}

impl Device {
    /// Opens a device of an address space. It may be reached by the CPU then, and does no DMA.
    pub(super) fn open(places: &Places, space: &Arc<dyn Space>, bdf: Bdf) -> Result<Self, VfioError> {
        let fd = lost_bars::open(places, space, bdf)?;
        let telling = || VfioError::system(format!("tell what {bdf} has"));
        let resettable = info::resettable(fd.as_fd()).map_err(telling())?;
        let interrupts = info::interrupts(fd.as_fd()).map_err(telling())?;
        let recall = Recall::listen(fd.as_fd()).map_err(telling())?;
        let region = info::region(fd.as_fd(), vfio::VFIO_PCI_CONFIG_REGION_INDEX).map_err(telling())?;
        let config = config_space(bdf, fd.as_fd(), &region);
        config.set_command(config::BUS_MASTER, config::MEMORY)?;
        let bars = find_bars(places, config)?;
        let inner = Inner {
            bdf,
            resettable,
            config: region,
            bars,
            recall,
            vectors: Mutex::new(Vectors::new(interrupts)),
            command: Mutex::default(),
            mappings: Mutex::default(),
            fd,
            space: space.clone(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Its address.
    pub fn bdf(&self) -> Bdf {
        self.inner.bdf
    }

    /// The number of its IOMMU group.
    pub fn group(&self) -> u32 {
        self.inner.space.group()
    }

    /// The address space that it lives in, with all devices of its group.
    pub fn backend(&self) -> Arc<dyn Backend> {
        self.inner.space.clone()
    }

    /// Its memory BARs that have an address.
    pub fn bars(&self) -> &[BarInfo] {
        &self.inner.bars
    }

    /// One of them.
    pub fn bar(&self, bar: u8) -> Option<&BarInfo> {
        self.inner.bars.iter().find(|info| info.bar == bar)
    }

    /// Maps a BAR into this process, or gives the mapping that there is: each is mapped once.
    ///
    /// # Errors
    /// [`VfioError::NoSuchBar`], [`VfioError::NotMappable`], [`VfioError::System`]
    pub fn map_bar(&self, bar: u8) -> Result<BarMapping, VfioError> {
        let bdf = self.inner.bdf;
        let info = self.bar(bar).ok_or(VfioError::NoSuchBar { bdf, bar })?;
        if info.areas.is_empty() {
            return Err(VfioError::NotMappable { bdf, bar });
        }
        let mut mappings = lock(&self.inner.mappings);
        let place = mappings
            .get_mut(usize::from(bar))
            .ok_or(VfioError::NoSuchBar { bdf, bar })?;
        // One that has lost the device is of no use to anybody any more, even where the device is back.
        if let Some(mapping) = place
            && !mapping.is_gone()
        {
            return Ok(mapping.clone());
        }
        let areas = info.areas.iter().map(|area| {
            let at = info
                .file_offset_bytes
                .checked_add(area.offset_bytes)
                .ok_or(Errno::OVERFLOW)?;
            let memory = Memory::of_device(self.fd(), at, area.len_bytes)?;
            Ok((area.offset_bytes, Arc::new(memory)))
        });
        let areas: Result<Vec<_>, Errno> = areas.collect();
        let areas = areas.map_err(VfioError::system(format!("map BAR {bar} of {bdf}")))?;
        Ok(place.insert(BarMapping { areas: areas.into() }).clone())
    }

    /// A dma-buf of a part of a BAR, in whole pages: what iommufd and drivers of the kernel map for other devices.
    ///
    /// When the device is reset or loses its memory enable bit, the kernel takes away what is mapped of it: that reaches nothing any more, and is to be unmapped
    /// and mapped anew. When the device is closed, it does so for good.
    ///
    /// # Errors
    /// [`VfioError::NoSuchBar`], [`VfioError::NoDmaBuf`], [`VfioError::System`]
    pub fn dma_buf(&self, bar: u8, offset_bytes: u64, len_bytes: u64) -> Result<OwnedFd, VfioError> {
        let bdf = self.inner.bdf;
        self.bar(bar).ok_or(VfioError::NoSuchBar { bdf, bar })?;
        let mut feature = uapi::DmaBufFeature {
            argsz: uapi::size_of_argument::<uapi::DmaBufFeature>(),
            flags: vfio::VFIO_DEVICE_FEATURE_GET | vfio::VFIO_DEVICE_FEATURE_DMA_BUF,
            region_index: bar.into(),
            open_flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
            nr_ranges: 1,
            offset: offset_bytes,
            length: len_bytes,
            ..Default::default()
        };
        // SAFETY: takes this structure; the one range follows it as it says.
        let fd = unsafe { ioctl::with(&self.inner.fd, uapi::DEVICE_FEATURE, &mut feature) };
        // SAFETY: it is a new file descriptor, this process's own.
        let fd = fd.and_then(|fd| unsafe { file::adopt(fd) });
        fd.map_err(|errno| match errno {
            Errno::NOTTY | Errno::OPNOTSUPP => VfioError::NoDmaBuf { bdf },
            errno => VfioError::System {
                doing: format!("export {len_bytes:#x} bytes at {offset_bytes:#x} of BAR {bar} of {bdf}"),
                errno,
            },
        })
    }

    /// Reads configuration space as VFIO shows it: of the BARs it is not the truth.
    ///
    /// # Errors
    /// [`VfioError::Gone`], [`VfioError::System`]
    pub fn config_read(&self, offset: u16, into: &mut [u8]) -> Result<(), VfioError> {
        self.config().read(offset, into)
    }

    /// Writes configuration space. A program that takes the memory enable bit away loses the mappings that it then touches: they read as all ones, and are
    /// to be mapped anew ([`crate::sys::bus_error`]).
    ///
    /// # Errors
    /// [`VfioError::Gone`], [`VfioError::System`]
    pub fn config_write(&self, offset: u16, from: &[u8]) -> Result<(), VfioError> {
        let _command = lock(&self.inner.command);
        self.config().write(offset, from)
    }

    /// Lets the device do DMA, or not.
    ///
    /// # Errors
    /// [`VfioError::Gone`], [`VfioError::System`]
    pub fn set_bus_master(&self, to: BusMaster) -> Result<(), VfioError> {
        let _command = lock(&self.inner.command);
        match to {
            BusMaster::On => self.config().set_command(0, config::MEMORY | config::BUS_MASTER),
            // Never without memory: the kernel would take every mapping of a BAR away. Somebody else may have switched it off.
            BusMaster::Off => (self.config()).set_command(config::BUS_MASTER, config::MEMORY),
        }
    }

    /// Resets the device; it does no DMA before bus mastering is switched on again. What is mapped of its dma-bufs
    /// reaches nothing any more (see [`Self::dma_buf`]); mappings of its memory by type 1 go on.
    ///
    /// # Errors
    /// [`VfioError::NoReset`], [`VfioError::Gone`], [`VfioError::System`]
    pub fn reset(&self) -> Result<(), VfioError> {
        let bdf = self.inner.bdf;
        if self.inner.resettable == Resettable::No {
            return Err(VfioError::NoReset { bdf });
        }
        let _command = lock(&self.inner.command);
        // The kernel puts the command register back as it was before.
        (self.config()).set_command(config::BUS_MASTER, config::MEMORY)?;
        let mut outcome = Ok(0);
        for _ in 0..RESET_TRIES {
            // SAFETY: takes nothing.
            outcome = unsafe { ioctl::number(&self.inner.fd, uapi::DEVICE_RESET, 0) };
            if outcome != Err(Errno::AGAIN) {
                break;
            }
            std::thread::sleep(RESET_PAUSE);
        }
        match outcome {
            Ok(_) => Ok(()),
            Err(Errno::INVAL | Errno::NOTTY) => Err(VfioError::NoReset { bdf }),
            Err(errno) => Err(VfioError::System {
                doing: format!("reset {bdf}"),
                errno,
            }),
        }
    }

    /// Listens to an interrupt (MSI-X, else MSI).
    ///
    /// # Errors
    /// [`VfioError::NoInterrupt`], [`VfioError::System`] (`EBUSY` where somebody listens already)
    pub fn interrupt(&self, vector: u32) -> Result<Interrupt, VfioError> {
        Interrupt::new(self, vector)
    }

    /// Does the kernel want it back? Somebody unbinds or removes it then, and waits until all clones of this are dropped.
    pub fn is_wanted_back(&self) -> bool {
        self.inner.recall.was_asked()
    }

    /// Is it still there? Asked of the device itself; one that the kernel wants back counts as gone.
    pub fn presence(&self) -> Presence {
        if self.is_wanted_back() {
            return Presence::Removed;
        }
        match self.config().u32(config::CLASS) {
            Ok(u32::MAX) | Err(_) => Presence::Removed,
            Ok(_) => Presence::Present,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.inner.fd.as_fd()
    }

    pub(super) fn vectors(&self) -> MutexGuard<'_, Vectors> {
        lock(&self.inner.vectors)
    }

    pub(super) fn space(&self) -> &Arc<dyn Space> {
        &self.inner.space
    }

    fn config(&self) -> ConfigSpace<'_> {
        config_space(self.inner.bdf, self.fd(), &self.inner.config)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let vectors = self.vectors.get_mut().unwrap_or_else(PoisonError::into_inner);
        vectors.give_up(self.fd.as_fd());
        // Of a device that is gone there is nothing to switch off.
        let _ = config_space(self.bdf, self.fd.as_fd(), &self.config).set_command(config::BUS_MASTER, 0);
    }
}

/// What a mutex guards is sound whenever it is not locked, also after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config_space<'a>(bdf: Bdf, fd: BorrowedFd<'a>, region: &Region) -> ConfigSpace<'a> {
    ConfigSpace {
        bdf,
        fd,
        offset_bytes: region.offset_bytes,
        len_bytes: region.len_bytes,
    }
}

/// The memory BARs that have an address.
fn find_bars(places: &Places, config: ConfigSpace<'_>) -> Result<Vec<BarInfo>, VfioError> {
    let bdf = config.bdf;
    let msix = config.msix_table()?;
    let registers = places.registers(bdf);
    let page_bytes = rustix::param::page_size() as u64;
    let mut bars = Vec::new();
    for resource in places.resources(bdf) {
        let (true, Some(phys)) = (resource.kind.is_memory(), resource.span.known()) else {
            continue;
        };
        let bar = resource.index;
        let region = info::region(config.fd, bar.into())
            .map_err(VfioError::system(format!("tell of BAR {bar} of {bdf}")))?;
        // What the kernel shows of it: no more than there is.
        let Some(phys) = first_bytes(phys, region.len_bytes) else {
            continue;
        };
        let region = Region {
            len_bytes: phys.len_minus_one().saturating_add(1),
            ..region
        };
        // One that holds 0 has no address, or has lost it in a reset.
        let is_its = |register: &&Bar| register.index == bar && register.address.to_u64() != 0;
        let register = registers.iter().find(is_its);
        bars.push(BarInfo {
            bar,
            phys,
            bus: register.map(|register| register.address),
            prefetchable: resource.prefetchable,
            areas: bar::areas(&region, bar, msix.as_ref(), page_bytes),
            file_offset_bytes: region.offset_bytes,
        });
    }
    Ok(bars)
}

/// The first bytes of a span, at most as many; nothing where that is none.
fn first_bytes(span: Span<PhysAddr>, most_bytes: u64) -> Option<Span<PhysAddr>> {
    let last = span.first().checked_add(most_bytes.checked_sub(1)?)?;
    Span::new(span.first(), last.min(span.last())).ok()
}
