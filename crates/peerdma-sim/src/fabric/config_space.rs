//! Configuration spaces as software sees them: bytes, and what a write to them does.
//!
//! A space keeps the bytes that are in use; the rest of its 256 or 4096 reads 0. Which bits take a write is said in
//! `writable`; what acts when it is written (BAR sizes, resets) is here.

use super::layout::{HeaderKind, Layout};
use peerdma::pci::BarKind;

/// How much is read or written at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Word,
    /// 32 bits.
    Dword,
}

impl Width {
    /// How many bytes.
    pub const fn bytes(self) -> u16 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Dword => 4,
        }
    }

    const fn ones(self) -> u32 {
        u32::MAX >> (32 - 8 * self.bytes())
    }
}

/// What a write to a configuration space brought about beside the new contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ConfigEffect {
    /// The function was reset (Initiate Function Level Reset); its registers already are what they are after a reset.
    pub function_reset: bool,
    /// All below a bridge was reset (Secondary Bus Reset); their registers already are what they are after a reset.
    pub bus_reset: bool,
    /// Memory enable or bus-master enable changed.
    pub command_changed: bool,
    /// Address or size of a BAR changed.
    pub bars_changed: bool,
    /// Bus numbers or windows of a bridge changed.
    pub bridge_changed: bool,
    /// Payload sizes, ordering, ACS, ATS or SR-IOV changed.
    pub express_changed: bool,
}

impl ConfigEffect {
    /// May routes differ from what they were?
    pub const fn routes_changed(self) -> bool {
        self.function_reset
            || self.bus_reset
            || self.command_changed
            || self.bars_changed
            || self.bridge_changed
            || self.express_changed
    }
}

/// One base address register, or a pair, as far as its registers do not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BarShape {
    pub(super) kind: BarKind,
    /// How many bytes it decodes; 0 where that is not known, which only I/O BARs may be.
    pub(super) size_bytes: u64,
}

/// The configuration space of one function.
#[derive(Debug, Clone)]
pub(super) struct Space {
    bytes: Box<[u8]>,
    pub(super) layout: Layout,
    pub(super) bars: [Option<BarShape>; 6],
}

impl Space {
    const DEVICE_CONTROL: u16 = 8;
    const MOST_PAYLOAD_CODE: u32 = 5;
    const FLR_CAPABLE: u32 = 1 << 28;
    const ROLE_BASED_ERRORS: u32 = 1 << 15;
    const INITIATE_FLR: u32 = 1 << 15;
    const SECONDARY_BUS_RESET: u32 = 1 << 22;
    /// Device Control: relaxed ordering and no-snoop are on after a reset.
    const RELAXED_AND_NO_SNOOP: u32 = 0x0810;
    /// Device Control: MRRS of 512.
    const MRRS_512: u32 = 2 << 12;

    /// The space that starts as `image`, a whole space as firmware left it.
    pub(super) fn new(mut image: [u8; 4096], bars: [Option<BarShape>; 6]) -> Self {
        let mut layout = Layout::find(&image);
        if layout.express != 0 {
            Layout::append_aer(&mut image);
            layout = Layout::find(&image);
        }
        if image[0x0a..0x0c] == [0x00, 0x06] {
            layout.size_bytes = 4096;
        }
        let used = image
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        let vector_bytes = usize::from(layout.vector_bits(&image).div_ceil(32) * 4);
        let used = used
            .max(256)
            .max(usize::from(layout.aer) + 0x38)
            .max(usize::from(layout.acs) + 8 + vector_bytes)
            .next_multiple_of(4);
        let mut space = Self {
            bytes: image[..used.min(image.len())].into(),
            layout,
            bars,
        };
        space.furnish();
        space
    }

    /// Adds what peerdma's meaning of a configuration space leaves out and software looks for.
    fn furnish(&mut self) {
        let layout = self.layout;
        if layout.header == HeaderKind::Bridge {
            // Both prefetchable registers have upper halves.
            self.put(0x24, self.get(0x24) & !0x000f_000f | 0x0001_0001);
        }
        if layout.express != 0 {
            let capable = layout.express + 4;
            let reset = match layout.header {
                HeaderKind::Function => Self::FLR_CAPABLE,
                _ => 0,
            };
            self.put(capable, self.get(capable) | reset | Self::ROLE_BASED_ERRORS);
            let control = layout.express + Self::DEVICE_CONTROL;
            self.put(control, self.get(control) | Self::RELAXED_AND_NO_SNOOP);
        }
        if layout.sriov != 0 {
            let control = layout.sriov + 8;
            let value = self.get(control);
            self.put(control, value | (value & 1) << 3);
        }
    }

    /// Says that the device has further functions (the highest bit of the header type).
    pub(super) fn mark_multi_function(&mut self) {
        self.put(0x0c, self.get(0x0c) | 0x0080_0000);
    }

    /// A virtual function has no vendor and device of its own (PCIe Base 9.3.4.1.1).
    pub(super) fn blank_id(&mut self) {
        self.put(0, u32::MAX);
    }

    /// The 32 bits at `offset`, a multiple of 4; 0 where nothing is in use.
    pub(super) fn get(&self, offset: u16) -> u32 {
        let start = usize::from(offset);
        match self.bytes.get(start..start + 4) {
            Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
            _ => 0,
        }
    }

    /// Sets the 32 bits at `offset` as hardware does.
    pub(super) fn put(&mut self, offset: u16, value: u32) {
        let start = usize::from(offset);
        if let Some(place) = self.bytes.get_mut(start..start + 4) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Address and size of a memory BAR; nothing where there is none.
    pub(super) fn memory_bar(&self, index: u8) -> Option<(u64, u64)> {
        let shape = (*self.bars.get(usize::from(index))?)?;
        let at = 0x10 + 4 * u16::from(index);
        let low = u64::from(self.get(at) & !0xf);
        let address = match shape.kind {
            BarKind::Io => return None,
            BarKind::Memory32 => low,
            BarKind::Memory64 => u64::from(self.get(at + 4)) << 32 | low,
        };
        (shape.size_bytes != 0).then_some((address, shape.size_bytes))
    }

    /// Copies the whole space, and returns how long it is.
    pub(super) fn copy_to<'a>(&self, image: &'a mut [u8; 4096]) -> &'a [u8] {
        image.fill(0);
        image[..self.bytes.len()].copy_from_slice(&self.bytes);
        &image[..usize::from(self.layout.size_bytes)]
    }

    /// What software reads.
    pub(super) fn read(&self, offset: u16, width: Width) -> u32 {
        let mut value = 0;
        for index in (0..width.bytes()).rev() {
            let at = offset.saturating_add(index);
            let byte = match at < self.layout.size_bytes {
                true => self.bytes.get(usize::from(at)).copied().unwrap_or(0),
                false => 0xff,
            };
            value = value << 8 | u32::from(byte);
        }
        value
    }

    /// What software writes.
    pub(super) fn write(&mut self, offset: u16, width: Width, value: u32) -> ConfigEffect {
        let mut effect = ConfigEffect::default();
        let shift = 8 * u32::from(offset & 3);
        let value = u64::from(value & width.ones()) << shift;
        let lanes = u64::from(width.ones()) << shift;
        let start = offset & !3;
        for half in [0, 1] {
            let part = |bits: u64| (bits >> (32 * half)) as u32;
            if part(lanes) != 0
                && let Some(at) = start.checked_add(4 * half)
            {
                self.write_lanes(at, part(value), part(lanes), &mut effect);
            }
        }
        effect
    }

    fn write_lanes(&mut self, at: u16, value: u32, lanes: u32, effect: &mut ConfigEffect) {
        let old = self.get(at);
        let layout = self.layout;
        if let Some(mask) = self.bar_mask(at) {
            let mask = mask & lanes;
            self.put(at, old & !mask | value & mask);
            effect.bars_changed = self.get(at) != old;
            return;
        }
        let mask = layout.mask(&self.bytes, at);
        let write = mask.write & lanes;
        let mut new = (old & !write | value & write) & !(value & mask.clear & lanes);
        if layout.express != 0 && at == layout.express + Self::DEVICE_CONTROL {
            new = self.keep_possible_sizes(old, new);
            if value & lanes & Self::INITIATE_FLR != 0
                && self.get(layout.express + 4) & Self::FLR_CAPABLE != 0
            {
                self.put(at, new);
                self.reset_function();
                effect.function_reset = true;
                return;
            }
        }
        if self.is_rebar_control(at) {
            new = self.resize(at, old, value, lanes, effect);
        }
        if layout.header == HeaderKind::Bridge && at == 0x3c {
            effect.bus_reset = new & !old & Self::SECONDARY_BUS_RESET != 0;
        }
        self.put(at, new);
        if new == old {
            return;
        }
        match at {
            0x04 => effect.command_changed = (new ^ old) & 0x6 != 0,
            0x18..0x34 => effect.bridge_changed = true,
            0x40.. => effect.express_changed = true,
            _ => {}
        }
    }

    /// The bits that an address has in the BAR register at `offset`; nothing where no BAR is.
    fn bar_mask(&self, offset: u16) -> Option<u32> {
        let index = usize::from(offset.checked_sub(0x10)? / 4);
        let mask_of = |bar: BarShape| match bar.size_bytes {
            0 => 0,
            bytes => {
                !(bytes
                    .checked_next_power_of_two()
                    .map_or(u64::MAX, |bytes| bytes - 1))
            }
        };
        if let Some(bar) = *self.bars.get(index)? {
            let kind_bits = if bar.kind.is_memory() { 0xf } else { 0x3 };
            return Some(mask_of(bar) as u32 & !kind_bits);
        }
        match *self.bars.get(index.checked_sub(1)?)? {
            Some(bar) if bar.kind == BarKind::Memory64 => Some((mask_of(bar) >> 32) as u32),
            _ => None,
        }
    }

    /// Device Control with the old payload sizes where the new ones are reserved, or more than the function can.
    fn keep_possible_sizes(&self, old: u32, new: u32) -> u32 {
        let most = self.get(self.layout.express + 4) & 0x7;
        let mut keep = 0;
        if new >> 5 & 0x7 > most.min(Self::MOST_PAYLOAD_CODE) {
            keep |= 0x7 << 5;
        }
        if new >> 12 & 0x7 > Self::MOST_PAYLOAD_CODE {
            keep |= 0x7 << 12;
        }
        new & !keep | old & keep
    }

    fn is_rebar_control(&self, at: u16) -> bool {
        let start = self.layout.rebar;
        if start == 0 || at < start + 8 {
            return false;
        }
        let entries = (self.get(start + 8) >> 5 & 0x7) as u16;
        let within = at - start - 8;
        within.is_multiple_of(8) && within / 8 < entries
    }

    /// Sets the size of a resizable BAR (PCIe Base 7.8.6.3), if it can have it; returns the control register.
    fn resize(&mut self, at: u16, old: u32, value: u32, lanes: u32, effect: &mut ConfigEffect) -> u32 {
        const SIZE: u32 = 0x3f00;
        let new = old & !(SIZE & lanes) | value & SIZE & lanes;
        let exponent = new >> 8 & 0x3f;
        let possible = u64::from(self.get(at - 4) >> 4) | u64::from(old >> 16) << 28;
        let bar = self.bars.get_mut((old & 0x7) as usize);
        match bar {
            Some(Some(bar)) if new != old && exponent < 44 && possible >> exponent & 1 != 0 => {
                bar.size_bytes = 1 << (20 + exponent);
                effect.bars_changed = true;
                new
            }
            _ => old,
        }
    }

    /// What a function level reset does (PCIe Base 6.6.2): errors that were recorded in AER, and MPS, stay.
    fn reset_function(&mut self) {
        self.put(0x04, self.get(0x04) & 0x00ff_0000);
        self.put(0x0c, self.get(0x0c) & !0xff);
        for index in 0..6 {
            let at = 0x10 + 4 * index;
            if let Some(mask) = self.bar_mask(at) {
                self.put(at, self.get(at) & !mask);
            }
        }
        let layout = self.layout;
        if layout.express != 0 {
            let control = layout.express + Self::DEVICE_CONTROL;
            let payload = self.get(control) & 0xe0;
            self.put(control, payload | Self::RELAXED_AND_NO_SNOOP | Self::MRRS_512);
        }
        if layout.acs != 0 {
            self.put(layout.acs + 4, self.get(layout.acs + 4) & 0xffff);
            for word in 0..layout.vector_bits(&self.bytes).div_ceil(32) {
                self.put(layout.acs + 8 + 4 * word, 0);
            }
        }
        if layout.ats != 0 {
            self.put(layout.ats + 4, self.get(layout.ats + 4) & 0xffff);
        }
    }

    /// What a reset of the bus does: as a function level reset, and MPS, bus numbers and windows too.
    pub(super) fn reset_bus(&mut self) {
        self.reset_function();
        let layout = self.layout;
        if layout.express != 0 {
            let control = layout.express + Self::DEVICE_CONTROL;
            self.put(control, self.get(control) & !0xe0);
        }
        if layout.header == HeaderKind::Function {
            return;
        }
        for at in [0x18, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x30, 0x3c] {
            let mask = layout.mask(&self.bytes, at);
            self.put(at, self.get(at) & !(mask.write | mask.clear));
        }
    }
}
