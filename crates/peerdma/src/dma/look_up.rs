//! Finding the region of each piece of a vector.

use super::mapping::Piece;
use super::sync::Locks;
use super::view::View;
use super::{Located, LookUpError, MapError, Mapper};
use crate::addr::{Address, Origin, PhysAddr, PhysVec};
use alloc::vec::Vec;

impl<L: Locks> Mapper<L> {
    /// Finds the region of each piece.
    ///
    /// # Errors
    /// [`LookUpError`]
    pub fn look_up(&mut self, vector: &[PhysVec]) -> Result<Located, LookUpError> {
        if vector.is_empty() {
            return Err(LookUpError::Empty);
        }
        self.catch_up();
        let mut pieces = self.spare_pieces.pop().unwrap_or_default();
        pieces.reserve(vector.len());
        let mut place = self.hints[0];
        let mut entry = self.view.entries.get(place as usize);
        for (index, piece) in vector.iter().enumerate() {
            let (addr, last) = (piece.addr().to_u64(), piece.last().to_u64());
            if !entry.is_some_and(|entry| entry.holds(addr)) {
                if let Some(found) = self.view.find(addr, &mut self.hints) {
                    place = found;
                }
                entry = self.view.entries.get(place as usize);
            }
            // Most pieces lie in one entry.
            if let Some(entry) = entry
                && entry.holds(addr)
                && last <= entry.last
                && (entry.provider.is_none() || piece.origin() == Origin::LookUp)
            {
                pieces.push(Piece {
                    addr,
                    len: piece.len_bytes(),
                    entry: place,
                    region: entry.region,
                    index: short(index),
                });
                continue;
            }
            if let Err(error) = self.view.locate(*piece, index, &mut self.hints, &mut pieces) {
                self.recycle(pieces);
                return Err(error);
            }
        }
        Ok(Located {
            pieces,
            mapper: self.id,
            generation: self.view.generation,
        })
    }

    /// The entries of pieces that were looked up in an older view.
    #[cold]
    pub(super) fn relocate(&mut self, pieces: &mut Vec<Piece>) -> Result<(), MapError> {
        let mut moved = self.spare_pieces.pop().unwrap_or_default();
        for piece in pieces.iter() {
            let before = moved.len();
            let vector = PhysVec::new(PhysAddr::from_u64(piece.addr), piece.len, Origin::LookUp);
            let vector = vector.map_err(|_| MapError::Stale)?;
            let index = piece.index as usize;
            let located = self.view.locate(vector, index, &mut self.hints, &mut moved);
            located.map_err(|_| MapError::Stale)?;
            let mut new = moved.iter().skip(before);
            if new.any(|new| new.region != piece.region) {
                return Err(MapError::Stale);
            }
        }
        core::mem::swap(pieces, &mut moved);
        self.recycle(moved);
        Ok(())
    }
}

impl View {
    /// Adds a piece, cut where entries end.
    #[cold]
    fn locate(
        &self,
        piece: PhysVec,
        index: usize,
        hints: &mut [u32; 2],
        into: &mut Vec<Piece>,
    ) -> Result<(), LookUpError> {
        let (mut addr, last) = (piece.addr().to_u64(), piece.last().to_u64());
        let mut before = None;
        loop {
            let at = PhysAddr::from_u64(addr);
            let place = self.find(addr, hints);
            let place = place.ok_or(LookUpError::Hole { index, at })?;
            let Some(entry) = self.entries.get(place as usize) else {
                return Err(LookUpError::Hole { index, at });
            };
            if before.is_some_and(|before| before != entry.provider) {
                return Err(LookUpError::CrossesRegions { index, at });
            }
            if let Some(provider) = entry.provider
                && piece.origin() == Origin::Ram
            {
                return Err(LookUpError::UnflaggedPeer { index, provider });
            }
            before = Some(entry.provider);
            let end = entry.last.min(last);
            into.push(Piece {
                addr,
                len: (end - addr + 1) as u32,
                entry: place,
                region: entry.region,
                index: short(index),
            });
            if end == last {
                return Ok(());
            }
            addr = end + 1;
        }
    }
}

fn short(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
