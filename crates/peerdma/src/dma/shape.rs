//! The segments of a list: neighbours become one, and what is too large for the device is cut where the device allows it.

use super::{Constraints, DmaList, DmaSegment, MapError, MemoryKind, Space};
use crate::memory::RegionId;

/// Builds a list, run by run. A run is as much as is contiguous, of one kind and, for memory of BARs, of one region.
#[derive(Debug)]
pub(super) struct Shape<'l> {
    list: &'l mut DmaList,
    constraints: Constraints,
    /// The highest address that the function can issue.
    issued_mask: u64,
    /// Cuts are made at multiples of this.
    grain_mask: u64,
    open: Option<Run>,
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
        let grain_mask = constraints.gap_mask | u64::from(constraints.align_bytes - 1);
        Ok(Self {
            list,
            constraints: *constraints,
            issued_mask,
            grain_mask,
            open: None,
        })
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
            self.close(open)?;
            if open.addr.wrapping_add(open.len_bytes) & self.constraints.gap_mask != 0 {
                return Err(shape("it does not end where the device lets a segment end", open));
            }
            if run.addr & self.constraints.gap_mask != 0 {
                return Err(shape(
                    "it does not begin where the device lets a segment begin",
                    run,
                ));
            }
        }
        self.open = Some(run);
        Ok(())
    }

    /// The list is complete.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(super) fn finish(mut self) -> Result<(), MapError> {
        match self.open.take() {
            Some(open) => self.close(open),
            None => Ok(()),
        }
    }

    /// Makes segments of a run: mostly one.
    #[inline(always)]
    fn close(&mut self, run: Run) -> Result<(), MapError> {
        let limits = &self.constraints;
        let last = run.addr.wrapping_add(run.len_bytes.wrapping_sub(1));
        let is_one = run.len_bytes <= u64::from(limits.max_segment_bytes)
            && (run.addr ^ last) & !limits.boundary_mask == 0
            && (run.addr | run.len_bytes) & u64::from(limits.align_bytes - 1) == 0
            && run.addr <= last
            && last <= limits.address_mask
            && (last <= self.issued_mask || run.space == Space::Own)
            && self.list.segments.len() < limits.max_segments as usize;
        if !is_one {
            return self.cut(run);
        }
        self.list.segments.push(DmaSegment {
            addr: run.addr,
            len_bytes: run.len_bytes as u32,
            space: run.space,
            kind: run.kind,
        });
        self.list.len_bytes = self.list.len_bytes.saturating_add(run.len_bytes);
        Ok(())
    }

    /// Cuts a run into segments, or says why it cannot be one.
    #[cold]
    fn cut(&mut self, run: Run) -> Result<(), MapError> {
        let align_mask = u64::from(self.constraints.align_bytes - 1);
        if (run.addr | run.len_bytes) & align_mask != 0 {
            return Err(shape(
                "its address or length is not aligned as the device needs it",
                run,
            ));
        }
        let mask = match run.space {
            Space::Own => self.constraints.address_mask,
            Space::Iova | Space::Bus => self.constraints.address_mask.min(self.issued_mask),
        };
        let last = run.addr.checked_add(run.len_bytes.saturating_sub(1));
        if last.is_none_or(|last| last > mask) {
            let addr = last.unwrap_or(u64::MAX);
            return Err(MapError::BeyondMask { addr, mask });
        }
        let boundary = self.constraints.boundary_mask;
        let (mut addr, mut left) = (run.addr, run.len_bytes);
        while left > 0 {
            let to_boundary = (boundary - (addr & boundary)).saturating_add(1);
            let most = u64::from(self.constraints.max_segment_bytes).min(to_boundary);
            let len = if left <= most {
                left
            } else {
                // The end of what is left does not wrap, so this one does not.
                let end = (addr + most) & !self.grain_mask;
                end.checked_sub(addr)
                    .filter(|len| *len > 0)
                    .ok_or_else(|| shape("it is too long for one segment, and may not be cut there", run))?
            };
            if self.list.segments.len() >= self.constraints.max_segments as usize {
                let most = self.constraints.max_segments;
                return Err(MapError::TooManySegments { most });
            }
            self.list.segments.push(DmaSegment {
                addr,
                len_bytes: len as u32,
                space: run.space,
                kind: run.kind,
            });
            left -= len;
            addr = addr.wrapping_add(len);
        }
        self.list.len_bytes = self.list.len_bytes.saturating_add(run.len_bytes);
        Ok(())
    }
}

fn shape(what: &'static str, run: Run) -> MapError {
    let index = run.index as usize;
    MapError::Shape { what, index }
}
