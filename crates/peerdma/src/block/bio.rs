//! One block operation.

use crate::addr::PhysVec;
use crate::dma::Mapping;
use alloc::vec::Vec;

/// One block operation.
#[derive(Debug)]
pub struct Bio {
    /// What is done.
    pub operation: Operation,
    /// The first block.
    pub lba: u64,
    /// How many blocks; 0 for a flush.
    pub blocks: u32,
    /// Where the data goes to, or comes from.
    pub data: Data,
}

/// What is done to blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The device reads its medium and writes memory.
    Read,
    /// The device reads memory and writes its medium.
    Write,
    /// What was written is made to last. No data.
    Flush,
}

/// The memory of a bio.
#[derive(Debug)]
pub enum Data {
    /// None.
    None,
    /// Memory of any mix of kinds, one kind a piece: looked up and mapped when it is submitted, and unmapped when the device is done.
    Vector(Vec<PhysVec>),
    /// What was mapped earlier for this volume's initiator; comes back mapped.
    Mapped(Mapping),
}

impl Data {
    /// How many bytes it is.
    pub fn len_bytes(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Mapped(mapping) => mapping.list().len_bytes(),
            Self::Vector(vector) => {
                let bytes = vector.iter().map(|piece| u64::from(piece.len_bytes()));
                bytes.fold(0, u64::saturating_add)
            }
        }
    }
}
