//! What was looked up, and what was mapped.

use super::uses::Use;
use super::{Direction, DmaList};
use crate::addr::Bdf;
use crate::addr::Iova;
use crate::memory::RegionId;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A vector with the region of each of its pieces, for one [`Mapper`](super::Mapper).
#[derive(Debug)]
pub struct Located {
    pub(super) pieces: Vec<Piece>,
    /// Who looked it up, and in which of its views.
    pub(super) mapper: usize,
    pub(super) generation: usize,
}

/// A piece, or as much of one as lies in one entry of the view.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) addr: u64,
    pub(super) len: u32,
    /// Place of its entry in the view.
    pub(super) entry: u32,
    pub(super) region: RegionId,
    /// The piece's place in the vector.
    pub(super) index: u32,
}

impl Located {
    /// Bytes of all pieces.
    pub fn len_bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| u64::from(piece.len)).sum()
    }

    /// The regions of the pieces, in their order; a region that serves neighbours is named once.
    pub fn regions(&self) -> impl Iterator<Item = RegionId> {
        let mut last = None;
        self.pieces
            .iter()
            .map(|piece| piece.region)
            .filter(move |region| last.replace(*region) != Some(*region))
    }
}

/// Memory that is mapped for one initiator. Only [`Mapper::unmap`](super::Mapper::unmap) ends it: where it is dropped the
/// memory stays mapped, and its regions in use, for ever, since nobody has said that the device is done with it.
#[derive(Debug)]
#[must_use = "what is dropped stays mapped; give it back to Mapper::unmap"]
pub struct Mapping {
    pub(super) parts: Box<Parts>,
    pub(super) direction: Direction,
    pub(super) initiator: Bdf,
    pub(super) mapper: usize,
}

/// What a mapping consists of; a mapper uses it again.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) list: DmaList,
    pub(super) uses: Vec<Use>,
    /// In which version of the memory map the uses were counted.
    pub(super) map_version: usize,
    /// What has to be undone at the IOMMU, the last first.
    pub(super) charges: Vec<Charge>,
    pub(super) is_forced: bool,
}

/// One thing that has to be undone under the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charge {
    /// Addresses were taken, of this many bytes.
    Range { iova: Iova, len_bytes: u64 },
    /// They were mapped.
    Mapped { iova: Iova, len_bytes: u64 },
    /// The translations of a whole region are in use.
    Held(RegionId, Hold),
}

/// Which translations of a whole region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// At addresses of the allocator's choice.
    Iova,
    /// At its bus addresses (invariant 7).
    Bus,
}

impl Mapping {
    /// What the device is programmed with.
    pub fn list(&self) -> &DmaList {
        &self.parts.list
    }

    /// What the device may do to it.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// For whom it was mapped.
    pub fn initiator(&self) -> Bdf {
        self.initiator
    }

    /// Was a refusal overridden for any piece of it?
    pub fn is_forced(&self) -> bool {
        self.parts.is_forced
    }

    /// Does any piece of it lie in this region?
    pub fn uses(&self, region: RegionId) -> bool {
        self.parts.uses.iter().any(|used| used.region == region)
    }
}
