//! The egress control vector of Access Control Services (PCIe Base 7.7.11.4).

use super::ConfigView;
use super::emit::Image;

/// One bit for each port (in a function of a device with several: for each function) that peers may be sent to;
/// a set bit forbids the direct way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct EgressVector {
    /// How many bits it has, 1 to 256.
    size_bits: u16,
    /// The bits, lowest first; those beyond the size are clear.
    words: [u32; Self::MOST_WORDS],
}

impl EgressVector {
    /// The longest vector.
    pub const MOST_BITS: u16 = 256;
    const MOST_WORDS: usize = 8;

    /// A vector of `size_bits` clear bits; nothing unless that is 1 to 256.
    pub const fn new(size_bits: u16) -> Option<Self> {
        if size_bits == 0 || size_bits > Self::MOST_BITS {
            return None;
        }
        Some(Self {
            size_bits,
            words: [0; Self::MOST_WORDS],
        })
    }

    /// How many bits it has.
    pub const fn size_bits(self) -> u16 {
        self.size_bits
    }

    /// Is the direct way to port or function `number` forbidden? Nothing for a number beyond the vector.
    pub fn forbids(self, number: u8) -> Option<bool> {
        let word = self.words[usize::from(number >> 5)];
        (u16::from(number) < self.size_bits).then_some(word >> (number & 31) & 1 != 0)
    }

    /// The same vector with the direct way to `number` forbidden; unchanged for a number beyond it.
    #[must_use]
    pub fn forbidding(mut self, number: u8) -> Self {
        if u16::from(number) < self.size_bits {
            self.words[usize::from(number >> 5)] |= 1 << (number & 31);
        }
        self
    }

    /// The vector at `offset`, whose size the capability register codes (0 for 256 bits).
    pub(super) fn parse(view: ConfigView<'_>, offset: u16, size_code: u8) -> Option<Self> {
        let size_bits = match size_code {
            0 => Self::MOST_BITS,
            bits => bits.into(),
        };
        let mut vector = Self::new(size_bits)?;
        for word in 0..size_bits.div_ceil(32) {
            let bits = view.u32(offset + word * 4)?;
            let used = (size_bits - word * 32).min(32);
            vector.words[usize::from(word)] = bits & (u32::MAX >> (32 - used));
        }
        Some(vector)
    }

    /// How many bytes it takes in configuration space.
    pub(super) const fn len_bytes(self) -> u16 {
        self.size_bits.div_ceil(32) * 4
    }

    /// Its size as the capability register codes it.
    pub(super) const fn size_code(self) -> u8 {
        self.size_bits as u8
    }

    /// Writes it at `offset`.
    pub(super) fn emit(self, image: &mut Image, offset: u16) {
        let words = self.words.iter().take(usize::from(self.size_bits.div_ceil(32)));
        for (at, &word) in (offset..).step_by(4).zip(words) {
            image.put_u32(at, word);
        }
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for EgressVector {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Parts {
            size_bits: u16,
            words: [u32; EgressVector::MOST_WORDS],
        }
        let parts = Parts::deserialize(deserializer)?;
        let vector = Self::new(parts.size_bits).ok_or_else(|| {
            serde::de::Error::custom("size_bits: an egress control vector has 1 to 256 bits")
        })?;
        let bits = (0..=u8::MAX).filter(|&bit| parts.words[usize::from(bit >> 5)] >> (bit & 31) & 1 != 0);
        Ok(bits.fold(vector, Self::forbidding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_the_vector_have_no_bit() {
        let vector = EgressVector::new(40).unwrap().forbidding(39).forbidding(40);
        assert_eq!(vector.forbids(39), Some(true));
        assert_eq!(vector.forbids(38), Some(false));
        assert_eq!(vector.forbids(40), None);
        assert_eq!(EgressVector::new(0), None);
        assert_eq!(EgressVector::new(257), None);
    }
}
