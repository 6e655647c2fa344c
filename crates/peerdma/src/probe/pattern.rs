//! Bytes that tell where they belong, and bytes that are easily mistaken for nothing.

use core::fmt;

/// What is moved through a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Every dword is a number that follows from the seed and its offset: what arrives elsewhere, or never, shows.
    Addressed,
    /// One bit a dword, a place further in each.
    Walking,
    /// All ones: what the fabric makes up for a read that nobody answers.
    Ones,
    /// All zeros: what fresh memory holds.
    Zeros,
}

impl Pattern {
    /// All of them, the most telling first.
    pub const ALL: [Self; 4] = [Self::Addressed, Self::Walking, Self::Ones, Self::Zeros];

    /// Its name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Addressed => "addressed",
            Self::Walking => "walking",
            Self::Ones => "ones",
            Self::Zeros => "zeros",
        }
    }

    /// The bytes from an offset on.
    pub fn fill(self, seed: u64, offset_bytes: u64, into: &mut [u8]) {
        match self {
            Self::Ones => into.fill(0xff),
            Self::Zeros => into.fill(0),
            Self::Addressed | Self::Walking => {
                let mut at = offset_bytes;
                let mut rest = into;
                while !rest.is_empty() {
                    let word = self.dword(seed, at / 4).to_le_bytes();
                    let skip = (at % 4) as usize;
                    let count = (4 - skip).min(rest.len());
                    let (now, later) = rest.split_at_mut(count);
                    for (byte, of_word) in now.iter_mut().zip(word.iter().skip(skip)) {
                        *byte = *of_word;
                    }
                    at += count as u64;
                    rest = later;
                }
            }
        }
    }

    fn dword(self, seed: u64, index: u64) -> u32 {
        match self {
            Self::Walking => 1 << (index.wrapping_add(seed) % 32),
            Self::Ones => u32::MAX,
            Self::Zeros => 0,
            Self::Addressed => {
                let number = seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let number = (number ^ (number >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
                (number ^ (number >> 29)) as u32
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    proptest! {
        #[test]
        fn a_part_of_a_pattern_is_what_the_whole_holds_there(
            seed: u64, start in 0_u64..1 << 40, skip in 0_usize..64, len in 0_usize..64,
        ) {
            for pattern in Pattern::ALL {
                let mut whole = vec![0; skip + len];
                let mut part = vec![0; len];
                pattern.fill(seed, start, &mut whole);
                pattern.fill(seed, start + skip as u64, &mut part);
                prop_assert_eq!(&whole[skip..], &part[..]);
            }
        }
    }
}
