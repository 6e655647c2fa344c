//! What is impossible in a configuration space.

use core::fmt;

/// Something impossible in a configuration space; what depends on it is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigDefect {
    /// A chain of capabilities returns to an offset where it was, or has more members than fit.
    CapabilityLoop {
        /// Where the chain arrived a second time.
        offset: u16,
    },
    /// The header has a layout that does not exist.
    UnknownHeader {
        /// Header type, 7 bits; `0x7f` where no function answers.
        header_type: u8,
    },
    /// The header holds nothing but zeros.
    EmptyHeader,
    /// A register holds a value that the specification reserves.
    ReservedValue {
        /// Where the register is.
        offset: u16,
    },
}

impl ConfigDefect {
    /// Where it was found, in bytes from the start of the configuration space.
    pub const fn offset(self) -> u16 {
        match self {
            Self::CapabilityLoop { offset } | Self::ReservedValue { offset } => offset,
            Self::UnknownHeader { .. } => 0x0e,
            Self::EmptyHeader => 0,
        }
    }
}

impl fmt::Display for ConfigDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CapabilityLoop { offset } => {
                write!(
                    f,
                    "the chain of capabilities never ends: it comes back to {offset:#05x}"
                )
            }
            Self::UnknownHeader { header_type: 0x7f } => {
                f.write_str("the header at 0x00e reads all ones: no function answers there")
            }
            Self::UnknownHeader { header_type } => write!(
                f,
                "the header at 0x00e has type {header_type:#04x}, expected 0, 1 or 2"
            ),
            Self::EmptyHeader => f.write_str("the header at 0x000 is all zeros: no function answers there"),
            Self::ReservedValue { offset } => {
                write!(f, "the register at {offset:#05x} holds a reserved value")
            }
        }
    }
}

impl core::error::Error for ConfigDefect {}
