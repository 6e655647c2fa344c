//! Single Root I/O Virtualization (PCIe Base 9.3.3).

use super::ConfigView;
use super::emit::Image;

/// The SR-IOV extended capability of a physical function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sriov {
    /// Are the virtual functions switched on?
    pub enabled: bool,
    /// How many virtual functions there can be.
    pub total: u16,
    /// How many there are.
    pub count: u16,
    /// Routing ID of the first one, relative to the physical function's.
    pub first_offset: u16,
    /// Distance of routing IDs from one to the next.
    pub stride: u16,
    /// Device number that they answer with.
    pub device: u16,
}

impl Sriov {
    /// Extended capability number.
    pub(super) const CAPABILITY: u16 = 0x0010;
    const CONTROL: u16 = 0x08;
    const ENABLE: u16 = 0x0001;
    const INITIAL: u16 = 0x0c;
    const TOTAL: u16 = 0x0e;
    const COUNT: u16 = 0x10;
    const FIRST_OFFSET: u16 = 0x14;
    const STRIDE: u16 = 0x16;
    const DEVICE: u16 = 0x1a;
    const BYTES: u16 = 0x40;

    /// The capability at `offset`.
    pub(super) fn parse(view: ConfigView<'_>, offset: u16) -> Option<Self> {
        Some(Self {
            enabled: view.u16(offset + Self::CONTROL)? & Self::ENABLE != 0,
            total: view.u16(offset + Self::TOTAL)?,
            count: view.u16(offset + Self::COUNT)?,
            first_offset: view.u16(offset + Self::FIRST_OFFSET)?,
            stride: view.u16(offset + Self::STRIDE)?,
            device: view.u16(offset + Self::DEVICE)?,
        })
    }

    /// Appends the capability.
    pub(super) fn emit(self, image: &mut Image) {
        let offset = image.append_extended(Self::CAPABILITY, Self::BYTES);
        let control = if self.enabled { Self::ENABLE } else { 0 };
        image.put_u16(offset + Self::CONTROL, control);
        image.put_u16(offset + Self::INITIAL, self.total);
        image.put_u16(offset + Self::TOTAL, self.total);
        image.put_u16(offset + Self::COUNT, self.count);
        image.put_u16(offset + Self::FIRST_OFFSET, self.first_offset);
        image.put_u16(offset + Self::STRIDE, self.stride);
        image.put_u16(offset + Self::DEVICE, self.device);
    }
}
