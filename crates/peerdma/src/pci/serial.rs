//! The device serial number (PCIe Base 7.9.3).

use super::capability::{Step, Walk};
use super::emit::Image;
use super::{ConfigView, Extent};

/// Extended capability number.
pub(super) const CAPABILITY: u16 = 0x0003;
const NUMBER: u16 = 4;
const NUMBER_BYTES: usize = 8;

/// The number in the capability at `offset`.
pub(super) fn parse(view: ConfigView<'_>, offset: u16) -> Option<u64> {
    let low = view.u32(offset + NUMBER)?;
    let high = view.u32(offset + NUMBER + 4)?;
    Some(u64::from(high) << 32 | u64::from(low))
}

/// Appends the capability.
pub(super) fn emit(number: u64, image: &mut Image) {
    let offset = image.append_extended(CAPABILITY, NUMBER + NUMBER_BYTES as u16);
    image.put_u32(offset + NUMBER, number as u32);
    image.put_u32(offset + NUMBER + 4, (number >> 32) as u32);
}

/// Overwrites every serial number on the extended chain with zeros, also in a function that should
/// have no extended space, and the part that is there of one that is cut: this is for bytes that are
/// handed to others.
pub(super) fn blank(raw: &mut [u8]) {
    let mut walk = Walk::extended();
    while let Step::At { capability, offset } = walk.step(ConfigView::new(raw, Extent::MayGoOn)) {
        if capability == CAPABILITY {
            let start = usize::from(offset + NUMBER);
            let number = raw.iter_mut().skip(start).take(NUMBER_BYTES);
            number.for_each(|byte| *byte = 0);
        }
    }
}
