//! An inclusive range of addresses.

use super::Address;
use core::fmt;

/// The addresses from `first` to `last`, both included: never empty, and able to end at the last
/// byte of the space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Span<A> {
    first: A,
    last: A,
}

/// The range would be empty or leave its space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanError {
    /// First address, as a number.
    pub first: u64,
    /// Last address, as a number.
    pub last: u64,
}

impl<A: Address> Span<A> {
    /// The range from `first` to `last`, both included.
    ///
    /// # Errors
    /// [`SpanError`] where `last` lies before `first`.
    pub fn new(first: A, last: A) -> Result<Self, SpanError> {
        if last < first {
            return Err(SpanError {
                first: first.to_u64(),
                last: last.to_u64(),
            });
        }
        Ok(Self { first, last })
    }

    /// First address.
    pub fn first(self) -> A {
        self.first
    }

    /// Last address.
    pub fn last(self) -> A {
        self.last
    }

    /// How many bytes it holds, less one: the whole space has `u64::MAX`.
    pub fn len_minus_one(self) -> u64 {
        self.last.to_u64() - self.first.to_u64()
    }

    /// How many bytes it holds; nothing for the whole 64-bit space, which has 2^64.
    pub fn len_bytes(self) -> Option<u64> {
        self.len_minus_one().checked_add(1)
    }

    /// Does `address` lie in it?
    pub fn contains(self, address: A) -> bool {
        self.first <= address && address <= self.last
    }

    /// Do the two share a byte?
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

#[cfg(feature = "serde")]
impl<'de, A: Address + serde::Deserialize<'de>> serde::Deserialize<'de> for Span<A> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Ends<A> {
            first: A,
            last: A,
        }
        let ends = Ends::deserialize(deserializer)?;
        Self::new(ends.first, ends.last).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for SpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the range ends at {:#x}, before its start {:#x}",
            self.last, self.first
        )
    }
}

impl core::error::Error for SpanError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::PhysAddr;

    #[test]
    fn the_last_byte_of_the_space_is_reachable() {
        let top = PhysAddr::from_u64(u64::MAX);
        let span = Span::new(top, top).unwrap();
        assert!(span.contains(top));
        assert_eq!(span.len_bytes(), Some(1));
        let all = Span::new(PhysAddr::from_u64(0), top).unwrap();
        assert_eq!(all.len_bytes(), None);
        assert!(all.overlaps(span));
    }

    #[test]
    fn a_range_that_ends_before_it_starts_is_refused() {
        let error = Span::new(PhysAddr::from_u64(2), PhysAddr::from_u64(1)).unwrap_err();
        assert_eq!(error, SpanError { first: 2, last: 1 });
    }
}
