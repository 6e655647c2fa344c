//! Writes configuration spaces byte by byte (offsets: PCIe Base 7.5, 7.7.11, 7.8.4).

use super::random::Random;
use std::ops::Range;

/// Bridges by where they stand; the number is the Device/Port Type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Root = 4,
    Upstream = 5,
    Downstream = 6,
}

const CLASS_HOST_BRIDGE: u32 = 0x06_00_00;
const CLASS_PCI_BRIDGE: u32 = 0x06_04_00;
const POWER_MANAGEMENT: u8 = 0x40;
/// Where the PCI Express capability lies, behind power management.
const EXPRESS: u8 = 0x70;
const ADVANCED_ERROR_REPORTING: u16 = 0x100;
/// Where devices at hand have their ACS capability, near and far.
const ACS_OFFSETS: [u16; 6] = [0x148, 0x154, 0x1d8, 0x220, 0x2a0, 0xf24];

/// One configuration space in the making.
pub(crate) struct Config {
    bytes: Box<[u8; 4096]>,
}

impl Config {
    /// A function that is no bridge.
    pub(crate) fn endpoint(vendor: u16, device: u16, class: u32) -> Self {
        Self::new(vendor, device, class, 0)
    }

    /// A host bridge: an endpoint that is part of the root complex and has no link.
    pub(crate) fn host_bridge(vendor: u16, device: u16) -> Self {
        Self::new(vendor, device, CLASS_HOST_BRIDGE, 9)
    }

    /// A bridge with nothing behind it yet, and closed windows.
    pub(crate) fn port(vendor: u16, device: u16, kind: Port) -> Self {
        let mut config = Self::new(vendor, device, CLASS_PCI_BRIDGE, kind as u16);
        config.bytes[0x0e] = 1;
        // Base above limit: I/O, memory, prefetchable memory.
        config.bytes[0x1c] = 0xf0;
        config.u16(0x20, 0xfff0);
        config.u16(0x24, 0xfff1);
        config.u16(0x26, 0x0001);
        config
    }

    fn new(vendor: u16, device: u16, class: u32, port_type: u16) -> Self {
        let bytes = Box::new([0; 4096]);
        let mut config = Self { bytes };
        config.u16(0x00, vendor);
        config.u16(0x02, device);
        // Memory and bus mastering on; there is a list of capabilities.
        config.u16(0x04, 0x0006);
        config.u16(0x06, 0x0010);
        config.u32(0x08, class << 8 | 0x01);
        config.bytes[0x34] = POWER_MANAGEMENT;
        config.u16(POWER_MANAGEMENT.into(), u16::from(EXPRESS) << 8 | 0x01);
        config.u16(u16::from(POWER_MANAGEMENT) + 2, 0x0003);
        config.u16(EXPRESS.into(), 0x0010);
        config.express(0x02, 2 | port_type << 4);
        // Payload: 512 bytes possible, 256 in use; read requests of 512 bytes.
        config.express(0x04, 0x0002);
        config.express(0x08, 0x2020);
        config.u32(ADVANCED_ERROR_REPORTING, 0x0001_0001);
        config
    }

    /// Gives it a link of random rate and width, now and then trained below what it can.
    pub(crate) fn link(&mut self, random: &mut Random) {
        let (rate, width) = (random.between(3, 5), random.one_of(&[4, 8, 16]));
        let rate_now = if random.chance(10) { 1 } else { rate };
        let width_now = if random.chance(5) { width / 2 } else { width };
        self.express(0x0c, u16::from(rate) | width << 4);
        self.express(0x12, u16::from(rate_now) | width_now << 4);
        // Supported rates: a bit each from 2.5 GT/s on.
        self.express(0x2c, (1 << (rate + 1)) - 2);
        self.express(0x30, u16::from(rate));
    }

    /// Gives it a 64-bit prefetchable BAR.
    pub(crate) fn bar(&mut self, address: u64) {
        self.u32(0x10, address as u32 & !0xf | 0xc);
        self.u32(0x14, (address >> 32) as u32);
    }

    /// Gives it an ACS capability somewhere, with what Linux switches on for an IOMMU, nothing, or
    /// anything switched on.
    pub(crate) fn acs(&mut self, random: &mut Random) {
        let at = random.one_of(&ACS_OFFSETS);
        let capable = random.one_of(&[0x1f, 0x5f, 0x5d, 0x0c]);
        let control = match random.between(0, 3) {
            0 | 1 => 0,
            2 => 0x1d,
            _ => u16::from(random.between(0, 0x7f)),
        };
        self.u16(ADVANCED_ERROR_REPORTING + 2, at << 4 | 1);
        self.u32(at, 0x0001_000d);
        self.u16(at + 4, capable);
        self.u16(at + 6, control & capable);
    }

    /// Says that the device has several functions.
    pub(crate) fn mark_multifunction(&mut self) {
        self.bytes[0x0e] |= 0x80;
    }

    pub(crate) fn finish(self) -> Box<[u8; 4096]> {
        self.bytes
    }

    fn express(&mut self, register: u16, value: u16) {
        self.u16(u16::from(EXPRESS) + register, value);
    }

    fn u16(&mut self, at: u16, value: u16) {
        let at = usize::from(at);
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, at: u16, value: u32) {
        let at = usize::from(at);
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
}

/// Sets primary, secondary and subordinate bus of a bridge.
pub(crate) fn set_buses(bridge: &mut [u8; 4096], buses: [u8; 3]) {
    bridge[0x18..0x1b].copy_from_slice(&buses);
}

/// Opens the prefetchable window of a bridge (whole MiB), unless `window` is empty.
pub(crate) fn set_window(bridge: &mut [u8; 4096], window: Range<u64>) {
    let Some(last) = window.end.checked_sub(1).filter(|_| !window.is_empty()) else {
        return;
    };
    // The low nibble 1: the window has 64-bit addresses.
    let low = |address: u64| (((address >> 16) as u16 & 0xfff0) | 1).to_le_bytes();
    let high = |address: u64| ((address >> 32) as u32).to_le_bytes();
    bridge[0x24..0x26].copy_from_slice(&low(window.start));
    bridge[0x26..0x28].copy_from_slice(&low(last));
    bridge[0x28..0x2c].copy_from_slice(&high(window.start));
    bridge[0x2c..0x30].copy_from_slice(&high(last));
}
