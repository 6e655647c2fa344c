//! What a volume takes.

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
