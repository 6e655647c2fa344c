//! The map: regions by address.

use super::{BarMemory, Memory, Region, RegionId};
use crate::addr::{Bdf, PhysAddr, Span};
use alloc::vec::Vec;
use core::fmt;

/// All registered memory of a machine, at one moment. Immutable: changing it makes another with a later epoch.
#[derive(Debug, Clone, Default)]
pub struct MemoryMap {
    /// By address; none overlaps another.
    regions: Vec<Region>,
    /// How many names were given out.
    slots: u32,
    epoch: u64,
}

/// Why a region was refused; the map is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// It shares addresses with a region that is there.
    Overlap {
        /// What was to be registered.
        span: Span<PhysAddr>,
        /// What is there.
        other: Region,
    },
    /// Its bus addresses would pass the end of the 64-bit space.
    BusWrap {
        /// What was to be registered.
        span: Span<PhysAddr>,
        /// What was to be added.
        bus_offset: u64,
    },
    /// The same part of a BAR lies in the map already, at other addresses.
    SamePart {
        /// What was to be registered.
        span: Span<PhysAddr>,
        /// Where the part is registered.
        other: Region,
    },
    /// The BAR would be larger than the 64-bit space.
    TooFarIn {
        /// What was to be registered.
        span: Span<PhysAddr>,
        /// How far into the BAR it was to begin.
        offset_bytes: u64,
    },
    /// There is no BAR of this number: they go from 0 to 5.
    NoSuchBar {
        /// Whose.
        provider: Bdf,
        /// Which.
        bar: u8,
    },
    /// No names are left.
    Full,
    /// No region has this name.
    NoSuchRegion(RegionId),
}

impl MemoryMap {
    /// A map with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// The map with one more region of RAM.
    ///
    /// # Errors
    /// [`MapError`]: overlap, or no names are left.
    pub fn with_ram(&self, span: Span<PhysAddr>) -> Result<(Self, RegionId), MapError> {
        self.with(span, Memory::Ram)
    }

    /// The map with one more region behind a BAR.
    ///
    /// # Errors
    /// [`MapError`]
    pub fn with_bar(&self, span: Span<PhysAddr>, memory: BarMemory) -> Result<(Self, RegionId), MapError> {
        if memory.bar > 5 {
            let BarMemory { provider, bar, .. } = memory;
            return Err(MapError::NoSuchBar { provider, bar });
        }
        if memory.bus_address(span.last()) < memory.bus_address(span.first()) {
            let bus_offset = memory.bus_offset;
            return Err(MapError::BusWrap { span, bus_offset });
        }
        let part = |span: Span<PhysAddr>, memory: BarMemory| {
            let last = memory.offset_bytes.checked_add(span.len_minus_one())?;
            Some((memory.offset_bytes, last))
        };
        let offset_bytes = memory.offset_bytes;
        let (first, last) = part(span, memory).ok_or(MapError::TooFarIn { span, offset_bytes })?;
        let has_it = |region: &&Region| match region.memory {
            Memory::Bar(other) if (other.provider, other.bar) == (memory.provider, memory.bar) => {
                part(region.span, other).is_some_and(|(start, end)| first <= end && start <= last)
            }
            Memory::Bar(_) | Memory::Ram => false,
        };
        if let Some(other) = self.regions.iter().find(has_it).copied()
            && !other.span.overlaps(span)
        {
            return Err(MapError::SamePart { span, other });
        }
        self.with(span, Memory::Bar(memory))
    }

    /// The map without a region. Its name is not given out again.
    ///
    /// # Errors
    /// [`MapError::NoSuchRegion`]
    pub fn without(&self, id: RegionId) -> Result<Self, MapError> {
        let mut map = self.clone();
        let index = map.regions.iter().position(|region| region.id == id);
        map.regions.remove(index.ok_or(MapError::NoSuchRegion(id))?);
        map.epoch += 1;
        Ok(map)
    }

    fn with(&self, span: Span<PhysAddr>, memory: Memory) -> Result<(Self, RegionId), MapError> {
        let index = self
            .regions
            .partition_point(|region| region.span.last() < span.first());
        if let Some(other) = self.regions.get(index).copied()
            && other.span.overlaps(span)
        {
            return Err(MapError::Overlap { span, other });
        }
        let id = RegionId(self.slots);
        let mut map = self.clone();
        map.slots = self.slots.checked_add(1).ok_or(MapError::Full)?;
        map.regions.insert(index, Region { id, span, memory });
        map.epoch += 1;
        Ok((map, id))
    }

    /// How often a map was changed to become this one.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many names were given out: above the number of every region's.
    pub fn slots(&self) -> usize {
        self.slots as usize
    }

    /// All regions, by address.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The region that holds an address.
    pub fn find(&self, addr: PhysAddr) -> Option<&Region> {
        let index = self.regions.partition_point(|region| region.span.last() < addr);
        self.regions
            .get(index)
            .filter(|region| region.span.contains(addr))
    }

    /// The region of a name.
    pub fn get(&self, id: RegionId) -> Option<&Region> {
        self.regions.iter().find(|region| region.id == id)
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap { span, other } => write!(
                f,
                "{} to {} overlaps the region at {} to {}; remove that first, or register what lies beside it",
                span.first(),
                span.last(),
                other.span.first(),
                other.span.last()
            ),
            Self::BusWrap { span, bus_offset } => write!(
                f,
                "with {bus_offset:#x} added, {} to {} passes the end of the bus's addresses",
                span.first(),
                span.last()
            ),
            Self::SamePart { span, other } => write!(
                f,
                "what is to lie at {} is registered at {}; remove that first",
                span.first(),
                other.span.first()
            ),
            Self::TooFarIn { span, offset_bytes } => write!(
                f,
                "{} to {}, beginning at {offset_bytes:#x} in its BAR, would pass the end of 64 bits",
                span.first(),
                span.last()
            ),
            Self::NoSuchBar { provider, bar } => {
                write!(f, "{provider} cannot have a BAR {bar}: they go from 0 to 5")
            }
            Self::Full => f.write_str("no names for regions are left"),
            Self::NoSuchRegion(id) => write!(f, "there is no region {}", id.0),
        }
    }
}

impl core::error::Error for MapError {}
