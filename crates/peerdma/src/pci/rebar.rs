//! Resizable BARs (PCIe Base 7.8.6).

use super::emit::{Image, at_most};
use super::{ConfigDefect, ConfigView, EmitError};
use crate::fact::{Fact, Unread};
use alloc::vec::Vec;

/// What the Resizable BAR capability says of one BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rebar {
    /// Number of the BAR, 0 to 5.
    pub bar: u8,
    /// Bit `n` is set where the BAR can hold 2^(20+n) bytes: bit 0 is 1 MiB.
    pub possible: u64,
    /// The size it has now, as such an exponent: 0 is 1 MiB.
    pub current: u8,
}

impl Rebar {
    /// The size it has now, in bytes; nothing beyond 64 bits.
    pub fn current_bytes(self) -> Option<u64> {
        1u64.checked_shl(20 + u32::from(self.current))
    }

    /// The sizes it can have, in bytes, ascending.
    pub fn possible_bytes(self) -> impl Iterator<Item = u64> {
        (0..44u32)
            .filter(move |bit| self.possible >> bit & 1 == 1)
            .map(|bit| 1u64 << (20 + bit))
    }

    /// Extended capability number.
    pub(super) const CAPABILITY: u16 = 0x0015;
    /// One entry: a capability register and a control register.
    const ENTRY_BYTES: u16 = 8;
    const CAPABLE: u16 = 4;
    const CONTROL: u16 = 8;
    const MOST_BARS: u16 = 6;

    /// The entries of the capability at `place`.
    pub(super) fn parse(
        view: ConfigView<'_>,
        place: Fact<Option<u16>>,
        defects: &mut Vec<ConfigDefect>,
    ) -> Fact<Vec<Self>> {
        let offset = match place {
            Fact::Known(Some(offset)) => offset,
            Fact::Known(None) => return Fact::Known(Vec::new()),
            Fact::Unknown(why) => return Fact::Unknown(why),
        };
        let Some(first) = view.u32(offset + Self::CONTROL) else {
            return view.cut();
        };
        let count = (first >> 5 & 0x7) as u16;
        let mut entries = Vec::with_capacity(usize::from(count));
        for number in 0..count {
            let entry = offset + number * Self::ENTRY_BYTES;
            let registers = (view.u32(entry + Self::CAPABLE), view.u32(entry + Self::CONTROL));
            let (Some(capable), Some(control)) = registers else {
                return view.cut();
            };
            let bar = (control & 0x7) as u8;
            if count > Self::MOST_BARS || u16::from(bar) >= Self::MOST_BARS {
                defects.push(ConfigDefect::ReservedValue {
                    offset: entry + Self::CONTROL,
                });
                return Fact::Unknown(Unread::Contradictory);
            }
            entries.push(Self {
                bar,
                possible: u64::from(capable >> 4) | u64::from(control >> 16) << 28,
                current: (control >> 8 & 0x3f) as u8,
            });
        }
        Fact::Known(entries)
    }

    /// Appends the capability, if there are any entries.
    pub(super) fn emit(entries: &[Self], image: &mut Image) -> Result<(), EmitError> {
        const FACT: &str = "a resizable BAR";
        let most = u64::from(Self::MOST_BARS);
        let count = at_most(FACT, entries.len() as u64, most)? as u16;
        if count == 0 {
            return Ok(());
        }
        let bytes = Self::CAPABLE + count * Self::ENTRY_BYTES;
        let mut entry = image.append_extended(Self::CAPABILITY, bytes);
        for rebar in entries {
            let possible = at_most(FACT, rebar.possible, (1 << 44) - 1)?;
            let control = at_most(FACT, rebar.bar.into(), most - 1)?
                | u64::from(count) << 5
                | at_most(FACT, rebar.current.into(), 0x3f)? << 8
                | possible >> 28 << 16;
            image.put_u32(entry + Self::CAPABLE, (possible as u32) << 4);
            image.put_u32(entry + Self::CONTROL, control as u32);
            entry += Self::ENTRY_BYTES;
        }
        Ok(())
    }
}
