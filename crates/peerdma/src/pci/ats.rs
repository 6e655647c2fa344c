//! Address Translation Services (PCIe Base 10.5.1).

use super::ConfigView;
use super::emit::Image;

/// The ATS extended capability of one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Ats {
    /// May the function issue translated requests now?
    pub enabled: bool,
}

impl Ats {
    /// Extended capability number.
    pub(super) const CAPABILITY: u16 = 0x000f;
    const CONTROL: u16 = 6;
    const ENABLE: u16 = 0x8000;
    const BYTES: u16 = 8;

    /// The capability at `offset`.
    pub(super) fn parse(view: ConfigView<'_>, offset: u16) -> Option<Self> {
        Some(Self {
            enabled: view.u16(offset + Self::CONTROL)? & Self::ENABLE != 0,
        })
    }

    /// Appends the capability.
    pub(super) fn emit(self, image: &mut Image) {
        let offset = image.append_extended(Self::CAPABILITY, Self::BYTES);
        let control = if self.enabled { Self::ENABLE } else { 0 };
        image.put_u16(offset + Self::CONTROL, control);
    }
}
