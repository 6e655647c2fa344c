//! The way through the lock: memory that is not registered is mapped for one request, once for the whole vector.

use super::ioas::map_error;
use super::mapping::{Charge, Parts, Piece};
use super::shape::{Run, Shape};
use super::state::{State, Stuck};
use super::sync::Locks;
use super::view::Way;
use super::{Constraints, Direction, MapError, Mapper};
use crate::addr::{Address, Iova, PhysAddr};
use crate::iommu::{IommuError, Target, Translations};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

impl<L: Locks> Mapper<L> {
    /// Maps what is not ready, and makes the list. Nothing where the space was changed meanwhile; then nothing is mapped.
    #[cold]
    pub(super) fn map_by_request(
        &mut self,
        pieces: &[Piece],
        direction: Direction,
        constraints: &Constraints,
        parts: &mut Parts,
    ) -> Result<Option<()>, MapError> {
        let mut extents = self.extents(pieces, direction)?;
        let len_bytes = extents.last().map_or(0, |last| last.at + last.len_bytes);
        let mask = constraints.address_mask.min(self.view.issued_mask);
        let Self { ioas, view, .. } = self;
        let mut deltas = Vec::new();
        let result = L::with(&ioas.state, |state| {
            if ioas.generation.load(Ordering::SeqCst) != view.generation {
                return Ok(None);
            }
            if len_bytes > 0 {
                let iova = state.take_addresses(len_bytes, mask);
                let iova = iova.ok_or(MapError::NoIova { len_bytes })?;
                parts.charges.push(Charge::Range { iova, len_bytes });
                for extent in &mut extents {
                    state.map_extent(extent, iova, direction, &mut parts.charges)?;
                }
            }
            for piece in pieces {
                let Some(entry) = view.entries.get(piece.entry as usize) else {
                    return Err(MapError::Stale);
                };
                let Way::Held { hold, .. } = *entry.way(direction) else {
                    continue;
                };
                if deltas.iter().any(|(region, _)| *region == piece.region) {
                    continue;
                }
                let place = entry.place as usize;
                let delta =
                    (state.hold(place, hold, mask)).map_err(|error| map_error(state, place, error))?;
                parts.charges.push(Charge::Held(piece.region, hold));
                deltas.push((piece.region, delta));
            }
            Ok(Some(()))
        });
        let result = match result {
            Ok(Some(())) => self.shape_mapped(pieces, direction, constraints, &extents, &deltas, parts),
            other => return other.inspect_err(|_| self.give_up(parts)),
        };
        result.map(Some).inspect_err(|_| self.give_up(parts))
    }

    /// RAM that must be mapped, in whole pages; refused before anything is mapped where some piece is.
    fn extents(&self, pieces: &[Piece], direction: Direction) -> Result<Vec<Extent>, MapError> {
        let page = self.view.page_bytes;
        let no_iova = MapError::NoIova { len_bytes: u64::MAX };
        let mut extents: Vec<Extent> = Vec::new();
        let mut is_joined = false;
        for piece in pieces {
            let entry = self
                .view
                .entries
                .get(piece.entry as usize)
                .ok_or(MapError::Stale)?;
            match *entry.way(direction) {
                Way::No(why) => return Err(entry.refusal(why, self.view.initiator, direction, piece.addr)),
                Way::Ready { .. } | Way::Held { .. } => {
                    is_joined = false;
                    continue;
                }
                Way::ByRequest { .. } => {}
            }
            let last = piece.addr + u64::from(piece.len - 1);
            let (first_page, last_byte) = (piece.addr & !(page - 1), last | (page - 1));
            let at = extents.last().map_or(0, |last| last.at + last.len_bytes);
            if let Some(open) = extents.last_mut().filter(|_| is_joined)
                && open.end.checked_add(1) == Some(piece.addr)
            {
                open.end = last;
                open.len_bytes = (last_byte - open.phys).checked_add(1).ok_or(no_iova)?;
                open.at.checked_add(open.len_bytes).ok_or(no_iova)?;
                continue;
            }
            let len_bytes = (last_byte - first_page).checked_add(1).ok_or(no_iova)?;
            at.checked_add(len_bytes).ok_or(no_iova)?;
            extents.push(Extent {
                phys: first_page,
                len_bytes,
                at,
                end: last,
            });
            is_joined = true;
        }
        Ok(extents)
    }

    fn shape_mapped(
        &self,
        pieces: &[Piece],
        direction: Direction,
        constraints: &Constraints,
        extents: &[Extent],
        deltas: &[(crate::memory::RegionId, u64)],
        parts: &mut Parts,
    ) -> Result<(), MapError> {
        let iova = parts.charges.iter().find_map(|charge| match charge {
            Charge::Range { iova, .. } => Some(iova.to_u64()),
            _ => None,
        });
        parts.is_forced = false;
        let mut shape = Shape::new(&mut parts.list, constraints, self.view.issued_mask)?;
        let mut extents = extents.iter().peekable();
        for piece in pieces {
            let entry = self
                .view
                .entries
                .get(piece.entry as usize)
                .ok_or(MapError::Stale)?;
            let (delta, space, kind, is_forced) = match *entry.way(direction) {
                Way::Ready { delta, reached } => (delta, reached.space, reached.kind, reached.is_forced),
                Way::Held { reached, .. } => {
                    let delta = deltas.iter().find(|(region, _)| *region == piece.region);
                    let (_, delta) = delta.ok_or(MapError::Stale)?;
                    (*delta, reached.space, reached.kind, reached.is_forced)
                }
                Way::ByRequest { is_forced } => {
                    // In the order of the pieces: an extent ends with the last of its pieces.
                    let extent = extents.peek().copied().ok_or(MapError::Stale)?;
                    if piece.addr + u64::from(piece.len - 1) == extent.end {
                        extents.next();
                    }
                    let at = iova.ok_or(MapError::Stale)?.wrapping_add(extent.at);
                    let kind = super::MemoryKind::Ram;
                    (at.wrapping_sub(extent.phys), super::Space::Iova, kind, is_forced)
                }
                Way::No(_) => return Err(MapError::Stale),
            };
            parts.is_forced |= is_forced;
            shape.push(Run {
                addr: piece.addr.wrapping_add(delta),
                len_bytes: piece.len.into(),
                space,
                kind,
                region: piece.region,
                index: piece.index,
            })?;
        }
        shape.finish()
    }

    /// Undoes what was mapped for a request that fails. What cannot be undone keeps its regions in use.
    fn give_up(&mut self, parts: &mut Parts) {
        if parts.charges.is_empty() || self.undo(&mut parts.charges).is_ok() {
            return;
        }
        let stuck = Stuck {
            charges: core::mem::take(&mut parts.charges),
            regions: parts.uses.iter().map(|used| used.region).collect(),
        };
        L::with(&self.ioas.state, |state| state.stuck.push(stuck));
    }

    /// Undoes charges, the last first; on an error the rest remains.
    pub(super) fn undo(&mut self, charges: &mut Vec<Charge>) -> Result<(), IommuError> {
        L::with(&self.ioas.state, |state| state.undo(charges))
    }
}

/// Contiguous RAM of neighbouring pieces, in whole pages.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// Its first page.
    phys: u64,
    len_bytes: u64,
    /// How far into the range of addresses.
    at: u64,
    /// Its last byte.
    end: u64,
}

impl<L: Locks> State<L> {
    /// Addresses for a request: what an earlier one gave back, if it fits. Where none are left, all that is kept is given up first.
    fn take_addresses(&mut self, len_bytes: u64, mask: u64) -> Option<Iova> {
        let Self {
            magazine, addresses, ..
        } = self;
        if let Some(kept) = magazine.take(len_bytes, mask) {
            return Some(kept);
        }
        let request = magazine.request(len_bytes, mask);
        addresses.allocate(request).or_else(|| {
            magazine.drain(addresses);
            addresses.allocate(request)
        })
    }

    /// Undoes [`Self::take_addresses`].
    pub(super) fn give_addresses(&mut self, iova: Iova, len_bytes: u64) {
        if let Some(iova) = self.magazine.keep(iova, len_bytes) {
            let _ = self.addresses.free(iova);
        }
    }

    fn map_extent(
        &mut self,
        extent: &Extent,
        base: Iova,
        direction: Direction,
        charges: &mut Vec<Charge>,
    ) -> Result<(), MapError> {
        let none = MapError::Iommu(IommuError::NotMapped);
        let iova = base.checked_add(extent.at).ok_or(none)?;
        let translations = self.translations.as_mut().ok_or(none)?;
        let (phys, len_bytes) = (PhysAddr::from_u64(extent.phys), extent.len_bytes);
        (translations.map(iova, phys, len_bytes, direction.rights(), Target::Ram))
            .map_err(MapError::Iommu)?;
        charges.push(Charge::Mapped { iova, len_bytes });
        Ok(())
    }
}
