//! The address of a PCI function.

use core::fmt;
use core::str::FromStr;

/// Domain, bus, device and function: `dddd:bb:dd.f`.
///
/// Domains have up to 32 bits (Linux numbers Intel VMD domains from `0x10000`). The order is the
/// order in which Linux and `lspci` list functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bdf {
    domain: u32,
    bus: u8,
    devfn: u8,
}

impl Bdf {
    /// The function at `device` (0 to 31) and `function` (0 to 7), or nothing if one is too large.
    pub const fn new(domain: u32, bus: u8, device: u8, function: u8) -> Option<Self> {
        if device > 31 || function > 7 {
            return None;
        }
        Some(Self {
            domain,
            bus,
            devfn: device << 3 | function,
        })
    }

    /// The function at `devfn`, device and function packed as on the wire.
    pub const fn from_devfn(domain: u32, bus: u8, devfn: u8) -> Self {
        Self { domain, bus, devfn }
    }

    /// PCI domain (segment).
    pub const fn domain(self) -> u32 {
        self.domain
    }

    /// Bus number.
    pub const fn bus(self) -> u8 {
        self.bus
    }

    /// Device number, 0 to 31.
    pub const fn device(self) -> u8 {
        self.devfn >> 3
    }

    /// Function number, 0 to 7.
    pub const fn function(self) -> u8 {
        self.devfn & 7
    }

    /// Device and function packed into one byte.
    pub const fn devfn(self) -> u8 {
        self.devfn
    }

    /// Reads `[domain:]bus:device.function` at the start of `text`; returns the rest too.
    ///
    /// This is the one parser: [`FromStr`] asks for an empty rest, readers of listings go on.
    /// Digits are hexadecimal, in either case. A missing domain is 0.
    pub fn split_from(text: &[u8]) -> Option<(Self, &[u8])> {
        let (first, rest) = hex(text, 8)?;
        let rest = rest.strip_prefix(b":")?;
        let (second, rest) = hex(rest, 2)?;
        let (domain, bus, device, rest) = match rest.strip_prefix(b":") {
            Some(rest) => {
                let (third, rest) = hex(rest, 2)?;
                (first, second, third, rest)
            }
            None => (0, first, second, rest),
        };
        let rest = rest.strip_prefix(b".")?;
        let (function, rest) = hex(rest, 1)?;
        let bus = u8::try_from(bus).ok()?;
        let bdf = Self::new(domain, bus, device as u8, function as u8)?;
        Some((bdf, rest))
    }
}

/// Up to `most` hexadecimal digits (at least one) at the start of `text`, and the rest.
fn hex(text: &[u8], most: usize) -> Option<(u32, &[u8])> {
    let digits = text
        .iter()
        .take(most)
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    if digits == 0 {
        return None;
    }
    let value = text[..digits].iter().fold(0u32, |value, &byte| {
        value << 4 | (byte as char).to_digit(16).unwrap_or(0)
    });
    Some((value, &text[digits..]))
}

/// The text is not a PCI function's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseBdfError;

impl fmt::Display for ParseBdfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected [domain:]bus:device.function in hexadecimal, for example 3b:00.0 or 0000:3b:00.0 \
             (device up to 1f, function up to 7)",
        )
    }
}

impl core::error::Error for ParseBdfError {}

impl FromStr for Bdf {
    type Err = ParseBdfError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Self::split_from(text.as_bytes()) {
            Some((bdf, [])) => Ok(bdf),
            _ => Err(ParseBdfError),
        }
    }
}

impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04x}:{:02x}:{:02x}.{:x}",
            self.domain,
            self.bus,
            self.device(),
            self.function()
        )
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Bdf {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Bdf {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn printing_then_parsing_gives_the_same_address(domain: u32, bus: u8, devfn: u8) {
            let bdf = Bdf::from_devfn(domain, bus, devfn);
            prop_assert_eq!(bdf.to_string().parse::<Bdf>(), Ok(bdf));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,24}") {
            let _ = text.parse::<Bdf>();
        }
    }

    #[test]
    fn the_usual_forms_are_read() {
        let expected = Bdf::new(0, 0x3b, 0, 1).unwrap();
        for text in ["3b:00.1", "0000:3b:00.1", "3B:0.1", "0:3b:00.1"] {
            assert_eq!(text.parse::<Bdf>(), Ok(expected), "{text}");
        }
        let vmd = Bdf::new(0x10000, 0, 4, 0).unwrap();
        assert_eq!("10000:00:04.0".parse::<Bdf>(), Ok(vmd));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "nvme0",
            "3b:00",
            "3b:20.0",
            "3b:00.8",
            "1ff:00.0",
            "3b:00.0 ",
            "0000:3b:00.0:1",
        ] {
            assert_eq!(text.parse::<Bdf>(), Err(ParseBdfError), "{text}");
        }
    }
}
