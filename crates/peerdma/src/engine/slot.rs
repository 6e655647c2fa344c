//! A piece of the plan's memory and what it is used for at the moment.

use super::{CopyEnd, SlotMappings};
use crate::addr::{Bdf, PhysVec};
use crate::block::{Bio, Data, Operation, Ticket};
use crate::dma::{Direction, Mapping};
use alloc::vec::Vec;

/// What a slot is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing.
    Free,
    /// The source's device writes a chunk into it.
    Reading(Ticket, Part),
    /// It holds a chunk.
    Filled(Part),
    /// The destination's device reads a chunk from it.
    Writing(Ticket, Part),
    /// A volume has failed to say that it is done with it: it is never used again.
    Lost,
}

/// A chunk of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Its number.
    pub(super) chunk: u64,
    /// Where in the copy it begins.
    pub(super) offset_bytes: u64,
    /// At most the plan's chunk.
    pub(super) len_bytes: u32,
}

/// One slot.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) state: State,
    whole: PhysVec,
    /// Room for one piece, which goes out with a bio and comes back with it.
    vector: Vec<PhysVec>,
    source: Option<Mapping>,
    destination: Option<Mapping>,
}

impl Slot {
    pub(super) fn new(whole: PhysVec) -> Self {
        Self {
            state: State::Free,
            whole,
            vector: Vec::with_capacity(1),
            source: None,
            destination: None,
        }
    }

    /// Uses memory that was mapped earlier; gives it back where it is not this slot's.
    pub(super) fn attach(&mut self, mappings: SlotMappings, ends: [Bdf; 2]) -> Result<(), SlotMappings> {
        let fits = |mapping: &Mapping, initiator, direction: Direction| {
            mapping.initiator() == initiator
                && mapping.direction() == direction
                && mapping.list().len_bytes() == u64::from(self.whole.len_bytes())
        };
        if !fits(&mappings.source, ends[0], Direction::DeviceWrites)
            || !fits(&mappings.destination, ends[1], Direction::DeviceReads)
        {
            return Err(mappings);
        }
        self.source = Some(mappings.source);
        self.destination = Some(mappings.destination);
        Ok(())
    }

    /// What was attached, where both have come back.
    pub(super) fn detach(&mut self) -> (Option<Mapping>, Option<Mapping>) {
        (self.source.take(), self.destination.take())
    }

    /// Puts back what of the two was there.
    pub(super) fn put_back(&mut self, source: Option<Mapping>, destination: Option<Mapping>) {
        self.source = source;
        self.destination = destination;
    }

    /// The operation of an end that is under way.
    pub(super) fn is_with(&self, end: CopyEnd) -> Option<(Ticket, Part)> {
        match (self.state, end) {
            (State::Reading(ticket, part), CopyEnd::Source)
            | (State::Writing(ticket, part), CopyEnd::Destination) => Some((ticket, part)),
            _ => None,
        }
    }

    /// The bio that moves a part between an end's medium and this slot; nothing where the part is no piece of memory.
    pub(super) fn bio(&mut self, end: CopyEnd, lba: u64, blocks: u32, len_bytes: u32) -> Option<Bio> {
        let mapping = match end {
            CopyEnd::Source => &mut self.source,
            CopyEnd::Destination => &mut self.destination,
        };
        let is_whole = len_bytes == self.whole.len_bytes();
        let data = match mapping.take_if(|_| is_whole) {
            Some(mapping) => Data::Mapped(mapping),
            None => {
                let piece = PhysVec::new(self.whole.addr(), len_bytes, self.whole.origin()).ok()?;
                self.vector.clear();
                self.vector.push(piece);
                Data::Vector(core::mem::take(&mut self.vector))
            }
        };
        let operation = match end {
            CopyEnd::Source => Operation::Read,
            CopyEnd::Destination => Operation::Write,
        };
        Some(Bio {
            operation,
            lba,
            blocks,
            data,
        })
    }

    /// Takes a bio back.
    pub(super) fn take_back(&mut self, end: CopyEnd, bio: Bio) {
        match (bio.data, end) {
            (Data::Vector(vector), _) => self.vector = vector,
            (Data::Mapped(mapping), CopyEnd::Source) => self.source = Some(mapping),
            (Data::Mapped(mapping), CopyEnd::Destination) => self.destination = Some(mapping),
            (Data::None, _) => {}
        }
    }
}
