//! RAM of a driver whose slices exist only while no device reaches it (invariant 2).
//!
//! A `&[u8]` under which a device writes is undefined behaviour. So the state is a type: [`IdleRam`] gives slices, mapping turns it into
//! [`MappedRam`], which gives none, and only unmapping turns it back. Where a [`MappedRam`] is dropped its memory is never given back: a
//! device may still write there.

use super::{
    Constraints, Direction, DmaList, Locks, LookUpError, MapError, Mapper, Mapping, NotUnmapped, UnmapError,
};
use crate::addr::{Origin, PhysAddr, PhysVec, PhysVecError};
use core::fmt;
use core::mem::ManuallyDrop;

/// RAM as an embedder owns it.
pub trait RamBacking {
    /// Where it begins in physical memory, in which it is contiguous.
    fn phys(&self) -> PhysAddr;
    /// Its bytes.
    fn as_slice(&self) -> &[u8];
    /// Its bytes, to be changed.
    fn as_mut_slice(&mut self) -> &mut [u8];
}

/// RAM that no device reaches.
#[derive(Debug)]
pub struct IdleRam<B> {
    backing: B,
}

/// RAM that a device may reach: no slice of it exists. While it is mapped, [`crate::iomem`] copies from and to its list.
#[derive(Debug)]
#[must_use = "what is dropped stays mapped, and its memory is lost; unmap it"]
pub struct MappedRam<B> {
    backing: ManuallyDrop<B>,
    mapping: Mapping,
}

/// Why RAM was not mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapRamError {
    /// It is empty, or longer than one piece can be.
    Piece(PhysVecError),
    /// It is not registered.
    LookUp(LookUpError),
    /// It cannot be mapped.
    Map(MapError),
}

impl<B: RamBacking> IdleRam<B> {
    /// Takes memory that no device reaches.
    pub fn new(backing: B) -> Self {
        Self { backing }
    }

    /// Its bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.backing.as_slice()
    }

    /// Its bytes, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.backing.as_mut_slice()
    }

    /// Gives the memory back to its owner.
    pub fn into_inner(self) -> B {
        self.backing
    }

    /// Maps all of it.
    ///
    /// # Errors
    /// [`MapRamError`], and the memory as it was.
    pub fn map<L: Locks>(
        self,
        mapper: &mut Mapper<L>,
        direction: Direction,
        constraints: &Constraints,
    ) -> Result<MappedRam<B>, (Self, MapRamError)> {
        let (addr, len_bytes) = (self.backing.phys(), self.backing.as_slice().len() as u64);
        let too_long = PhysVecError { addr, len_bytes };
        let result = (u32::try_from(len_bytes).map_err(|_| too_long))
            .and_then(|len| PhysVec::new(addr, len, Origin::Ram))
            .map_err(MapRamError::Piece)
            .and_then(|piece| mapper.look_up(&[piece]).map_err(MapRamError::LookUp))
            .and_then(|located| (mapper.map(located, direction, constraints)).map_err(MapRamError::Map));
        match result {
            Ok(mapping) => Ok(MappedRam {
                backing: ManuallyDrop::new(self.backing),
                mapping,
            }),
            Err(error) => Err((self, error)),
        }
    }
}

impl<B: RamBacking> MappedRam<B> {
    /// What the device is programmed with.
    pub fn list(&self) -> &DmaList {
        self.mapping.list()
    }

    /// Ends the mapping: the bytes can be looked at again.
    ///
    /// # Errors
    /// Why not, and the memory, still mapped.
    pub fn unmap<L: Locks>(self, mapper: &mut Mapper<L>) -> Result<IdleRam<B>, (Self, NotUnmapped)> {
        let Self { backing, mapping } = self;
        match mapper.unmap(mapping) {
            Ok(()) => Ok(IdleRam::new(ManuallyDrop::into_inner(backing))),
            Err(UnmapError { mapping, why }) => Err((Self { backing, mapping }, why)),
        }
    }
}

impl fmt::Display for MapRamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Piece(source) => source.fmt(f),
            Self::LookUp(source) => source.fmt(f),
            Self::Map(source) => source.fmt(f),
        }
    }
}

impl core::error::Error for MapRamError {}
