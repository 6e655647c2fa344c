//! The link of a PCI Express port (PCIe Base 7.5.3.6 to 7.5.3.8).

use super::EmitError;
use super::emit::at_most;
use core::fmt;

/// What one end of a link can do, and what the link does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Link {
    /// The best this end can do (Link Capabilities).
    pub max: LinkState,
    /// What was trained (Link Status); a width of 0 is a link that is down.
    pub now: LinkState,
}

/// A rate and a width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LinkState {
    /// Rate of each lane.
    pub rate: LinkRate,
    /// Lanes.
    pub width: u8,
}

impl LinkState {
    /// Rate and width lie in the same ten bits of Link Capabilities and Link Status.
    pub(super) fn from_register(register: u16) -> Self {
        Self {
            rate: LinkRate((register & 0xf) as u8),
            width: (register >> 4 & 0x3f) as u8,
        }
    }

    /// The ten bits.
    pub(super) fn to_register(self) -> Result<u16, EmitError> {
        let rate = at_most("the rate of the link", self.rate.0.into(), 0xf)?;
        let width = at_most("the width of the link", self.width.into(), 0x3f)?;
        Ok((rate | width << 4) as u16)
    }

    /// Bits a second in one direction after line encoding, in units of a million; packet overhead is
    /// not taken off.
    pub const fn megabits_per_second(self) -> u64 {
        self.rate.encoded_megabits_per_lane() * self.width as u64
    }

    /// Bytes a second in one direction after line encoding; packet overhead is not taken off.
    pub const fn bytes_per_second(self) -> u64 {
        let (data, all) = self.rate.encoding();
        let bits = self.rate.tenths_of_gigatransfers() as u64 * 100_000_000 * self.width as u64;
        bits * data / all / 8
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x{}", self.rate, self.width)
    }
}

/// A link speed as the registers code it: 1 is 2.5 GT/s, 6 is 64 GT/s; unknown codes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct LinkRate(pub u8);

impl LinkRate {
    /// Code and hundreds of million transfers a second.
    const TABLE: [(u8, u32); 6] = [(1, 25), (2, 50), (3, 80), (4, 160), (5, 320), (6, 640)];

    /// Tenths of a billion transfers a second and lane (2.5 GT/s is 25); 0 for an unknown code.
    pub const fn tenths_of_gigatransfers(self) -> u32 {
        let mut index = 0;
        while index < Self::TABLE.len() {
            if Self::TABLE[index].0 == self.0 {
                return Self::TABLE[index].1;
            }
            index += 1;
        }
        0
    }

    /// The rate with this many tenths of a billion transfers a second.
    pub fn from_tenths_of_gigatransfers(tenths: u32) -> Option<Self> {
        Self::TABLE
            .iter()
            .find(|(_, known)| *known == tenths)
            .map(|(code, _)| Self(*code))
    }

    /// Reads `16 GT/s`, `16.0 GT/s PCIe`, `2.5GT/s`, as sysfs and `lspci` print them.
    pub fn from_text(text: &str) -> Option<Self> {
        let number = text.trim_start();
        let end = number
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(number.len());
        let (number, unit) = number.split_at(end);
        if !unit.trim_start().starts_with("GT/s") {
            return None;
        }
        let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
        let whole: u32 = whole.parse().ok()?;
        let tenths: u32 = tenths.parse().ok()?;
        if tenths > 9 {
            return None;
        }
        Self::from_tenths_of_gigatransfers(whole.checked_mul(10)?.checked_add(tenths)?)
    }

    /// Million bits a second and lane after line encoding.
    const fn encoded_megabits_per_lane(self) -> u64 {
        let (data, all) = self.encoding();
        self.tenths_of_gigatransfers() as u64 * 100 * data / all
    }

    /// Of so many bits on the wire (the second number) so many are data: 8b/10b up to 5 GT/s, 128b/130b
    /// up to 32, PAM4 with 236 of 256 FLIT bytes for packets at 64 (PCIe Base 4.2.1 to 4.2.3).
    const fn encoding(self) -> (u64, u64) {
        match self.0 {
            1 | 2 => (8, 10),
            6 => (236, 256),
            _ => (128, 130),
        }
    }
}

impl fmt::Display for LinkRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tenths_of_gigatransfers() {
            0 => write!(f, "rate code {}", self.0),
            25 => f.write_str("2.5 GT/s"),
            tenths => write!(f, "{} GT/s", tenths / 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tools_spelling_of_a_rate_is_read() {
        for (text, code) in [
            ("2.5 GT/s PCIe", 1),
            ("5 GT/s", 2),
            ("5.0 GT/s PCIe", 2),
            ("8GT/s", 3),
            ("16.0 GT/s PCIe", 4),
            ("32GT/s (downgraded)", 5),
            ("64.0 GT/s PCIe", 6),
        ] {
            assert_eq!(LinkRate::from_text(text), Some(LinkRate(code)), "{text}");
        }
        for text in ["Unknown", "", "7 GT/s", "16 Gb/s", "99999999999 GT/s"] {
            assert_eq!(LinkRate::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn encoding_overhead_is_taken_off() {
        let state = |code, width| LinkState {
            rate: LinkRate(code),
            width,
        };
        assert_eq!(state(1, 1).megabits_per_second(), 2_000);
        assert_eq!(state(3, 16).megabits_per_second(), 7_876 * 16);
        assert_eq!(state(0, 16).megabits_per_second(), 0);
        assert_eq!(state(1, 1).bytes_per_second(), 250_000_000);
        assert_eq!(state(5, 16).bytes_per_second(), 63_015_384_615);
        assert_eq!(state(6, 16).bytes_per_second(), 118_000_000_000);
        assert_eq!(state(15, 255).bytes_per_second(), 0);
    }
}
