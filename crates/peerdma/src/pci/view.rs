//! A window on configuration-space bytes that may end early.

use super::footprint::Footprint;
use crate::fact::{Fact, Unread};

/// Up to 4096 bytes of configuration space. Every access is checked; reading past the end yields
/// nothing, never a panic.
#[derive(Debug, Clone, Copy)]
pub struct ConfigView<'a> {
    bytes: &'a [u8],
    extent: Extent,
    noted: Option<&'a Footprint>,
}

/// Is there more configuration space than the bytes at hand?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The function has no more than these bytes.
    Whole,
    /// The source may have stopped early (an unprivileged reader gets 64 bytes, `lspci -xxx` 256).
    MayGoOn,
}

impl<'a> ConfigView<'a> {
    /// Size of the whole configuration space.
    pub const MAX_BYTES: usize = 4096;
    /// Size of the conventional part; the extended one starts there.
    pub const CONVENTIONAL_BYTES: usize = 256;

    /// A view of at most the first [`Self::MAX_BYTES`] of `bytes`.
    pub fn new(bytes: &'a [u8], extent: Extent) -> Self {
        Self {
            bytes: &bytes[..bytes.len().min(Self::MAX_BYTES)],
            extent,
            noted: None,
        }
    }

    /// The same view, which notes in `footprint` what is looked at.
    pub(super) fn noting(self, footprint: &'a Footprint) -> Self {
        Self {
            noted: Some(footprint),
            ..self
        }
    }

    /// The bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes there are.
    pub fn len_bytes(self) -> u16 {
        self.bytes.len() as u16
    }

    /// Whether there is more than these bytes.
    pub fn extent(self) -> Extent {
        self.extent
    }

    /// The byte at `offset`.
    pub fn u8(self, offset: u16) -> Option<u8> {
        self.array::<1>(offset).map(|[byte]| byte)
    }

    /// The little-endian 16-bit word at `offset`.
    pub fn u16(self, offset: u16) -> Option<u16> {
        self.array(offset).map(u16::from_le_bytes)
    }

    /// The little-endian 32-bit word at `offset`.
    pub fn u32(self, offset: u16) -> Option<u32> {
        self.array(offset).map(u32::from_le_bytes)
    }

    /// What could be read, or that the bytes ended before it.
    pub(super) fn fact<T>(self, value: Option<T>) -> Fact<T> {
        match value {
            Some(value) => Fact::Known(value),
            None => self.cut(),
        }
    }

    /// The fact that lies past the end of the bytes.
    pub(super) fn cut<T>(self) -> Fact<T> {
        Fact::Unknown(Unread::ConfigCut {
            bytes: self.len_bytes(),
        })
    }

    /// What `read` finds in the capability at `place`; nothing where there is no capability.
    pub(super) fn within<T>(
        self,
        place: Fact<Option<u16>>,
        read: impl FnOnce(u16) -> Option<T>,
    ) -> Fact<Option<T>> {
        match place {
            Fact::Known(Some(offset)) => self.fact(read(offset)).map(Some),
            Fact::Known(None) => Fact::Known(None),
            Fact::Unknown(why) => Fact::Unknown(why),
        }
    }

    fn array<const N: usize>(self, offset: u16) -> Option<[u8; N]> {
        let start = usize::from(offset);
        if let Some(footprint) = self.noted {
            footprint.touch(offset);
            footprint.touch(offset.saturating_add(N as u16 - 1));
        }
        self.bytes.get(start..start + N)?.try_into().ok()
    }
}
