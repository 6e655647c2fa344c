//! One I/O address space for devices of the process, behind [`Translations`]: addresses of the memory map go in, pages of the process (or
//! dma-bufs of BARs) go to the kernel.

use super::piece::{DmaBuf, Kind, Piece};
use super::registry::Registry;
use super::spaces::Claim;
use crate::vfio::{Api, Backend, Source, VfioError};
use peerdma::addr::{Address, Bdf, Iova, PhysAddr, Span};
use peerdma::iommu::{IommuError, Rights, Target, Translations};
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An address space for some devices and all that share their groups. When it is dropped all its mappings are gone.
///
/// Devices of several address spaces of the kernel share this one: what is mapped, is mapped in each.
///
/// By iommufd, a reset of a device takes away what others map of its BARs: they reach nothing there until it is unmapped and mapped anew.
#[derive(Debug)]
pub struct IoSpace {
    backends: Vec<Arc<dyn Backend>>,
    requesters: BTreeSet<Bdf>,
    page_bytes: u64,
    apertures: Vec<Span<Iova>>,
    /// By first address.
    mappings: BTreeMap<u64, Mapped>,
    registry: Arc<Registry>,
    // The last: who waits for the address spaces gets them without mappings.
    claim: Claim,
}

/// One mapping, as the process asked for it.
#[derive(Debug, Clone)]
struct Mapped {
    phys: PhysAddr,
    len_bytes: u64,
    /// Held for as long as devices reach it.
    piece: Arc<Piece>,
    /// The places of the address spaces that map it: of all, unless one has refused to unmap it.
    mapped_in: Vec<usize>,
    /// Was it to be unmapped, and was not?
    is_doubtful: bool,
}

impl Mapped {
    /// First and last physical addresses.
    fn range(&self) -> (u64, u64) {
        let first = self.phys.to_u64();
        (first, first.saturating_add(self.len_bytes.saturating_sub(1)))
    }
}

impl IoSpace {
    pub(super) fn new(
        backends: Vec<Arc<dyn Backend>>,
        requesters: BTreeSet<Bdf>,
        registry: Arc<Registry>,
        claim: Claim,
    ) -> Self {
        let page_bytes = backends.iter().map(|backend| backend.page_bytes()).max();
        let apertures = backends.iter().map(|backend| backend.apertures());
        Self {
            page_bytes: page_bytes.unwrap_or(super::arena::PAGE_BYTES),
            apertures: apertures
                .reduce(|one, other| super::place::both(&one, &other))
                .unwrap_or_default(),
            backends,
            requesters,
            mappings: BTreeMap::new(),
            registry,
            claim,
        }
    }

    /// All requester IDs that use it.
    pub fn requesters(&self) -> impl Iterator<Item = Bdf> + '_ {
        self.requesters.iter().copied()
    }

    /// By which of the kernel's interfaces it maps.
    pub fn api(&self) -> Option<Api> {
        self.backends.first().map(|backend| backend.api())
    }

    /// How many more mappings the kernel grants in each of its address spaces that this one is, where it says so.
    pub fn mappings_left(&self) -> Vec<Option<u32>> {
        self.backends
            .iter()
            .map(|backend| backend.mappings_left())
            .collect()
    }

    /// What it maps: address, physical address, bytes.
    pub fn mappings(&self) -> impl Iterator<Item = (Iova, PhysAddr, u64)> + '_ {
        let all = self.mappings.iter();
        all.map(|(iova, mapped)| (Iova::from_u64(*iova), mapped.phys, mapped.len_bytes))
    }

    /// The last address of a range that can be mapped.
    fn last_of(&self, iova: Iova, len_bytes: u64) -> Option<u64> {
        let last = iova.checked_add(len_bytes.checked_sub(1)?)?;
        let holds = |aperture: &Span<Iova>| aperture.contains(iova) && aperture.contains(last);
        let is_pages = (iova.to_u64() | len_bytes).is_multiple_of(self.page_bytes);
        (is_pages && self.apertures.iter().any(holds)).then(|| last.to_u64())
    }

    /// Maps in all address spaces, one by one; on an error those that have mapped it are noted.
    fn map_in_all(&self, iova: Iova, mapped: &mut Mapped, rights: Rights) -> Result<(), Errno> {
        for (place, backend) in self.backends.iter().enumerate() {
            let result = map_in(&**backend, iova, mapped, rights);
            result.inspect_err(|errno| self.claim.note(backend, mapped.len_bytes, *errno))?;
            mapped.mapped_in.push(place);
        }
        Ok(())
    }

    /// Unmaps in all address spaces that map it, the last first; on an error those that still do are noted.
    fn unmap_in_all(&self, iova: Iova, mapped: &mut Mapped) -> Result<(), Errno> {
        while let Some(place) = mapped.mapped_in.last() {
            if let Some(backend) = self.backends.get(*place) {
                backend.unmap(iova, mapped.len_bytes)?;
            }
            mapped.mapped_in.pop();
        }
        Ok(())
    }

    /// What could not be unmapped is kept for as long as its address space.
    fn keep(&mut self, mapped: &Mapped) {
        let (first, last) = mapped.range();
        self.claim.note_reached(first, last);
        for place in &mapped.mapped_in {
            if let Some(backend) = self.backends.get(*place) {
                self.claim.keep(backend, &mapped.piece);
            }
        }
    }
}

/// Gives the kernel a part of a region: as pages of the process, or as a dma-buf where it takes no others of devices.
fn map_in(backend: &dyn Backend, iova: Iova, mapped: &Mapped, rights: Rights) -> Result<(), Errno> {
    let Piece {
        pages, span, kind, ..
    } = &*mapped.piece;
    let into = mapped.phys.to_u64().wrapping_sub(span.first().to_u64());
    let map = |from| backend.map(iova, from, mapped.len_bytes, rights);
    if *kind == Kind::Ram || backend.api() == Api::Type1 {
        let (memory, start) = pages.memory.as_ref().ok_or(Errno::OPNOTSUPP)?;
        let offset_bytes = start + into;
        return map(Source::Memory { memory, offset_bytes });
    }
    match pages.dma_buf.as_ref().ok_or(Errno::OPNOTSUPP)? {
        DmaBuf::Given(fd, start) => map(Source::DmaBuf {
            fd: fd.as_fd(),
            offset_bytes: start + into,
        }),
        DmaBuf::ByDevice(device, bar, start) => {
            let fd = device.dma_buf(*bar, start + into, mapped.len_bytes);
            let fd = fd.map_err(|error| match error {
                VfioError::System { errno, .. } => errno,
                _ => Errno::OPNOTSUPP,
            })?;
            // The mapping holds what it maps.
            map(Source::DmaBuf {
                fd: fd.as_fd(),
                offset_bytes: 0,
            })
        }
    }
}

impl Translations for IoSpace {
    fn page_bytes(&self) -> u64 {
        self.page_bytes
    }

    fn apertures(&self) -> &[Span<Iova>] {
        &self.apertures
    }

    /// A range that does not lie in one region is refused as [`IommuError::BadRange`].
    fn map(
        &mut self,
        iova: Iova,
        phys: PhysAddr,
        len_bytes: u64,
        rights: Rights,
        _: Target,
    ) -> Result<(), IommuError> {
        let last = self.last_of(iova, len_bytes).ok_or(IommuError::BadRange)?;
        let before = self.mappings.range(..=last).next_back();
        if before.is_some_and(|(first, mapped)| first + (mapped.len_bytes - 1) >= iova.to_u64()) {
            return Err(IommuError::Overlap);
        }
        let piece = self.registry.find(phys, len_bytes).ok_or(IommuError::BadRange)?;
        let mut mapped = Mapped {
            phys,
            len_bytes,
            piece,
            mapped_in: Vec::new(),
            is_doubtful: false,
        };
        if let Err(errno) = self.map_in_all(iova, &mut mapped, rights) {
            if self.unmap_in_all(iova, &mut mapped).is_err() {
                self.keep(&mapped);
            }
            return Err(told(errno));
        }
        self.mappings.insert(iova.to_u64(), mapped);
        Ok(())
    }

    fn unmap(&mut self, iova: Iova, len_bytes: u64) -> Result<(), IommuError> {
        let is_one = |mapped: &Mapped| mapped.len_bytes == len_bytes;
        let mapped = self.mappings.get(&iova.to_u64()).filter(|mapped| is_one(mapped));
        let mut mapped = mapped.cloned().ok_or(IommuError::NotMapped)?;
        match self.unmap_in_all(iova, &mut mapped) {
            Ok(()) => {
                let before = self.mappings.remove(&iova.to_u64());
                if before.is_some_and(|before| before.is_doubtful) {
                    let (first, last) = mapped.range();
                    self.claim.note_unmapped(first, last);
                }
                Ok(())
            }
            Err(errno) => {
                if !mapped.is_doubtful {
                    let (first, last) = mapped.range();
                    self.claim.note_reached(first, last);
                    mapped.is_doubtful = true;
                }
                self.mappings.insert(iova.to_u64(), mapped);
                Err(told(errno))
            }
        }
    }

    fn look_up(&self, iova: Iova) -> Option<(PhysAddr, u64)> {
        let (first, mapped) = self.mappings.range(..=iova.to_u64()).next_back()?;
        let into = iova.to_u64() - first;
        let left = mapped.len_bytes.checked_sub(into).filter(|left| *left > 0)?;
        Some((mapped.phys.checked_add(into)?, left))
    }
}

impl Drop for IoSpace {
    fn drop(&mut self) {
        while let Some((iova, mut mapped)) = self.mappings.pop_last() {
            match self.unmap_in_all(Iova::from_u64(iova), &mut mapped) {
                Err(_) => self.keep(&mapped),
                Ok(()) if mapped.is_doubtful => {
                    let (first, last) = mapped.range();
                    self.claim.note_unmapped(first, last);
                }
                Ok(()) => {}
            }
        }
    }
}

fn told(errno: Errno) -> IommuError {
    match errno {
        Errno::EXIST => IommuError::Overlap,
        Errno::NOSPC => IommuError::Full,
        Errno::NOENT => IommuError::NotMapped,
        errno => IommuError::System(errno.raw_os_error()),
    }
}
