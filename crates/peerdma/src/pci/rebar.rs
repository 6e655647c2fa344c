//! Resizable BARs (PCIe Base 7.8.6).

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
}
