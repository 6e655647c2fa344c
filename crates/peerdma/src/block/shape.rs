//! How much of a vector one DMA list can carry, counted before anything is mapped.
//!
//! Called by [`super::split`]. It counts what the list needs at most: what is mapped may come out as fewer segments, never as more.

use super::{Limits, PeerSupport, SplitError};
use crate::addr::{Address, Bdf, PhysVec};
use crate::dma::Constraints;
use crate::memory::{Memory, MemoryMap};

/// Addresses keep their place within a page of this size wherever they are mapped; beyond it nothing is known of them.
const KEPT_BYTES: u64 = 4096;

/// Where a list that carries a vector from its beginning must end at the latest, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stop {
    /// After this many bytes.
    pub(super) at_bytes: u64,
    /// Why not later.
    pub(super) why: SplitError,
}

/// Walks along a vector and says how far one bio can go.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    limits: &'a Limits,
    map: &'a MemoryMap,
    segments: u64,
    len_bytes: u64,
    owner: Option<Owner>,
    last: Option<PhysVec>,
}

/// Whose memory a piece is, seen by the device that is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Itself,
    Others,
}

impl<'a> Walk<'a> {
    pub(super) fn new(limits: &'a Limits, map: &'a MemoryMap) -> Self {
        Self {
            limits,
            map,
            segments: 0,
            len_bytes: 0,
            owner: None,
            last: None,
        }
    }

    /// Takes one more piece, `index` of the vector, whole or in part.
    ///
    /// # Errors
    /// [`Stop`]: how much of it all fits.
    pub(super) fn take(&mut self, index: usize, piece: PhysVec) -> Result<(), Stop> {
        let before = self.len_bytes;
        let stop = |at_bytes, why| Stop { at_bytes, why };
        let owner = self.owner_of(piece).map_err(|why| stop(before, why))?;
        if self.limits.peer == PeerSupport::Unmixed && self.owner.is_some_and(|other| other != owner) {
            return Err(stop(before, SplitError::Mixed { index }));
        }
        self.shape(index, piece).map_err(|why| stop(before, why))?;
        let constraints = &self.limits.constraints;
        let step = step_bytes(constraints);
        let left = u64::from(constraints.max_segments).saturating_sub(self.segments);
        let needed = segments(constraints, piece);
        if needed > left {
            let within = left.saturating_sub(needed - least_segments(piece, step)) * step;
            let why = SplitError::TooManySegments {
                index,
                most: constraints.max_segments,
            };
            return Err(stop(before + within.min(piece.len_bytes().into()), why));
        }
        self.segments += needed;
        self.len_bytes += u64::from(piece.len_bytes());
        self.owner = Some(owner);
        self.last = Some(piece);
        let most = u64::from(self.limits.max_transfer_bytes);
        if self.len_bytes > most {
            return Err(stop(most, SplitError::BlockTooLong { most }));
        }
        Ok(())
    }

    fn owner_of(&self, piece: PhysVec) -> Result<Owner, SplitError> {
        let region = self.map.find(piece.addr());
        let bar = region.and_then(|region| match region.memory {
            Memory::Bar(bar) => Some(bar),
            Memory::Ram => None,
        });
        let provider: Option<Bdf> = bar.map(|bar| bar.provider);
        match provider {
            Some(_) if self.limits.peer == PeerSupport::None => Err(SplitError::NoPeerMemory),
            Some(provider) if provider == self.limits.initiator => Ok(Owner::Itself),
            _ => Ok(Owner::Others),
        }
    }

    /// Does the piece have a shape that the device takes, after the one before it?
    fn shape(&self, index: usize, piece: PhysVec) -> Result<(), SplitError> {
        let constraints = &self.limits.constraints;
        let align = u64::from(constraints.align_bytes.max(1));
        let is_whole = |number: u64| number.is_multiple_of(align);
        if !is_whole(piece.addr().to_u64()) || !is_whole(piece.len_bytes().into()) {
            let align_bytes = constraints.align_bytes;
            return Err(SplitError::Unaligned { index, align_bytes });
        }
        let Some(last) = self.last else {
            return Ok(());
        };
        let goes_on = last.last().checked_add(1) == Some(piece.addr());
        let ends = last.last().to_u64().wrapping_add(1) & constraints.gap_mask;
        let begins = piece.addr().to_u64() & constraints.gap_mask;
        if !goes_on && (ends | begins) != 0 {
            let gap_mask = constraints.gap_mask;
            return Err(SplitError::Gap { index, gap_mask });
        }
        Ok(())
    }
}

/// The most bytes of one segment, such that one may follow another.
fn step_bytes(constraints: &Constraints) -> u64 {
    let longest = u64::from(constraints.max_segment_bytes).max(1);
    let within = constraints.boundary_mask.saturating_add(1);
    let longest = longest.min(within);
    let granule = constraints
        .gap_mask
        .saturating_add(1)
        .max(u64::from(constraints.align_bytes.max(1)));
    match longest / granule * granule {
        0 => longest,
        whole => whole,
    }
}

/// Segments of a piece where no boundary lies in the way.
fn least_segments(piece: PhysVec, step: u64) -> u64 {
    u64::from(piece.len_bytes()).div_ceil(step)
}

/// The most segments that a piece can need.
fn segments(constraints: &Constraints, piece: PhysVec) -> u64 {
    let step = step_bytes(constraints);
    let least = least_segments(piece, step);
    let boundary = constraints.boundary_mask.saturating_add(1);
    let at_start = match boundary {
        u64::MAX => 0,
        within if within <= KEPT_BYTES => piece.addr().to_u64() & constraints.boundary_mask,
        // Where the piece lies between boundaries after it was mapped, nobody knows yet.
        _ => boundary - 1,
    };
    match at_start {
        0 => least,
        at_start if at_start + u64::from(piece.len_bytes()) <= boundary.min(step) => least,
        _ => least + 1,
    }
}

/// How many bytes a list carries for certain, of memory that is contiguous from the beginning of a page on.
pub(crate) fn contiguous_bytes(constraints: &Constraints) -> u64 {
    let within = constraints.boundary_mask.saturating_add(1);
    let kept = within == u64::MAX || within <= KEPT_BYTES;
    let segments = match kept {
        true => constraints.max_segments,
        false => constraints.max_segments.saturating_sub(1),
    };
    step_bytes(constraints).saturating_mul(segments.into())
}
