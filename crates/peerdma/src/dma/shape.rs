//! The segments of a list: neighbours become one, and what is too large for the device is cut where the device allows it.

use super::mapping::Piece;
use super::view::Reached;
use super::{Constraints, DmaList, DmaSegment, MapError, MemoryKind, Space};
use crate::memory::RegionId;

/// Builds a list, run by run. A run is as much as is contiguous, of one kind and, for memory of BARs, of one region.
///
/// Most pieces lie where the one before lies: what is done for each of those ([`Self::push_all`]) is kept small, and inlined so that the run that
/// is open stays in registers. What is rare ([`cut`], errors) stands apart.
#[derive(Debug)]
pub(super) struct Shape<'l> {
    list: &'l mut DmaList,
    limits: Limits,
    open: Option<Run>,
}

/// What a device takes, as it is asked for each segment.
#[derive(Debug, Clone, Copy)]
struct Limits {
    constraints: Constraints,
    /// The highest address by which it may name its own memory.
    own_mask: u64,
    /// The highest address that it may issue.
    issued_mask: u64,
    /// Cuts are made at multiples of this.
    grain_mask: u64,
    align_mask: u64,
}

/// Contiguous memory, as the device sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) addr: u64,
    pub(super) len_bytes: u64,
    pub(super) space: Space,
    pub(super) kind: MemoryKind,
    pub(super) region: RegionId,
    /// The place in the vector of its first piece.
    pub(super) index: u32,
}

impl<'l> Shape<'l> {
    /// An empty list.
    ///
    /// # Errors
    /// [`MapError::Shape`] where no list at all meets the constraints.
    pub(super) fn new(
        list: &'l mut DmaList,
        constraints: &Constraints,
        issued_mask: u64,
    ) -> Result<Self, MapError> {
        list.segments.clear();
        list.len_bytes = 0;
        let is_mask = |mask: u64| mask & mask.wrapping_add(1) == 0;
        let what = if constraints.max_segment_bytes == 0 {
            Some("the device takes no bytes in a segment")
        } else if !constraints.align_bytes.is_power_of_two() {
            Some("the alignment is not a power of two")
        } else if !is_mask(constraints.boundary_mask) || !is_mask(constraints.gap_mask) {
            Some("the boundary or gap mask is not a power of two less one")
        } else {
            None
        };
        if let Some(what) = what {
            return Err(MapError::Shape { what, index: 0 });
        }
        let align_mask = u64::from(constraints.align_bytes - 1);
        let limits = Limits {
            constraints: *constraints,
            own_mask: constraints.address_mask,
            issued_mask: constraints.address_mask.min(issued_mask),
            grain_mask: constraints.gap_mask | align_mask,
            align_mask,
        };
        Ok(Self {
            list,
            limits,
            open: None,
        })
    }

    /// Adds pieces that are reached in one way: at `phys + delta`.
    ///
    /// # Errors
    /// As [`Self::push`].
    #[inline(always)]
    pub(super) fn push_all(
        &mut self,
        pieces: &[Piece],
        delta: u64,
        reached: Reached,
    ) -> Result<(), MapError> {
        let run = |piece: &Piece| Run {
            addr: piece.addr.wrapping_add(delta),
            len_bytes: piece.len.into(),
            space: reached.space,
            kind: reached.kind,
            region: piece.region,
            index: piece.index,
        };
        let Some((first, rest)) = pieces.split_first() else {
            return Ok(());
        };
        self.push(run(first))?;
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        let (list, limits) = (&mut *self.list, self.limits);
        let mask = limits.mask(reached.space);
        for piece in rest {
            let next = run(piece);
            if open.addr.checked_add(open.len_bytes) == Some(next.addr) {
                open.len_bytes = open.len_bytes.saturating_add(next.len_bytes);
                continue;
            }
            close(list, &limits, mask, open)?;
            limits.check_gap(open, next)?;
            open = next;
        }
        self.open = Some(open);
        Ok(())
    }

    /// Adds a run.
    ///
    /// # Errors
    /// [`MapError::Shape`], [`MapError::TooManySegments`], [`MapError::BeyondMask`]
    #[inline(always)]
    pub(super) fn push(&mut self, run: Run) -> Result<(), MapError> {
        if let Some(open) = &mut self.open {
            let is_same = open.kind == run.kind
                && open.space == run.space
                && (open.region == run.region || run.kind == MemoryKind::Ram);
            if is_same && open.addr.checked_add(open.len_bytes) == Some(run.addr) {
                open.len_bytes = open.len_bytes.saturating_add(run.len_bytes);
                return Ok(());
            }
            let open = *open;
            close(self.list, &self.limits, self.limits.mask(open.space), open)?;
            self.limits.check_gap(open, run)?;
        }
        self.open = Some(run);
        Ok(())
    }

    /// The list is complete.
    ///
    /// # Errors
    /// As [`Self::push`].
    #[inline(always)]
    pub(super) fn finish(self) -> Result<(), MapError> {
        match self.open {
            Some(open) => close(self.list, &self.limits, self.limits.mask(open.space), open),
            None => Ok(()),
        }
    }
}

impl Limits {
    #[inline]
    fn mask(&self, space: Space) -> u64 {
        match space {
            Space::Own => self.own_mask,
            Space::Iova | Space::Bus => self.issued_mask,
        }
    }

    /// May one segment end where `open` does, and the next begin where `next` does?
    #[inline(always)]
    fn check_gap(&self, open: Run, next: Run) -> Result<(), MapError> {
        let gap_mask = self.constraints.gap_mask;
        if open.addr.wrapping_add(open.len_bytes) & gap_mask != 0 {
            return Err(shape(
                "it does not end where the device lets a segment end",
                open.index,
            ));
        }
        if next.addr & gap_mask != 0 {
            let what = "it does not begin where the device lets a segment begin";
            return Err(shape(what, next.index));
        }
        Ok(())
    }
}

/// Adds a run's segments; `mask` is the highest address that the device can say for it.
#[inline(always)]
fn close(list: &mut DmaList, limits: &Limits, mask: u64, run: Run) -> Result<(), MapError> {
    let constraints = &limits.constraints;
    let last = run.addr.wrapping_add(run.len_bytes.wrapping_sub(1));
    let is_one_segment = (run.addr | run.len_bytes) & limits.align_mask == 0
        && run.addr <= last
        && last <= mask
        && run.len_bytes <= constraints.max_segment_bytes.into()
        && (run.addr ^ last) & !constraints.boundary_mask == 0
        && list.segments.len() < constraints.max_segments as usize;
    if !is_one_segment {
        // One by one: a run that is passed as a whole would be written to memory for each segment, cut or not.
        return cut(
            list,
            *limits,
            run.addr,
            run.len_bytes,
            (run.space, run.kind),
            run.index,
        );
    }
    list.segments.push(DmaSegment {
        addr: run.addr,
        len_bytes: run.len_bytes as u32,
        space: run.space,
        kind: run.kind,
    });
    list.len_bytes = list.len_bytes.saturating_add(run.len_bytes);
    Ok(())
}

/// Cuts a run into segments, or says why not.
#[cold]
fn cut(
    list: &mut DmaList,
    limits: Limits,
    addr: u64,
    len_bytes: u64,
    (space, kind): (Space, MemoryKind),
    index: u32,
) -> Result<(), MapError> {
    let constraints = limits.constraints;
    if (addr | len_bytes) & limits.align_mask != 0 {
        let what = "its address or length is not aligned as the device needs it";
        return Err(shape(what, index));
    }
    let mask = limits.mask(space);
    let last = addr.checked_add(len_bytes.saturating_sub(1));
    if last.is_none_or(|last| last > mask) {
        let addr = last.unwrap_or(u64::MAX);
        return Err(MapError::BeyondMask { addr, mask });
    }
    let boundary = constraints.boundary_mask;
    let (mut addr, mut left) = (addr, len_bytes);
    while left > 0 {
        let to_boundary = (boundary - (addr & boundary)).saturating_add(1);
        let most = u64::from(constraints.max_segment_bytes).min(to_boundary);
        let len = if left <= most {
            left
        } else {
            // The end of what is left does not wrap, so this one does not.
            let end = (addr + most) & !limits.grain_mask;
            end.checked_sub(addr)
                .filter(|len| *len > 0)
                .ok_or_else(|| shape("it is too long for one segment, and may not be cut there", index))?
        };
        if list.segments.len() >= constraints.max_segments as usize {
            let most = constraints.max_segments;
            return Err(MapError::TooManySegments { most });
        }
        list.segments.push(DmaSegment {
            addr,
            len_bytes: len as u32,
            space,
            kind,
        });
        left -= len;
        addr = addr.wrapping_add(len);
    }
    list.len_bytes = list.len_bytes.saturating_add(len_bytes);
    Ok(())
}

#[cold]
fn shape(what: &'static str, index: u32) -> MapError {
    let index = index as usize;
    MapError::Shape { what, index }
}
