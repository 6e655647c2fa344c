//! How much of a vector one DMA list can carry, counted before anything is mapped.
//!
//! Called by [`super::split`]. It counts what the list needs at most: what is mapped may come out as fewer segments. It takes memory that is
//! contiguous to be so for the device too, as it is where its region is registered.

use super::{Limits, PeerSupport, SplitError};
use crate::addr::{Address, PhysVec};
use crate::dma::Constraints;
use crate::memory::{Memory, MemoryMap, Region};

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
    len_bytes: u64,
    owner: Option<Owner>,
    /// Segments of the runs before this one.
    segments: u64,
    run: Option<Run>,
}

/// Contiguous memory of one kind.
#[derive(Debug, Clone, Copy)]
struct Run {
    region: Option<Region>,
    /// Where its last segment begins.
    addr: u64,
    /// How long that is.
    len_bytes: u64,
    /// Its segments before the last.
    segments: u64,
    /// Cuts that boundaries of unknown places may add.
    boundaries: u64,
    /// From its beginning on.
    whole_bytes: u64,
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
            len_bytes: 0,
            owner: None,
            segments: 0,
            run: None,
        }
    }

    /// Takes one more piece, `index` of the vector, whole or in part.
    ///
    /// # Errors
    /// [`Stop`]: how much of it all fits.
    pub(super) fn take(&mut self, index: usize, piece: PhysVec) -> Result<(), Stop> {
        let most = u64::from(self.limits.max_transfer_bytes);
        let too_long = Stop {
            at_bytes: most,
            why: SplitError::BlockTooLong { most },
        };
        match self.try_take(index, piece) {
            Err(stop) if stop.at_bytes > most => Err(too_long),
            Ok(()) if self.len_bytes > most => Err(too_long),
            taken => taken,
        }
    }

    fn try_take(&mut self, index: usize, piece: PhysVec) -> Result<(), Stop> {
        let stop = |at_bytes, why| Err(Stop { at_bytes, why });
        let before = self.len_bytes;
        let region = self.map.find(piece.addr()).copied();
        let owner = match region.map(|region| region.memory) {
            Some(Memory::Bar(_)) if self.limits.peer == PeerSupport::None => {
                return stop(before, SplitError::NoPeerMemory);
            }
            Some(Memory::Bar(bar)) if bar.provider == self.limits.initiator => Owner::Itself,
            _ => Owner::Others,
        };
        if self.limits.peer == PeerSupport::Unmixed && self.owner.is_some_and(|other| other != owner) {
            return stop(before, SplitError::Mixed { index });
        }
        let constraints = &self.limits.constraints;
        let align_bytes = constraints.align_bytes.max(1);
        let is_whole = |number: u64| number.is_multiple_of(align_bytes.into());
        if !is_whole(piece.addr().to_u64()) || !is_whole(piece.len_bytes().into()) {
            return stop(before, SplitError::Unaligned { index, align_bytes });
        }
        let mut run = match self.run {
            Some(run) if run.goes_on(region, piece) => run,
            last => {
                if let Some(last) = last {
                    let ends = last.addr.wrapping_add(last.len_bytes);
                    let gap_mask = constraints.gap_mask;
                    if (ends | piece.addr().to_u64()) & gap_mask != 0 {
                        return stop(before, SplitError::Gap { index, gap_mask });
                    }
                    self.segments += last.count();
                }
                Run::new(region, piece)
            }
        };
        let left = u64::from(constraints.max_segments).saturating_sub(self.segments);
        let grown = run.grow(constraints, piece.len_bytes().into(), left);
        self.run = Some(run);
        self.owner = Some(owner);
        match grown {
            Ok(()) => {
                self.len_bytes += u64::from(piece.len_bytes());
                Ok(())
            }
            Err((fits_bytes, Full::Segments)) => {
                let most = constraints.max_segments;
                stop(before + fits_bytes, SplitError::TooManySegments { index, most })
            }
            Err((fits_bytes, Full::Segment)) => {
                let most_bytes = constraints.max_segment_bytes;
                stop(before + fits_bytes, SplitError::Uncut { index, most_bytes })
            }
        }
    }
}

/// Why a run cannot grow.
enum Full {
    /// No segments are left.
    Segments,
    /// The last is as long as it may be, and there is no place to cut it.
    Segment,
}

impl Run {
    fn new(region: Option<Region>, piece: PhysVec) -> Self {
        Self {
            region,
            addr: piece.addr().to_u64(),
            len_bytes: 0,
            segments: 0,
            boundaries: 0,
            whole_bytes: 0,
        }
    }

    fn count(self) -> u64 {
        self.segments + 1 + self.boundaries
    }

    /// Will the device see the piece as more of this run?
    fn goes_on(self, region: Option<Region>, piece: PhysVec) -> bool {
        let is_same = match (self.region, region) {
            (Some(own), Some(other)) => {
                own.id == other.id || (own.memory == Memory::Ram && other.memory == Memory::Ram)
            }
            _ => false,
        };
        is_same && self.addr.checked_add(self.len_bytes) == Some(piece.addr().to_u64())
    }

    /// Makes it longer, in at most `left` segments; otherwise tells how many bytes fit, and why not more.
    fn grow(&mut self, constraints: &Constraints, by_bytes: u64, left: u64) -> Result<(), (u64, Full)> {
        let longest = u64::from(constraints.max_segment_bytes).max(1);
        let boundary = constraints.boundary_mask;
        let is_kept = boundary < KEPT_BYTES;
        let grain_mask = constraints.gap_mask | u64::from(constraints.align_bytes.max(1) - 1);
        let mut to_grow = by_bytes;
        let mut fits = 0;
        loop {
            let most = match (is_kept, boundary) {
                (true, _) => longest.min(boundary - (self.addr & boundary) + 1),
                (false, u64::MAX) => longest,
                (false, _) => longest.min(boundary + 1),
            };
            let more = most.saturating_sub(self.len_bytes).min(to_grow);
            let boundaries = match is_kept || boundary == u64::MAX {
                true => 0,
                // Where it lies between boundaries after it was mapped, nobody knows yet.
                false => (self.whole_bytes + more) / (boundary + 1) + 1,
            };
            if self.segments + 1 + boundaries > left {
                return Err((fits, Full::Segments));
            }
            self.boundaries = boundaries;
            self.len_bytes += more;
            self.whole_bytes += more;
            to_grow -= more;
            fits += more;
            if to_grow == 0 {
                return Ok(());
            }
            let cut = (self.addr.saturating_add(self.len_bytes) & !grain_mask).saturating_sub(self.addr);
            if cut == 0 {
                return Err((fits, Full::Segment));
            }
            self.addr += cut;
            self.len_bytes -= cut;
            self.segments += 1;
        }
    }
}

/// More segments than this are not counted on: counting takes time for each.
const MOST_COUNTED: u32 = 1 << 16;

/// How much of `len_bytes` a list carries for certain, of memory that is contiguous from the beginning of a page on.
pub(crate) fn contiguous_bytes(constraints: &Constraints, len_bytes: u32) -> u32 {
    let mut run = Run {
        region: None,
        addr: 0,
        len_bytes: 0,
        segments: 0,
        boundaries: 0,
        whole_bytes: 0,
    };
    let segments = constraints.max_segments.min(MOST_COUNTED);
    match run.grow(constraints, len_bytes.into(), segments.into()) {
        Ok(()) => len_bytes,
        Err((fits_bytes, _)) => u32::try_from(fits_bytes).unwrap_or(len_bytes).min(len_bytes),
    }
}
