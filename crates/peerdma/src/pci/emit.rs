//! Writing a configuration space: the bytes, the chains, and what cannot be written.
//!
//! [`Config::emit`](super::Config::emit) lays the space out; each structure writes itself into the
//! [`Image`].

use super::{ConfigView, Header};
use crate::fact::{Fact, Unread};
use core::fmt;

/// A meaning that no configuration space can be written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmitError {
    /// A fact is unknown.
    Unknown {
        /// Which.
        fact: &'static str,
        /// Why.
        why: Unread,
    },
    /// No register can hold a value: it is too large, not aligned, or reserved.
    Unwritable {
        /// Of which fact.
        fact: &'static str,
        /// The value.
        value: u64,
    },
    /// A base address register that the header does not have, or that the one before also takes.
    BarPlace {
        /// Its number.
        index: u8,
    },
    /// An extended capability of a function that has no extended space: neither PCI Express nor a
    /// host bridge.
    NoExtendedSpace {
        /// Which.
        fact: &'static str,
    },
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { fact, why } => write!(f, "{fact} is unknown: {why}"),
            Self::Unwritable { fact, value } => {
                write!(f, "no register can hold {value:#x} as {fact}")
            }
            Self::BarPlace { index } => write!(
                f,
                "base address register {index} does not exist here or is taken by the one before"
            ),
            Self::NoExtendedSpace { fact } => write!(
                f,
                "{fact} needs extended configuration space, which only PCI Express functions and \
                 host bridges have"
            ),
        }
    }
}

impl core::error::Error for EmitError {}

/// The value of a fact that must be known.
pub(super) fn required<'a, T>(value: &'a Fact<T>, fact: &'static str) -> Result<&'a T, EmitError> {
    match value {
        Fact::Known(value) => Ok(value),
        Fact::Unknown(why) => Err(EmitError::Unknown { fact, why: *why }),
    }
}

/// `value`, if it is at most `most`.
pub(super) fn at_most(fact: &'static str, value: u64, most: u64) -> Result<u64, EmitError> {
    if value > most {
        return Err(EmitError::Unwritable { fact, value });
    }
    Ok(value)
}

/// A configuration space being written, with its two chains of capabilities.
pub(super) struct Image {
    bytes: [u8; ConfigView::MAX_BYTES],
    /// Where the pointer to the next conventional capability goes.
    link_at: u16,
    next: u16,
    /// Where the header of the last extended capability is.
    last_extended: Option<u16>,
    next_extended: u16,
}

impl Image {
    const STATUS: u16 = 0x06;
    const STATUS_HAS_CAPABILITIES: u8 = 0x10;

    /// All zeros, with the header's type.
    pub(super) fn new(header: Header) -> Self {
        let mut image = Self {
            bytes: [0; ConfigView::MAX_BYTES],
            link_at: header.capability_pointer(),
            // The header of a CardBus bridge reaches up to here.
            next: 0x48,
            last_extended: None,
            next_extended: 0x100,
        };
        image.put_u8(Header::TYPE, header.register());
        image
    }

    /// The bytes.
    pub(super) fn into_bytes(self) -> [u8; ConfigView::MAX_BYTES] {
        self.bytes
    }

    /// Appends a conventional capability of `bytes` bytes; returns where it is.
    pub(super) fn append(&mut self, capability: u16, bytes: u16) -> u16 {
        let offset = self.next;
        self.put_u8(Self::STATUS, Self::STATUS_HAS_CAPABILITIES);
        self.put_u8(self.link_at, offset as u8);
        self.put_u8(offset, capability as u8);
        self.link_at = offset + 1;
        self.next = offset + bytes.next_multiple_of(4);
        offset
    }

    /// Appends an extended capability of `bytes` bytes; returns where it is.
    pub(super) fn append_extended(&mut self, capability: u16, bytes: u16) -> u16 {
        const VERSION: u16 = 1;
        let offset = self.next_extended;
        if let Some(last) = self.last_extended {
            self.put_u16(last + 2, VERSION | offset << 4);
        }
        self.put_u16(offset, capability);
        self.put_u16(offset + 2, VERSION);
        self.last_extended = Some(offset);
        self.next_extended = offset + bytes.next_multiple_of(4);
        offset
    }

    /// Writes a byte.
    pub(super) fn put_u8(&mut self, offset: u16, value: u8) {
        self.put(offset, [value]);
    }

    /// Writes a little-endian 16-bit word.
    pub(super) fn put_u16(&mut self, offset: u16, value: u16) {
        self.put(offset, value.to_le_bytes());
    }

    /// Writes a little-endian 32-bit word.
    pub(super) fn put_u32(&mut self, offset: u16, value: u32) {
        self.put(offset, value.to_le_bytes());
    }

    fn put<const N: usize>(&mut self, offset: u16, value: [u8; N]) {
        let start = usize::from(offset);
        if let Some(place) = self.bytes.get_mut(start..start + N) {
            place.copy_from_slice(&value);
        }
    }
}
