//! What can go wrong between a driver and its hardware.

use crate::addr::PhysAddr;
use core::fmt;

/// Why hardware or memory could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceError {
    /// The function is gone, or its link is down.
    Removed,
    /// No RAM is left for this many bytes.
    NoMemory {
        /// How many bytes.
        len_bytes: u64,
    },
    /// No memory of the kind that was asked for lies there.
    NoSuchMemory {
        /// Where.
        at: PhysAddr,
    },
    /// The CPU may not touch it, or not by this width and alignment.
    NoAccess {
        /// Where.
        at: PhysAddr,
        /// The width, in bytes.
        width_bytes: u8,
    },
    /// The function has no such BAR, or not one of registers that can be reached.
    NoSuchBar {
        /// Which.
        bar: u8,
    },
    /// The function cannot be reset.
    NoReset,
    /// The system refused it with this error number.
    System(i32),
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed => f.write_str("the device is gone"),
            Self::NoMemory { len_bytes } => write!(f, "no RAM is left for {len_bytes:#x} bytes"),
            Self::NoSuchMemory { at } => write!(f, "there is no such memory at {at}"),
            Self::NoAccess { at, width_bytes } => {
                write!(f, "the CPU may not touch {at} by {width_bytes} bytes at a time")
            }
            Self::NoSuchBar { bar } => write!(f, "the device has no BAR {bar} that can be used"),
            Self::NoReset => f.write_str("the device cannot be reset"),
            Self::System(number) => write!(f, "the system refused it (error {number})"),
        }
    }
}

impl core::error::Error for DeviceError {}
