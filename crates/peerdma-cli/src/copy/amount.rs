//! Amounts and places as words of the command line: sizes, ranges of blocks.

use crate::error::Problem;
use std::fmt::Display;
use std::ops::Range;

/// Reads a size in bytes: decimal digits, with a unit or none (`4096`, `512KiB`, `64M`, `1GiB`); K, M, G and T alone are binary, as for
/// dd.
///
/// # Errors
/// A [`Problem`] that names the option.
pub(crate) fn bytes(option: &str, text: &str) -> Result<u64, Problem> {
    let bad = |why: &dyn Display| {
        Problem::new(
            format_args!("{option} {text} is no amount of bytes"),
            why,
            "give digits and perhaps a unit: 4096, 512KiB, 64MiB, 1GiB",
        )
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|error| bad(&error))?;
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1_u64 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(bad(&format_args!("{unit} is no unit"))),
    };
    number
        .checked_mul(unit)
        .ok_or_else(|| bad(&"it is more than 2^64 bytes"))
}

/// Blocks from one on, perhaps to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocks {
    pub(crate) first: u64,
    /// The block after the last; nothing for all that follow.
    pub(crate) end: Option<u64>,
}

impl Blocks {
    /// All blocks.
    pub(crate) const ALL: Self = Self { first: 0, end: None };

    /// Reads what was given for an option: `FIRST..END`, `FIRST..=LAST`, `FIRST+COUNT`, `FIRST..`, `..END`.
    ///
    /// # Errors
    /// A [`Problem`] where it is none, or empty.
    pub(crate) fn read(option: &str, text: &str) -> Result<Self, Problem> {
        let bad = |why: &dyn Display| {
            Problem::new(
                format_args!("{option} {text} is no range of blocks"),
                why,
                "give FIRST..END (END excluded), FIRST..=LAST, FIRST+COUNT or FIRST..",
            )
        };
        let number = |text: &str| text.trim().parse::<u64>().map_err(|error| bad(&error));
        let past = || bad(&"it ends past the last block that a number can name");
        let (first, end) = if let Some((first, count)) = text.split_once('+') {
            let (first, count) = (number(first)?, number(count)?);
            (first, Some(first.checked_add(count).ok_or_else(past)?))
        } else if let Some((first, last)) = text.split_once("..=") {
            (
                number(first)?,
                Some(number(last)?.checked_add(1).ok_or_else(past)?),
            )
        } else if let Some((first, end)) = text.split_once("..") {
            let first = if first.trim().is_empty() {
                0
            } else {
                number(first)?
            };
            let end = (!end.trim().is_empty()).then(|| number(end)).transpose()?;
            (first, end)
        } else {
            let why = "it has neither .. nor +, so nobody knows where it ends";
            return Err(bad(&why));
        };
        match end {
            Some(end) if end <= first => Err(bad(&"it is empty")),
            _ => Ok(Self { first, end }),
        }
    }

    /// The blocks of a device that has so many; nothing where it does not have them all, or none.
    pub(crate) fn of(self, blocks: u64) -> Option<Range<u64>> {
        let end = self.end.unwrap_or(blocks);
        (self.first < end && end <= blocks).then_some(self.first..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, expected) in [
            ("0", 0),
            ("4096", 4096),
            ("4KiB", 4096),
            ("4k", 4096),
            ("1 GiB", 1 << 30),
            ("2MB", 2_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(bytes("--bytes", text).unwrap(), expected, "{text}");
        }
        for text in [
            "",
            "KiB",
            "-1",
            "1.5G",
            "4X",
            "18446744073709551616",
            "99999999999T",
            "0x10",
        ] {
            assert!(bytes("--bytes", text).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_of_blocks_are_read_in_their_four_forms() {
        let blocks = |first, end| Blocks { first, end };
        for (text, expected) in [
            ("0..8", blocks(0, Some(8))),
            ("4..=7", blocks(4, Some(8))),
            ("4+4", blocks(4, Some(8))),
            ("4..", blocks(4, None)),
            ("..8", blocks(0, Some(8))),
        ] {
            assert_eq!(Blocks::read("--lba", text).unwrap(), expected, "{text}");
        }
        for text in [
            "",
            "8",
            "8..8",
            "8..4",
            "4+0",
            "a..b",
            "1..=18446744073709551615",
            "18446744073709551615+1",
        ] {
            assert!(Blocks::read("--lba", text).is_err(), "{text}");
        }
        assert_eq!(blocks(4, None).of(8), Some(4..8));
        assert_eq!(blocks(4, Some(9)).of(8), None);
        assert_eq!(blocks(8, None).of(8), None);
    }
}
