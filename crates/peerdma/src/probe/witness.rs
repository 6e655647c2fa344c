//! Who sees the memory beside the route that is probed.

use super::mover::{Ferry, MoveError};
use crate::addr::{Address, Origin, PhysAddr, PhysVec, Span};
use crate::block::{Operation, Volume};
use crate::device::{DeviceError, Host};
use crate::engine::Trouble;
use crate::iomem::{self, IomemError};
use crate::memory::MemoryMap;
use alloc::vec;
use core::fmt;

/// Who sees the memory beside the route that is probed.
pub trait Witness {
    /// What addresses and lengths are multiples of.
    fn granule_bytes(&self) -> u64;

    /// What the memory holds.
    ///
    /// # Errors
    /// [`WitnessError`]
    fn read(&mut self, at: PhysAddr, into: &mut [u8]) -> Result<(), WitnessError>;

    /// Has the memory hold this: it does when this returns.
    ///
    /// # Errors
    /// [`WitnessError`]
    fn write(&mut self, at: PhysAddr, from: &[u8]) -> Result<(), WitnessError>;
}

/// Why a witness sees nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WitnessError {
    /// The CPU cannot touch the memory.
    Cpu(IomemError),
    /// A device that is asked in its place failed.
    Volume(Trouble),
    /// RAM failed.
    Ram(DeviceError),
    /// What was written is not what is read.
    NotMemory {
        /// The first such byte.
        at: PhysAddr,
    },
    /// A piece of memory that cannot be.
    BadPiece(PhysAddr),
}

/// The CPU, by the loads and stores that the memory allows.
#[derive(Debug)]
pub struct CpuWitness<'h, H: Host> {
    host: &'h H,
    map: &'h MemoryMap,
}

impl<'h, H: Host> CpuWitness<'h, H> {
    /// The CPU of a machine; the memory lies in `map`.
    pub fn new(host: &'h H, map: &'h MemoryMap) -> Self {
        Self { host, map }
    }
}

/// Bytes of one copy: vectors are cut, since the length of a piece is one of 32 bits.
const MOST_BYTES: usize = 1 << 30;

fn piece(at: PhysAddr, len_bytes: usize, origin: Origin) -> Result<PhysVec, WitnessError> {
    let len_bytes = u32::try_from(len_bytes).map_err(|_| WitnessError::BadPiece(at))?;
    PhysVec::new(at, len_bytes, origin).map_err(|_| WitnessError::BadPiece(at))
}

impl<H: Host> Witness for CpuWitness<'_, H> {
    fn granule_bytes(&self) -> u64 {
        8
    }

    fn read(&mut self, at: PhysAddr, into: &mut [u8]) -> Result<(), WitnessError> {
        let mut at = at;
        for part in into.chunks_mut(MOST_BYTES) {
            let vector = [piece(at, part.len(), Origin::LookUp)?];
            iomem::copy_from(self.host, self.map, &vector, part).map_err(WitnessError::Cpu)?;
            at = at.checked_add(part.len() as u64).unwrap_or(at);
        }
        Ok(())
    }

    fn write(&mut self, at: PhysAddr, from: &[u8]) -> Result<(), WitnessError> {
        let mut next = at;
        for part in from.chunks(MOST_BYTES) {
            let vector = [piece(next, part.len(), Origin::LookUp)?];
            iomem::copy_to(self.host, self.map, &vector, part).map_err(WitnessError::Cpu)?;
            next = next.checked_add(part.len() as u64).unwrap_or(next);
        }
        // Stores are posted: a load from the same memory comes back behind them.
        let last = from.len().saturating_sub(8);
        let mut word = vec![0; from.len() - last];
        match at.checked_add(last as u64) {
            Some(at) if !word.is_empty() => self.read(at, &mut word),
            _ => Ok(()),
        }
    }
}

/// A device whose way to the memory is beyond doubt (its own memory, as a rule), by commands of its own to blocks of its own.
pub struct VolumeWitness<'v> {
    host: &'v dyn Host,
    volume: &'v mut dyn Volume,
    lba: u64,
    blocks: u64,
    ram: Span<PhysAddr>,
}

impl<'v> VolumeWitness<'v> {
    /// A volume with blocks that may be overwritten, and RAM for what is on its way.
    pub fn new(
        host: &'v dyn Host,
        volume: &'v mut dyn Volume,
        (lba, blocks): (u64, u64),
        ram: Span<PhysAddr>,
    ) -> Self {
        Self {
            host,
            volume,
            lba,
            blocks,
            ram,
        }
    }

    /// What of a length one go takes.
    fn part_bytes(&self) -> usize {
        let limits = self.volume.limits();
        let block = u64::from(limits.block_bytes.max(1));
        let most = u64::from(limits.max_transfer_bytes).min(self.blocks.saturating_mul(block));
        // Less a page, so that a list of pages that begins within one is long enough.
        let most = most.saturating_sub(4096).max(block) / block * block;
        usize::try_from(most).unwrap_or(usize::MAX)
    }
}

impl Witness for VolumeWitness<'_> {
    fn granule_bytes(&self) -> u64 {
        u64::from(self.volume.limits().block_bytes.max(1))
    }

    fn read(&mut self, at: PhysAddr, into: &mut [u8]) -> Result<(), WitnessError> {
        let (mut at, part_bytes) = (at, self.part_bytes());
        for part in into.chunks_mut(part_bytes.max(1)) {
            let memory = piece(at, part.len(), Origin::LookUp)?;
            let mut ferry = Ferry::new(self.host, &mut *self.volume, self.ram);
            ferry.one(Operation::Write, self.lba, memory)?;
            ferry.load(self.lba, part)?;
            at = at.checked_add(part.len() as u64).unwrap_or(at);
        }
        Ok(())
    }

    fn write(&mut self, at: PhysAddr, from: &[u8]) -> Result<(), WitnessError> {
        let (mut at, part_bytes) = (at, self.part_bytes());
        for part in from.chunks(part_bytes.max(1)) {
            let memory = piece(at, part.len(), Origin::LookUp)?;
            let mut ferry = Ferry::new(self.host, &mut *self.volume, self.ram);
            ferry.store(self.lba, part)?;
            ferry.one(Operation::Read, self.lba, memory)?;
            at = at.checked_add(part.len() as u64).unwrap_or(at);
        }
        Ok(())
    }
}

impl From<MoveError> for WitnessError {
    fn from(error: MoveError) -> Self {
        match error {
            MoveError::Ram(error) => Self::Ram(error),
            MoveError::Volume(trouble) => Self::Volume(trouble),
        }
    }
}

impl fmt::Display for WitnessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu(source) => source.fmt(f),
            Self::Volume(source) => source.fmt(f),
            Self::Ram(source) => source.fmt(f),
            Self::NotMemory { at } => write!(
                f,
                "what is written at {at} is not what is read there: it is no memory, or not enabled"
            ),
            Self::BadPiece(at) => write!(f, "no piece of memory begins at {at}"),
        }
    }
}

impl core::error::Error for WitnessError {}
