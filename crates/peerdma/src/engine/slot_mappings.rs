//! Slots that are mapped before a copy begins.

use crate::dma::{Constraints, Direction, Locks, LookUpError, MapError, Mapper, Mapping, UnmapError};
use crate::plan::Layout;
use alloc::vec::Vec;
use core::fmt;

/// A slot, mapped before the copy begins for both of its users: then no operation on a whole chunk maps anything.
#[derive(Debug)]
pub struct SlotMappings {
    /// For the source's device, which writes it ([`Direction::DeviceWrites`]).
    pub source: Mapping,
    /// For the destination's device, which reads it ([`Direction::DeviceReads`]).
    pub destination: Mapping,
}

/// Why a slot was not mapped; nothing of it is, but for what [`SlotError::Unmap`] holds.
#[derive(Debug)]
#[non_exhaustive]
pub enum SlotError {
    /// The plan has no such slot.
    NoSuchSlot(u32),
    /// It lies where no memory is registered, or in other memory than the plan says.
    LookUp(LookUpError),
    /// It cannot be mapped for one of the two devices.
    Map(MapError),
    /// It could be mapped for the source's device alone, and that could not be undone.
    Unmap(UnmapError),
}

impl SlotMappings {
    /// Maps a slot of a plan for both of its users, by a handle of each and for what each device can be told. The same handles unmap it, by
    /// [`Self::unmap`].
    ///
    /// # Errors
    /// [`SlotError`]
    pub fn new<L: Locks>(
        layout: &Layout,
        slot: u32,
        source: (&mut Mapper<L>, &Constraints),
        destination: (&mut Mapper<L>, &Constraints),
    ) -> Result<Self, SlotError> {
        let piece = layout.slot(slot, layout.chunk_bytes);
        let piece = piece.ok_or(SlotError::NoSuchSlot(slot))?;
        let map = |(mapper, constraints): (&mut Mapper<L>, &Constraints), direction| {
            let located = mapper.look_up(&[piece]).map_err(SlotError::LookUp)?;
            mapper
                .map(located, direction, constraints)
                .map_err(SlotError::Map)
        };
        let (of_source, constraints) = source;
        let written = map((&mut *of_source, constraints), Direction::DeviceWrites)?;
        match map(destination, Direction::DeviceReads) {
            Ok(read) => Ok(Self {
                source: written,
                destination: read,
            }),
            Err(error) => match of_source.unmap(written) {
                Ok(()) => Err(error),
                Err(stays) => Err(SlotError::Unmap(stays)),
            },
        }
    }

    /// Ends both mappings, by the handles that made them.
    ///
    /// # Errors
    /// Those that could not be ended, one or both.
    pub fn unmap<L: Locks>(
        self,
        source: &mut Mapper<L>,
        destination: &mut Mapper<L>,
    ) -> Result<(), Vec<UnmapError>> {
        let both = [source.unmap(self.source), destination.unmap(self.destination)];
        let stay: Vec<_> = both.into_iter().filter_map(Result::err).collect();
        match stay.is_empty() {
            true => Ok(()),
            false => Err(stay),
        }
    }
}

impl fmt::Display for SlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchSlot(slot) => write!(f, "the plan has no slot {slot}"),
            Self::LookUp(source) => source.fmt(f),
            Self::Map(source) => source.fmt(f),
            Self::Unmap(source) => source.fmt(f),
        }
    }
}

impl core::error::Error for SlotError {}
