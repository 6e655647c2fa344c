//! Why the CPU did not touch memory.

use crate::addr::{Bdf, PhysAddr};
use crate::device::DeviceError;
use crate::memory::Widths;
use core::fmt;

/// Why memory was not read or written by the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IomemError {
    /// No region holds this address.
    Hole {
        /// The address.
        at: PhysAddr,
    },
    /// The CPU cannot address this memory at all; only devices reach it.
    NoCpuView {
        /// Whose memory it is.
        provider: Bdf,
        /// Where.
        at: PhysAddr,
    },
    /// An access of a width or alignment that the memory does not allow, or past its end.
    BadAccess {
        /// Where.
        at: PhysAddr,
        /// How many bytes.
        len_bytes: u64,
        /// The widths that are allowed, each aligned to itself.
        allowed: Widths,
    },
    /// An access that states its width is for memory behind a BAR, and this is RAM.
    NotBar {
        /// Where.
        at: PhysAddr,
    },
    /// The piece was said to be RAM, and is memory of a BAR.
    UnflaggedPeer {
        /// Whose memory it is.
        provider: Bdf,
        /// Where.
        at: PhysAddr,
    },
    /// The memory is not as long as the slice.
    WrongLength {
        /// Bytes of the memory.
        memory_bytes: u64,
        /// Bytes of the slice.
        slice_bytes: u64,
    },
    /// A segment's address leads to nothing that is known.
    LeadsNowhere {
        /// The address, as the device was told it.
        addr: u64,
    },
    /// What the list leads to was changed during the copy.
    Changed,
    /// The host refused; a part may have been copied.
    Device(DeviceError),
}

impl fmt::Display for IomemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hole { at } => write!(f, "no memory is registered at {at}"),
            Self::NoCpuView { provider, at } => write!(
                f,
                "the CPU cannot address the memory of {provider} at {at}; let a device copy it"
            ),
            Self::BadAccess {
                at,
                len_bytes,
                allowed,
            } => write!(
                f,
                "{len_bytes} bytes at {at} cannot be accessed: only aligned accesses of {allowed:?} bytes are allowed, within the memory"
            ),
            Self::NotBar { at } => write!(f, "{at} is RAM; copy it"),
            Self::UnflaggedPeer { provider, at } => write!(
                f,
                "the piece at {at} was said to be RAM, and is memory of {provider}; make it with Origin::LookUp"
            ),
            Self::WrongLength {
                memory_bytes,
                slice_bytes,
            } => write!(f, "{slice_bytes} bytes for {memory_bytes} bytes of memory"),
            Self::LeadsNowhere { addr } => {
                write!(f, "the address {addr:#x} leads to no memory that is known")
            }
            Self::Changed => f.write_str("the mapping was changed during the copy; map it again"),
            Self::Device(source) => source.fmt(f),
        }
    }
}

impl core::error::Error for IomemError {}
