//! What a volume takes.

use super::{Bio, Data, Operation, SubmitError};
use crate::addr::Bdf;
use crate::dma::Constraints;

/// What a volume is, and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The function that does the DMA.
    pub initiator: Bdf,
    /// Bytes of a block.
    pub block_bytes: u32,
    /// How many blocks it has.
    pub blocks: u64,
    /// The most bytes of one bio: a multiple of the block. What is larger is split by who submits it ([`super::split`]).
    pub max_transfer_bytes: u32,
    /// How many bios can be under way at once.
    pub queue_depth: u16,
    /// What its DMA lists must look like.
    pub constraints: Constraints,
    /// Which memory beside RAM it takes.
    pub peer: PeerSupport,
}

impl Limits {
    /// Does the bio fit the volume? Gives the bytes of its blocks.
    ///
    /// # Errors
    /// [`SubmitError::WrongLength`] of a flush with data or other operations without blocks, [`SubmitError::OutOfRange`], [`SubmitError::TooLong`]. Whether
    /// the data is as long as the blocks is for who maps it to say.
    pub fn check(&self, bio: &Bio) -> Result<u64, SubmitError> {
        let blocks = u64::from(bio.blocks);
        let blocks_bytes = blocks * u64::from(self.block_bytes);
        match (bio.operation, &bio.data) {
            (Operation::Flush, Data::None) if blocks == 0 => return Ok(0),
            (Operation::Flush, data) => return Err(wrong_length(0, blocks_bytes.max(data.len_bytes()))),
            (_, data) if blocks == 0 => return Err(wrong_length(0, data.len_bytes())),
            _ => {}
        }
        if bio.lba.checked_add(blocks).is_none_or(|end| end > self.blocks) {
            return Err(SubmitError::OutOfRange {
                lba: bio.lba,
                blocks,
                has: self.blocks,
            });
        }
        let most = u64::from(self.max_transfer_bytes);
        match blocks_bytes > most {
            true => Err(SubmitError::TooLong {
                bytes: blocks_bytes,
                most,
            }),
            false => Ok(blocks_bytes),
        }
    }
}

fn wrong_length(blocks_bytes: u64, data_bytes: u64) -> SubmitError {
    SubmitError::WrongLength {
        blocks_bytes,
        data_bytes,
    }
}

/// Which memory beside RAM a volume takes (Linux: `BLK_FEAT_PCI_P2PDMA`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerSupport {
    /// None: RAM alone.
    None,
    /// BARs, but no mix of its own with other memory in one bio (an NVMe controller without CMBLOC.CDMMMS).
    Unmixed,
    /// Any mix.
    Mixed,
}
