//! The bus numbers and windows of a bridge (PCI-to-PCI Bridge 3.2.5, PCIe Base 7.5.1.3).

use super::emit::{Image, required};
use super::{ConfigView, EmitError, Header};
use crate::addr::{Address, BusAddr, Span};
use crate::fact::Fact;

/// What a type 1 header (or a CardBus bridge's) says about the buses below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Bridge {
    /// Which header it has.
    #[cfg_attr(feature = "serde", serde(default))]
    pub kind: BridgeKind,
    /// The bus above.
    pub primary: u8,
    /// The bus directly below; 0 in a bridge that nobody has configured.
    pub secondary: u8,
    /// The highest bus number below.
    pub subordinate: u8,
    /// What it forwards downstream.
    pub windows: Fact<Windows>,
}

/// The two kinds of bridges that lead to further buses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum BridgeKind {
    /// A PCI-to-PCI bridge, or a PCIe port: type 1 header.
    #[default]
    Pci,
    /// A CardBus bridge: type 2 header, whose windows are not read.
    CardBus,
}

/// The address ranges that a bridge forwards downstream; nothing where a window is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Windows {
    /// I/O ports.
    pub io: Option<Span<BusAddr>>,
    /// Memory, below 4 GiB.
    pub memory: Option<Span<BusAddr>>,
    /// Prefetchable memory.
    pub prefetchable: Option<Span<BusAddr>>,
}

impl Bridge {
    const PRIMARY: u16 = 0x18;
    const SECONDARY: u16 = 0x19;
    const SUBORDINATE: u16 = 0x1a;

    /// The bridge that a header describes. The windows of a CardBus bridge are not read.
    pub(super) fn parse(view: ConfigView<'_>, header: Header) -> Fact<Option<Self>> {
        let (kind, windows) = match header {
            Header::Function => return Fact::Known(None),
            Header::Bridge => (BridgeKind::Pci, view.fact(Windows::parse(view))),
            Header::CardBus => (BridgeKind::CardBus, Fact::NOT_IN_SOURCE),
        };
        let registers = (
            view.u8(Self::PRIMARY),
            view.u8(Self::SECONDARY),
            view.u8(Self::SUBORDINATE),
        );
        match registers {
            (Some(primary), Some(secondary), Some(subordinate)) => Fact::Known(Some(Self {
                kind,
                primary,
                secondary,
                subordinate,
                windows,
            })),
            _ => view.cut(),
        }
    }

    /// The header that such a bridge has.
    pub(super) fn header(&self) -> Header {
        match self.kind {
            BridgeKind::Pci => Header::Bridge,
            BridgeKind::CardBus => Header::CardBus,
        }
    }

    /// Writes the bus numbers and the windows.
    pub(super) fn emit(&self, image: &mut Image) -> Result<(), EmitError> {
        image.put_u8(Self::PRIMARY, self.primary);
        image.put_u8(Self::SECONDARY, self.secondary);
        image.put_u8(Self::SUBORDINATE, self.subordinate);
        match self.header() {
            Header::Function => Ok(()),
            Header::CardBus => match self.windows {
                Fact::Unknown(_) => Ok(()),
                Fact::Known(_) => Err(EmitError::Unwritable {
                    fact: "the windows of a CardBus bridge",
                    value: 0,
                }),
            },
            Header::Bridge => required(&self.windows, "the windows of the bridge")?.emit(image),
        }
    }
}

impl Windows {
    const IO_BASE: u16 = 0x1c;
    const IO_LIMIT: u16 = 0x1d;
    const MEMORY_BASE: u16 = 0x20;
    const MEMORY_LIMIT: u16 = 0x22;
    const PREFETCHABLE_BASE: u16 = 0x24;
    const PREFETCHABLE_LIMIT: u16 = 0x26;
    const PREFETCHABLE_BASE_UPPER: u16 = 0x28;
    const PREFETCHABLE_LIMIT_UPPER: u16 = 0x2c;
    const IO_BASE_UPPER: u16 = 0x30;
    const IO_LIMIT_UPPER: u16 = 0x32;
    /// Low bit of a base register: the upper half is implemented too.
    const WIDE: u16 = 0x1;
    const IO_GRANULE_BYTES: u64 = 1 << 12;
    const MEMORY_GRANULE_BYTES: u64 = 1 << 20;

    /// The windows of a type 1 header. One whose registers all read 0 is open from address 0: that
    /// it is not implemented would show only when it is written to.
    fn parse(view: ConfigView<'_>) -> Option<Self> {
        Some(Self {
            io: Self::io(view)?,
            memory: Self::memory(view)?,
            prefetchable: Self::prefetchable(view)?,
        })
    }

    fn io(view: ConfigView<'_>) -> Option<Option<Span<BusAddr>>> {
        let base = u64::from(view.u8(Self::IO_BASE)?);
        let limit = u64::from(view.u8(Self::IO_LIMIT)?);
        let base_upper = u64::from(view.u16(Self::IO_BASE_UPPER)?);
        let limit_upper = u64::from(view.u16(Self::IO_LIMIT_UPPER)?);
        let (mut first, mut last) = ((base & 0xf0) << 8, (limit & 0xf0) << 8);
        if base & 0xf == u64::from(Self::WIDE) {
            first |= base_upper << 16;
            last |= limit_upper << 16;
        }
        Some(Self::window(first, last, Self::IO_GRANULE_BYTES))
    }

    fn memory(view: ConfigView<'_>) -> Option<Option<Span<BusAddr>>> {
        let base = u64::from(view.u16(Self::MEMORY_BASE)? & 0xfff0) << 16;
        let limit = u64::from(view.u16(Self::MEMORY_LIMIT)? & 0xfff0) << 16;
        Some(Self::window(base, limit, Self::MEMORY_GRANULE_BYTES))
    }

    fn prefetchable(view: ConfigView<'_>) -> Option<Option<Span<BusAddr>>> {
        let base = view.u16(Self::PREFETCHABLE_BASE)?;
        let limit = view.u16(Self::PREFETCHABLE_LIMIT)?;
        let base_upper = u64::from(view.u32(Self::PREFETCHABLE_BASE_UPPER)?);
        let limit_upper = u64::from(view.u32(Self::PREFETCHABLE_LIMIT_UPPER)?);
        let mut first = u64::from(base & 0xfff0) << 16;
        let mut last = u64::from(limit & 0xfff0) << 16;
        if base & 0xf == Self::WIDE {
            first |= base_upper << 32;
            last |= limit_upper << 32;
        }
        Some(Self::window(first, last, Self::MEMORY_GRANULE_BYTES))
    }

    /// From `first` to the end of the granule that starts at `last_granule`; nothing where it is
    /// closed, which registers say with a base above the limit.
    fn window(first: u64, last_granule: u64, granule_bytes: u64) -> Option<Span<BusAddr>> {
        let last = last_granule | (granule_bytes - 1);
        Span::new(BusAddr::from_u64(first), BusAddr::from_u64(last)).ok()
    }

    fn emit(&self, image: &mut Image) -> Result<(), EmitError> {
        let fact = "the I/O window";
        let (base, limit) = Self::registers(self.io, Self::IO_GRANULE_BYTES, u32::MAX.into(), fact)?;
        // Both widths have bits 12 to 15 in bits 4 to 7 of the low register.
        let wide = u8::from(limit > 0xffff);
        image.put_u8(Self::IO_BASE, (base >> 8) as u8 & 0xf0 | wide);
        image.put_u8(Self::IO_LIMIT, (limit >> 8) as u8 & 0xf0 | wide);
        image.put_u16(Self::IO_BASE_UPPER, (base >> 16) as u16);
        image.put_u16(Self::IO_LIMIT_UPPER, (limit >> 16) as u16);

        let granule = Self::MEMORY_GRANULE_BYTES;
        let fact = "the memory window";
        let (base, limit) = Self::registers(self.memory, granule, u32::MAX.into(), fact)?;
        image.put_u16(Self::MEMORY_BASE, (base >> 16) as u16);
        image.put_u16(Self::MEMORY_LIMIT, (limit >> 16) as u16 & 0xfff0);

        let fact = "the prefetchable window";
        let (base, limit) = Self::registers(self.prefetchable, granule, u64::MAX, fact)?;
        let wide = u16::from(limit > u32::MAX.into());
        image.put_u16(Self::PREFETCHABLE_BASE, (base >> 16) as u16 | wide);
        image.put_u16(Self::PREFETCHABLE_LIMIT, (limit >> 16) as u16 & 0xfff0 | wide);
        image.put_u32(Self::PREFETCHABLE_BASE_UPPER, (base >> 32) as u32);
        image.put_u32(Self::PREFETCHABLE_LIMIT_UPPER, (limit >> 32) as u32);
        Ok(())
    }

    /// First and last address; where the window is closed, a base above the limit that fits every
    /// width.
    fn registers(
        window: Option<Span<BusAddr>>,
        granule_bytes: u64,
        most: u64,
        fact: &'static str,
    ) -> Result<(u64, u64), EmitError> {
        let Some(window) = window else {
            return Ok((granule_bytes, 0));
        };
        let (first, last) = (window.first().to_u64(), window.last().to_u64());
        if last > most || !last.wrapping_add(1).is_multiple_of(granule_bytes) {
            return Err(EmitError::Unwritable { fact, value: last });
        }
        if !first.is_multiple_of(granule_bytes) {
            return Err(EmitError::Unwritable { fact, value: first });
        }
        Ok((first, last))
    }
}
