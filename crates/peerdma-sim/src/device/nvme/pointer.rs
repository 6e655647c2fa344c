//! The data pointer of a command: from PRP entries or SGL descriptors to the pieces of memory that it names.
//!
//! Pure: a [`Pointer`] says which bytes of a list it wants next and takes them; who fetches them is `transfer`'s business.

use super::cmb::{Placement, Spot};
use super::command::Command;
use super::prp::Prp;
use super::sgl::Sgl;
use super::status::Status;
use crate::device::Direction;

/// Where a piece of a command's data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// In the controller's own buffer, or out on the link.
    At(Spot),
    /// A bit bucket: the data goes nowhere.
    Nowhere,
}

/// A piece of a command's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) target: Target,
    pub(super) len_bytes: u64,
}

/// What a pointer wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// These bytes of a list.
    List { spot: Spot, len_bytes: u64 },
    /// Nothing: the pieces are complete.
    Nothing,
}

/// At most so many bytes of a list are fetched at once.
pub(super) const LIST_BYTES: u64 = 4096;

/// A data pointer on the way to its pieces.
#[derive(Debug, Clone)]
pub(super) struct Pointer {
    walk: Walk,
    found: Pieces,
}

#[derive(Debug, Clone)]
enum Walk {
    Prp(Prp),
    Sgl(Sgl),
}

impl Pointer {
    /// Begins with the pointer in a command, which is to move `len_bytes`.
    ///
    /// # Errors
    /// The status that the command ends with.
    pub(super) fn new(
        command: &Command,
        len_bytes: u64,
        page_bytes: u64,
        direction: Direction,
        placement: Placement,
    ) -> Result<(Self, Want), Status> {
        let mut found = Pieces {
            list: Vec::new(),
            placement,
        };
        let (walk, want) = match command.pointer_kind() {
            0 => {
                let (prp, want) =
                    Prp::new(command.prp1(), command.prp2(), len_bytes, page_bytes, &mut found)?;
                (Walk::Prp(prp), want)
            }
            1 => {
                let (sgl, want) = Sgl::new(command.sgl(), len_bytes, direction, &mut found)?;
                (Walk::Sgl(sgl), want)
            }
            _ => return Err(Status::INVALID_FIELD),
        };
        Ok((Self { walk, found }, want))
    }

    /// Goes on with the bytes that it wanted.
    ///
    /// # Errors
    /// The status that the command ends with.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Want, Status> {
        match &mut self.walk {
            Walk::Prp(prp) => prp.take(bytes, &mut self.found),
            Walk::Sgl(sgl) => sgl.take(bytes, &mut self.found),
        }
    }

    /// The pieces in order, neighbours joined. Complete once it wants nothing.
    pub(super) fn into_pieces(self) -> Vec<Piece> {
        self.found.list
    }
}

/// The pieces found so far, under the rules for the controller memory buffer.
#[derive(Debug, Clone)]
pub(super) struct Pieces {
    list: Vec<Piece>,
    placement: Placement,
}

impl Pieces {
    /// Takes `len_bytes` of data at `address`.
    ///
    /// # Errors
    /// [`Status::INVALID_USE_OF_CMB`]; [`Status::DATA_TRANSFER_ERROR`] where the range leaves the address space.
    pub(super) fn data(&mut self, address: u64, len_bytes: u64) -> Result<(), Status> {
        let end = address
            .checked_add(len_bytes)
            .ok_or(Status::DATA_TRANSFER_ERROR)?;
        let mut address = address;
        while address < end {
            let (spot, len_bytes) = self.placement.data(address, end - address)?;
            self.join(Piece {
                target: Target::At(spot),
                len_bytes,
            });
            address += len_bytes;
        }
        Ok(())
    }

    /// Takes a bit bucket.
    pub(super) fn nowhere(&mut self, len_bytes: u64) {
        self.join(Piece {
            target: Target::Nowhere,
            len_bytes,
        });
    }

    /// Where to fetch list bytes: at most [`LIST_BYTES`] of `len_bytes` (not 0) at `address`.
    ///
    /// # Errors
    /// [`Status::INVALID_USE_OF_CMB`]; [`Status::DATA_TRANSFER_ERROR`] where the range leaves the address space.
    pub(super) fn list(&mut self, address: u64, len_bytes: u64) -> Result<Want, Status> {
        let len_bytes = len_bytes.min(LIST_BYTES);
        address
            .checked_add(len_bytes)
            .ok_or(Status::DATA_TRANSFER_ERROR)?;
        let (spot, len_bytes) = self.placement.list(address, len_bytes)?;
        Ok(Want::List { spot, len_bytes })
    }

    fn join(&mut self, piece: Piece) {
        if piece.len_bytes == 0 {
            return;
        }
        if let Some(last) = self.list.last_mut() {
            let follows = match (last.target, piece.target) {
                (Target::At(Spot::Wire(before)), Target::At(Spot::Wire(now))) => {
                    before + last.len_bytes == now
                }
                (Target::At(Spot::Cmb(before)), Target::At(Spot::Cmb(now))) => {
                    before.bank == now.bank && before.offset + last.len_bytes == now.offset
                }
                (Target::Nowhere, Target::Nowhere) => true,
                _ => false,
            };
            if follows {
                last.len_bytes += piece.len_bytes;
                return;
            }
        }
        self.list.push(piece);
    }
}
