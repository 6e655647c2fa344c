//! Finding the region of each piece of a vector.

use super::mapping::Piece;
use super::sync::Locks;
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
        for (index, piece) in vector.iter().enumerate() {
            if let Err(error) = self.locate(*piece, index, &mut pieces) {
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
            (self.locate(vector, piece.index as usize, &mut moved)).map_err(|_| MapError::Stale)?;
            let mut new = moved.iter().skip(before);
            if new.any(|new| new.region != piece.region) {
                return Err(MapError::Stale);
            }
        }
        core::mem::swap(pieces, &mut moved);
        self.recycle(moved);
        Ok(())
    }

    /// Adds a piece, cut where entries end.
    #[inline]
    fn locate(&mut self, piece: PhysVec, index: usize, into: &mut Vec<Piece>) -> Result<(), LookUpError> {
        let (mut addr, last) = (piece.addr().to_u64(), piece.last().to_u64());
        let short = u32::try_from(index).unwrap_or(u32::MAX);
        let mut before = None;
        loop {
            let at = PhysAddr::from_u64(addr);
            let place = self.view.find(addr, self.hint);
            let place = place.ok_or(LookUpError::Hole { index, at })?;
            self.hint = place;
            let Some(entry) = self.view.entries.get(place as usize) else {
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
                index: short,
            });
            if end == last {
                return Ok(());
            }
            addr = end + 1;
        }
    }
}
