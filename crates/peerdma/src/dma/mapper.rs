//! One queue's own handle: look up, map, unmap.
//!
//! The way of a request whose memory is registered takes no lock and allocates nothing:
//!
//! ```text
//! look_up   one load (has anything changed?), then for each piece the last entry or a binary search
//! map       for each region that begins: count a use; one fence, one load (`uses`); for each piece: phys + delta, joined to the run before it
//! unmap     for each region: count it back
//! ```
//!
//! Everything that these need lies in the handle's own [`View`], its own counters, and vectors that are used again. What is not registered
//! comes to the lock, once for the whole vector ([`super::request`]).

use super::mapping::{Parts, Piece};
use super::shape::Shape;
use super::sync::Locks;
use super::uses::{Use, Uses};
use super::view::{View, Way};
use super::{Constraints, Direction, Ioas, Located, MapBarError, MapError, Mapping, NotUnmapped, UnmapError};
use crate::addr::{Address, Bdf, Origin, PhysVec};
use crate::memory::Memory;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

/// One queue's own handle to an [`Ioas`].
pub struct Mapper<L: Locks> {
    pub(super) ioas: Arc<Ioas<L>>,
    pub(super) id: usize,
    pub(super) view: View,
    pub(super) uses: Arc<Uses>,
    /// The entries that held the last pieces, the last first.
    pub(super) hints: [u32; 2],
    pub(super) spare_pieces: Vec<Vec<Piece>>,
    #[expect(
        clippy::vec_box,
        reason = "a mapping owns the box: it is passed on, not made anew"
    )]
    spare_parts: Vec<Box<Parts>>,
}

/// How many vectors are kept to be used again: more than a queue has commands.
const SPARE: usize = 4096;
/// How often others may change the space while one request is mapped.
const TRIES: usize = 64;

/// Does a request need the lock?
enum Readiness {
    /// No: its list is made.
    Ready,
    /// Yes: some piece of it must be mapped first.
    ByRequest,
}

impl<L: Locks> Mapper<L> {
    pub(super) fn new(ioas: Arc<Ioas<L>>, id: usize, view: View, uses: Arc<Uses>) -> Self {
        Self {
            ioas,
            id,
            view,
            uses,
            hints: [0; 2],
            spare_pieces: Vec::new(),
            spare_parts: Vec::new(),
        }
    }

    /// For whom it maps.
    pub fn initiator(&self) -> Bdf {
        self.view.initiator
    }

    /// The address space that it maps into.
    pub fn ioas(&self) -> &Arc<Ioas<L>> {
        &self.ioas
    }

    /// Maps what was looked up: all of it, or nothing.
    ///
    /// # Errors
    /// [`MapError`]
    pub fn map(
        &mut self,
        located: Located,
        direction: Direction,
        constraints: &Constraints,
    ) -> Result<Mapping, MapError> {
        let Located {
            mut pieces,
            mapper,
            generation,
        } = located;
        let mut parts = self.spare_parts.pop().unwrap_or_default();
        let result = if mapper == self.id {
            self.map_pieces(&mut pieces, generation, direction, constraints, &mut parts)
        } else {
            Err(MapError::Stale)
        };
        self.recycle(pieces);
        match result {
            Ok(()) => Ok(Mapping {
                parts,
                direction,
                initiator: self.view.initiator,
                mapper: self.id,
            }),
            Err(error) => {
                self.recycle_parts(parts);
                Err(error)
            }
        }
    }

    /// Maps a part of a BAR.
    ///
    /// # Errors
    /// [`MapBarError`]
    pub fn map_bar(
        &mut self,
        provider: Bdf,
        bar: u8,
        offset_bytes: u64,
        len_bytes: u32,
        direction: Direction,
        constraints: &Constraints,
    ) -> Result<Mapping, MapBarError> {
        self.catch_up();
        let at = self
            .view
            .map
            .regions()
            .iter()
            .find_map(|region| match region.memory {
                Memory::Bar(memory) if (memory.provider, memory.bar) == (provider, bar) => {
                    let into = offset_bytes.checked_sub(memory.offset_bytes)?;
                    (into <= region.span.len_minus_one()).then_some(())?;
                    region.span.first().checked_add(into)
                }
                _ => None,
            });
        let none = MapBarError::NoSuchMemory {
            provider,
            bar,
            offset_bytes,
        };
        let piece = PhysVec::new(at.ok_or(none)?, len_bytes, Origin::LookUp).map_err(|_| none)?;
        let located = self.look_up(&[piece]).map_err(MapBarError::LookUp)?;
        if let Some(offset_bytes) = self.leaves_bar(&located, (provider, bar), offset_bytes) {
            self.recycle(located.pieces);
            return Err(MapBarError::NoSuchMemory {
                provider,
                bar,
                offset_bytes,
            });
        }
        self.map(located, direction, constraints)
            .map_err(MapBarError::Map)
    }

    /// Where pieces that begin so far into a BAR go on into something else: what lies behind its end may be another BAR of the same function,
    /// or a later part of the same.
    fn leaves_bar(&self, located: &Located, of: (Bdf, u8), offset_bytes: u64) -> Option<u64> {
        let mut expected = offset_bytes;
        for piece in &located.pieces {
            let region = self.view.map.get(piece.region).copied();
            let found = region.and_then(|region| match region.memory {
                Memory::Bar(memory) if (memory.provider, memory.bar) == of => {
                    let into = piece.addr.checked_sub(region.span.first().to_u64())?;
                    memory.offset_bytes.checked_add(into)
                }
                Memory::Bar(_) | Memory::Ram => None,
            });
            if found != Some(expected) {
                return Some(expected);
            }
            expected = expected.wrapping_add(piece.len.into());
        }
        None
    }

    /// Ends a mapping: when it returns the device does not reach the memory by it.
    ///
    /// # Errors
    /// [`UnmapError`], with the mapping.
    pub fn unmap(&mut self, mapping: Mapping) -> Result<(), UnmapError> {
        let mut mapping = mapping;
        if mapping.mapper != self.id {
            let why = NotUnmapped::Foreign;
            return Err(UnmapError { mapping, why });
        }
        if !mapping.parts.charges.is_empty()
            && let Err(error) = self.undo(&mut mapping.parts.charges)
        {
            let why = NotUnmapped::Iommu(error);
            return Err(UnmapError { mapping, why });
        }
        self.discount(&mut mapping.parts);
        self.recycle_parts(mapping.parts);
        Ok(())
    }

    /// Sees what others changed.
    #[inline]
    pub(super) fn catch_up(&mut self) {
        if self.ioas.generation.load(Ordering::Acquire) != self.view.generation {
            self.refresh();
        }
    }

    #[cold]
    fn refresh(&mut self) {
        let Self {
            ioas, view, uses, id, ..
        } = self;
        L::with(&ioas.state, |state| {
            let generation = ioas.generation.load(Ordering::SeqCst);
            let Some(newer) = state.view(view.initiator, generation) else {
                return;
            };
            if newer.map_version != view.map_version {
                let moved = Arc::new(uses.moved_to(state.map.clone()));
                if let Some(shared) = state.mappers.iter_mut().find(|other| other.mapper == *id) {
                    *shared = moved.clone();
                }
                *uses = moved;
            }
            *view = newer;
        });
    }

    fn map_pieces(
        &mut self,
        pieces: &mut Vec<Piece>,
        mut generation: usize,
        direction: Direction,
        constraints: &Constraints,
        parts: &mut Parts,
    ) -> Result<(), MapError> {
        for _ in 0..TRIES {
            self.catch_up();
            if generation != self.view.generation {
                self.relocate(pieces)?;
                generation = self.view.generation;
            }
            self.count(pieces, parts);
            // See `uses`: no later load comes before the counting.
            fence(Ordering::SeqCst);
            if self.ioas.generation.load(Ordering::SeqCst) != generation {
                self.discount(parts);
                continue;
            }
            let result = match self.shape(pieces, direction, constraints, parts) {
                Ok(Readiness::Ready) => Ok(Some(())),
                Ok(Readiness::ByRequest) => self.map_by_request(pieces, direction, constraints, parts),
                Err(error) => Err(error),
            };
            match result {
                Ok(Some(())) => return Ok(()),
                // Changed before it came to the lock.
                Ok(None) => self.discount(parts),
                Err(error) => {
                    self.discount(parts);
                    return Err(error);
                }
            }
        }
        Err(MapError::Stale)
    }

    /// The list, where all is ready.
    #[inline]
    fn shape(
        &self,
        pieces: &[Piece],
        direction: Direction,
        constraints: &Constraints,
        parts: &mut Parts,
    ) -> Result<Readiness, MapError> {
        let mut shape = Shape::new(&mut parts.list, constraints, self.view.issued_mask)?;
        let mut is_forced = false;
        for group in pieces.chunk_by(|piece, next| piece.entry == next.entry) {
            let first = group.first().ok_or(MapError::Stale)?;
            let entry = self.view.entries.get(first.entry as usize);
            let entry = entry.ok_or(MapError::Stale)?;
            match *entry.way(direction) {
                Way::Ready { delta, reached } => {
                    is_forced |= reached.is_forced;
                    shape.push_all(group, delta, reached)?;
                }
                Way::No(why) => return Err(entry.refusal(why, self.view.initiator, direction, first.addr)),
                Way::ByRequest { .. } | Way::Held { .. } => return Ok(Readiness::ByRequest),
            }
        }
        shape.finish()?;
        parts.is_forced = is_forced;
        Ok(Readiness::Ready)
    }

    /// Counts a use of each region that begins.
    #[inline]
    fn count(&self, pieces: &[Piece], parts: &mut Parts) {
        parts.map_version = self.view.map_version;
        let mut last = None;
        for piece in pieces {
            if last == Some(piece.region) {
                continue;
            }
            last = Some(piece.region);
            if let Some(entry) = self.view.entries.get(piece.entry as usize) {
                self.uses.add(entry.place);
                parts.uses.push(Use {
                    region: piece.region,
                    place: entry.place,
                });
            }
        }
    }

    /// Counts all uses back.
    #[inline]
    pub(super) fn discount(&self, parts: &mut Parts) {
        let is_same_map = parts.map_version == self.view.map_version;
        for used in parts.uses.drain(..) {
            let place = match is_same_map {
                true => Some(used.place),
                false => self.uses.place_of(used.region),
            };
            if let Some(place) = place {
                self.uses.remove(place);
            }
        }
        parts.is_forced = false;
    }

    pub(super) fn recycle(&mut self, mut pieces: Vec<Piece>) {
        if self.spare_pieces.len() < SPARE {
            pieces.clear();
            self.spare_pieces.push(pieces);
        }
    }

    fn recycle_parts(&mut self, mut parts: Box<Parts>) {
        if self.spare_parts.len() < SPARE {
            parts.list.segments.clear();
            parts.list.len_bytes = 0;
            parts.is_forced = false;
            self.spare_parts.push(parts);
        }
    }
}

impl<L: Locks> Drop for Mapper<L> {
    /// What it mapped stays mapped, and in use: nobody has said that the device is done.
    fn drop(&mut self) {
        let Self { ioas, uses, .. } = self;
        L::with(&ioas.state, |state| {
            if uses.are_none() {
                state.mappers.retain(|other| other.mapper != uses.mapper);
            }
        });
    }
}
