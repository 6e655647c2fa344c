//! Where blocks are kept.

use super::{Bio, Limits};
use crate::addr::{Bdf, PhysAddr};
use crate::device::DeviceError;
use crate::dma::{LookUpError, MapError, MemoryKind};
use crate::memory::RegionId;
use crate::route::Access;
use core::fmt;

/// Where blocks are kept: a queue to a device, a file, a stack of others.
pub trait Volume {
    /// What it is and takes.
    fn limits(&self) -> &Limits;

    /// Begins an operation. The volume owns the bio, and what it maps, until [`Self::poll`] gives it back: dropping the ticket frees
    /// nothing.
    ///
    /// # Errors
    /// [`Rejected`] with the bio: nothing was begun, nothing is mapped.
    fn submit(&mut self, bio: Bio) -> Result<Ticket, Rejected>;

    /// Gives what is done to `done`, in the order in which it was done. Never waits. What was submitted since the last call may reach the device
    /// only with this one, so that it is told once of all that came together.
    ///
    /// # Errors
    /// [`VolumeError`] where the volume as a whole has failed: all that was under way has been given to `done` with an error before.
    fn poll(&mut self, done: &mut dyn FnMut(Done)) -> Result<(), VolumeError>;

    /// Where it is told that an operation has ended: what proves that data has arrived depends on it (invariant 8).
    fn completion_place(&self) -> CompletionPlace {
        CompletionPlace::Ram
    }

    /// How many operations are under way.
    fn under_way(&self) -> usize;

    /// Begins to end what uses a region; what it cannot end ends by itself. [`Self::poll`] tells when each is done.
    fn abort_uses(&mut self, region: RegionId);
}

/// Where a volume's device writes that an operation has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompletionPlace {
    /// In RAM.
    Ram,
    /// In memory behind a BAR, from here on: what the device wrote to that BAR before is there before the entry is.
    Memory(PhysAddr),
}

/// Names an operation: not given out again while it is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// An operation that has ended.
#[derive(Debug)]
pub struct Done {
    /// Which.
    pub ticket: Ticket,
    /// The bio; its vector is unmapped, and what was mapped earlier is still mapped.
    pub bio: Bio,
    /// How it ended. Success means what the device says: where the data goes to a peer, it may still be on its way (invariant 8).
    pub result: Result<(), CommandError>,
}

/// A bio that was not begun.
#[derive(Debug)]
pub struct Rejected {
    /// The bio, as it was.
    pub bio: Bio,
    /// Why.
    pub why: SubmitError,
}

/// Why a bio was not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubmitError {
    /// As much is under way as the volume takes: poll, then submit again.
    QueueFull,
    /// Blocks that the volume does not have.
    OutOfRange {
        /// The first block.
        lba: u64,
        /// How many blocks.
        blocks: u64,
        /// How many the volume has.
        has: u64,
    },
    /// The data is not as long as the blocks.
    WrongLength {
        /// Bytes of the blocks.
        blocks_bytes: u64,
        /// Bytes of the data.
        data_bytes: u64,
    },
    /// More than one bio may carry.
    TooLong {
        /// Bytes of the bio.
        bytes: u64,
        /// The most that it may have.
        most: u64,
    },
    /// Memory of a BAR, on a volume that takes none.
    NoPeerMemory,
    /// The device's own memory mixed with other memory, which this device cannot do; split the bio.
    Mixed,
    /// A piece lies where no memory is registered.
    LookUp(LookUpError),
    /// It cannot be mapped for this device.
    Map(MapError),
    /// What was mapped earlier is not for this volume's initiator, or in the other direction.
    ForeignMapping,
    /// The device cannot be told these addresses: no list that it takes leads to them.
    NotAddressable {
        /// What stands in the way, in a few words.
        why: &'static str,
    },
    /// The volume has failed.
    Failed(VolumeError),
}

/// How an operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// The device says so.
    Status {
        /// Its status code type and code, as it gave them (NVMe: SCT in bits 10:8, SC in bits 7:0).
        code: u16,
        /// In words.
        meaning: &'static str,
    },
    /// It did not end in time, and was aborted.
    TimedOut,
    /// It was aborted.
    Aborted,
    /// The device was reset while it was under way: nobody knows how much was done.
    Reset,
    /// The device is gone: nobody knows how much was done.
    Removed,
    /// The device or the system broke its own rules.
    Protocol(&'static str),
    /// The system, which drives the device, failed it with this error number.
    System {
        /// The number.
        number: i32,
        /// In words, and what to do.
        meaning: &'static str,
    },
    /// The system did not let its device reach memory of a peer.
    PeerRefused(PeerRefused),
    /// The memory is no longer there: the function whose BAR it lies behind was unbound, or taken out.
    PeerGone {
        /// The function.
        provider: Bdf,
    },
}

/// A pair that the system refused although its route was judged good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerRefused {
    /// The function that was to do the DMA.
    pub initiator: Bdf,
    /// Whose memory it was to reach.
    pub provider: Bdf,
    /// What it was to do there.
    pub access: Access,
    /// What the memory was judged to be to it.
    pub judged: MemoryKind,
    /// Was that judged, or a refusal overridden?
    pub is_forced: bool,
    /// The system's error number.
    pub number: i32,
}

/// Why a volume as a whole no longer works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VolumeError {
    /// The device is gone.
    Removed,
    /// The device has failed, and a reset did not help.
    Dead(&'static str),
    /// The device cannot be reached.
    Device(DeviceError),
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull => f.write_str("as much is under way as the volume takes; poll first"),
            Self::OutOfRange { lba, blocks, has } => {
                write!(f, "blocks {lba} and {blocks} on: the volume has {has}")
            }
            Self::WrongLength {
                blocks_bytes,
                data_bytes,
            } => write!(f, "{data_bytes} bytes of data for {blocks_bytes} bytes of blocks"),
            Self::TooLong { bytes, most } => {
                write!(
                    f,
                    "{bytes} bytes are more than the {most} of one operation; split it"
                )
            }
            Self::NoPeerMemory => f.write_str("the volume takes RAM only, and this is memory of a device"),
            Self::Mixed => f.write_str(
                "the device cannot mix its own memory with other memory in one operation; split it",
            ),
            Self::LookUp(source) => source.fmt(f),
            Self::Map(source) => source.fmt(f),
            Self::ForeignMapping => {
                f.write_str("the memory was mapped for another device, or in the other direction")
            }
            Self::NotAddressable { why } => write!(f, "the device cannot be told these addresses: {why}"),
            Self::Failed(source) => source.fmt(f),
        }
    }
}

impl core::error::Error for SubmitError {}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { code, meaning } => write!(f, "the device says: {meaning} (status {code:#x})"),
            Self::TimedOut => f.write_str("it did not end in time"),
            Self::Aborted => f.write_str("it was aborted"),
            Self::Reset => f.write_str("the device was reset while it was under way"),
            Self::Removed => f.write_str("the device is gone"),
            Self::Protocol(what) => write!(f, "the device broke its rules: {what}"),
            Self::System { number, meaning } => write!(f, "the system says: {meaning} (error {number})"),
            Self::PeerRefused(refused) => refused.fmt(f),
            Self::PeerGone { provider } => write!(
                f,
                "the memory of {provider} is no longer there: the device was unbound or taken out; bind it again and take new memory"
            ),
        }
    }
}

impl fmt::Display for PeerRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            initiator,
            provider,
            access,
            judged,
            is_forced,
            number,
        } = self;
        let verb = match access {
            Access::Read => "read",
            Access::Write => "write",
        };
        let verdict = match is_forced {
            true => "which was forced as",
            false => "although it was judged",
        };
        write!(
            f,
            "the system does not let {initiator} {verb} memory of {provider}, {verdict} {judged} (error {number}): choose another \
             provider, or go by way of RAM"
        )
    }
}

impl core::error::Error for CommandError {}

impl fmt::Display for VolumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed => f.write_str("the device is gone"),
            Self::Dead(why) => write!(f, "the device has failed: {why}"),
            Self::Device(source) => source.fmt(f),
        }
    }
}

impl core::error::Error for VolumeError {}
