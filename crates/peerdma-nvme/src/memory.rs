//! Memory that the driver and the controller share: queues, lists, a page. In RAM of the driver's own, or behind a BAR.

use crate::error::Cause;
use peerdma::addr::{Address, Origin, PhysAddr, PhysVec};
use peerdma::block::CompletionPlace;
use peerdma::device::{DeviceError, Host};
use peerdma::dma::{Constraints, Direction, Locks, Mapper, Mapping, MemoryKind};
use peerdma::memory::{CpuView, Memory, RegionId};

/// One piece of memory that is mapped for the controller. It stays so until [`Self::release`].
#[derive(Debug)]
pub(crate) struct SharedMemory {
    at: PhysAddr,
    len_bytes: u64,
    address: u64,
    kind: MemoryKind,
    mapping: Mapping,
    view: View,
}

/// How the CPU reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    /// RAM that was allocated for it.
    Ram,
    /// A BAR, by loads and stores of this width.
    Bar { width_bytes: u8 },
}

impl SharedMemory {
    /// Where it lies, as one who waits for what is written to it must know.
    pub(crate) fn completion_place(&self) -> CompletionPlace {
        match self.view {
            View::Ram => CompletionPlace::Ram,
            View::Bar { .. } => CompletionPlace::Memory(self.at),
        }
    }

    /// RAM of `len_bytes`, zeros, at a multiple of `page_bytes`.
    ///
    /// # Errors
    /// [`Cause::Device`], [`Cause::LookUp`], [`Cause::Map`]: nothing is left allocated or mapped.
    pub(crate) fn allocate<H: Host, L: Locks>(
        host: &H,
        mapper: &mut Mapper<L>,
        len_bytes: u64,
        page_bytes: u64,
        direction: Direction,
    ) -> Result<Self, Cause> {
        // Whole pages: an IOMMU maps no less, and nothing else is to lie in them.
        let len_bytes = len_bytes.next_multiple_of(page_bytes);
        let at = host.allocate(len_bytes, page_bytes)?;
        Self::map(mapper, at, len_bytes, direction, Origin::Ram, View::Ram).inspect_err(|_| host.free(at))
    }

    /// Memory behind a BAR, where somebody has left room.
    ///
    /// # Errors
    /// [`Cause::LookUp`], [`Cause::Map`], [`Cause::Place`] where the CPU does not reach it: nothing is left mapped.
    pub(crate) fn borrow<L: Locks>(
        mapper: &mut Mapper<L>,
        at: PhysAddr,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self, Cause> {
        let map = mapper.ioas().map_snapshot();
        let cpu = match map.find(at).map(|region| region.memory) {
            Some(Memory::Bar(memory)) => memory.cpu,
            _ => CpuView::None,
        };
        let width_bytes = match cpu {
            CpuView::Memory => Some(8),
            // Entries are looked at by dwords.
            CpuView::Mmio(widths) => widths.widest(8).filter(|_| widths.allow(4)),
            CpuView::None => None,
        };
        let width_bytes = width_bytes.ok_or(Cause::Place {
            what: "a queue or its lists",
            why: "it is no memory behind a BAR that the CPU reaches by dwords",
        })?;
        let view = View::Bar { width_bytes };
        Self::map(mapper, at, len_bytes, direction, Origin::LookUp, view)
    }

    fn map<L: Locks>(
        mapper: &mut Mapper<L>,
        at: PhysAddr,
        len_bytes: u64,
        direction: Direction,
        origin: Origin,
        view: View,
    ) -> Result<Self, Cause> {
        const TOO_LONG: Cause = Cause::Place {
            what: "a queue or its lists",
            why: "they do not fit the address space there",
        };
        const ONE_PIECE: Constraints = Constraints {
            max_segments: 1,
            align_bytes: 16,
            ..Constraints::NONE
        };
        let len = u32::try_from(len_bytes).map_err(|_| TOO_LONG)?;
        let piece = PhysVec::new(at, len, origin).map_err(|_| TOO_LONG)?;
        let located = mapper.look_up(&[piece])?;
        let mapping = mapper.map(located, direction, &ONE_PIECE)?;
        let Some(segment) = mapping.list().segments().first().copied() else {
            let _ = mapper.unmap(mapping);
            return Err(TOO_LONG);
        };
        Ok(Self {
            at,
            len_bytes,
            address: segment.addr,
            kind: segment.kind,
            mapping,
            view,
        })
    }

    /// What the device calls its first byte.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// What it is for the controller.
    pub(crate) fn kind(&self) -> MemoryKind {
        self.kind
    }

    /// Does it lie in this region?
    pub(crate) fn uses(&self, region: RegionId) -> bool {
        self.mapping.uses(region)
    }

    /// Writes bytes; where it lies behind a BAR, a multiple of eight at one.
    ///
    /// # Errors
    /// [`DeviceError`]
    pub(crate) fn write<H: Host>(&self, host: &H, offset: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let at = self.place(offset, bytes.len() as u64)?;
        let View::Bar { width_bytes } = self.view else {
            return host.write_ram(at, bytes);
        };
        for (number, bytes) in (0..).zip(bytes.chunks(width_bytes.into())) {
            // It lies within the memory, which may end at the last byte of the space.
            let place = at.to_u64() + number * u64::from(width_bytes);
            let value = bytes
                .iter()
                .rev()
                .fold(0, |all, byte| all << 8 | u64::from(*byte));
            host.store_bar(PhysAddr::from_u64(place), width_bytes, value)?;
        }
        Ok(())
    }

    /// Makes zeros of it, and has them arrive before what the device is told next.
    ///
    /// # Errors
    /// [`DeviceError`]
    pub(crate) fn clear<H: Host>(&self, host: &H) -> Result<(), DeviceError> {
        const ZEROS: [u8; 256] = [0; 256];
        let mut offset = 0;
        while offset < self.len_bytes {
            let len = (self.len_bytes - offset).min(ZEROS.len() as u64);
            self.write(host, offset, &ZEROS[..len as usize])?;
            offset += len;
        }
        if let View::Bar { width_bytes } = self.view {
            // Stores to a BAR are posted; what a load brings back has passed them.
            host.load_bar(self.at, width_bytes)?;
        }
        Ok(())
    }

    /// Loads an aligned dword; what the device wrote before it is seen by what is loaded after it.
    ///
    /// # Errors
    /// [`DeviceError`]
    pub(crate) fn load<H: Host>(&self, host: &H, offset: u64) -> Result<u32, DeviceError> {
        let at = self.place(offset, 4)?;
        match self.view {
            View::Ram => host.load_acquire(at),
            View::Bar { .. } => host.load_bar(at, 4).map(|value| value as u32),
        }
    }

    /// Copies from it; RAM alone.
    ///
    /// # Errors
    /// [`DeviceError`]
    pub(crate) fn read<H: Host>(&self, host: &H, into: &mut [u8]) -> Result<(), DeviceError> {
        host.read_ram(self.place(0, into.len() as u64)?, into)
    }

    /// Gives it back. The device must be done with it.
    ///
    /// # Errors
    /// [`Cause::StillMapped`]: it stays allocated, since the device still reaches it.
    pub(crate) fn release<H: Host, L: Locks>(self, host: &H, mapper: &mut Mapper<L>) -> Result<(), Cause> {
        const TRIES: usize = 3;
        let mut mapping = self.mapping;
        let mut tries = 0;
        while let Err(error) = mapper.unmap(mapping) {
            mapping = error.mapping;
            tries += 1;
            if tries == TRIES {
                return Err(Cause::StillMapped);
            }
        }
        if self.view == View::Ram {
            host.free(self.at);
        }
        Ok(())
    }

    fn place(&self, offset: u64, len_bytes: u64) -> Result<PhysAddr, DeviceError> {
        let end = offset.checked_add(len_bytes);
        let within = end.is_some_and(|end| end <= self.len_bytes);
        let at = self.at.checked_add(offset).filter(|_| within);
        at.ok_or(DeviceError::NoSuchMemory { at: self.at })
    }
}
