//! The first line of a function: where it sits, its class, its name or numbers.

use super::names;
use super::scan::exact_hex;
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::pci::{ClassCode, Id};

/// What the first line of a function says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) bdf: Bdf,
    pub(super) class: Fact<ClassCode>,
    pub(super) id: Fact<Id>,
    pub(super) revision: Fact<u8>,
}

/// The address at the start of a line, and what follows the space behind it.
pub(super) fn split_bdf(line: &[u8]) -> Option<(Bdf, &[u8])> {
    let (bdf, rest) = Bdf::split_from(line)?;
    Some((bdf, rest.strip_prefix(b" ")?))
}

impl Header {
    /// Reads `ADDRESS CLASS: NAME (rev xx) (prog-if xx [NAME])`, numbers, names or both.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let (bdf, rest) = split_bdf(line)?;
        let text = String::from_utf8_lossy(rest);
        let mut text = text.trim();
        let mut interface = 0;
        // lspci prints both only where they are not zero.
        let mut revision = 0;
        if let Some((before, inside)) = trailing_parenthesis(text, "(prog-if ") {
            interface = hex_prefix(inside, 2).unwrap_or(0) as u8;
            text = before;
        }
        if let Some((before, inside)) = trailing_parenthesis(text, "(rev ") {
            revision = hex_prefix(inside, 2).unwrap_or(0) as u8;
            text = before;
        }
        let (class, name) = split_class(text);
        Some(Self {
            bdf,
            class: class.map(|class| ClassCode::new(u32::from(class) << 8 | u32::from(interface))),
            id: read_id(name),
            revision: if name.is_empty() {
                Fact::NOT_IN_SOURCE
            } else {
                Fact::Known(revision)
            },
        })
    }
}

/// Vendor and device from `8086:4c43`, from `NAME [8086:4c43]` or from names alone.
pub(super) fn read_id(name: &str) -> Fact<Id> {
    let name = name.trim();
    let id = numbers(name).or_else(|| {
        let (_, inside) = name.strip_suffix(']')?.rsplit_once('[')?;
        numbers(inside)
    });
    match id {
        Some(id) => Fact::Known(id),
        None => names::id(name).map_or(Fact::NOT_IN_SOURCE, Fact::Known),
    }
}

/// The class (16 bits) and the text behind the colon that ends it.
fn split_class(text: &str) -> (Fact<u16>, &str) {
    let Some((class, name)) = text
        .split_once(": ")
        .or_else(|| text.strip_suffix(':').map(|class| (class, "")))
    else {
        return (Fact::NOT_IN_SOURCE, "");
    };
    let bracketed = || {
        class
            .strip_suffix(']')?
            .rsplit_once('[')
            .map(|(_, inside)| inside)
    };
    let number = exact_hex(class)
        .or_else(|| exact_hex(bracketed()?))
        .or_else(|| exact_hex(class.strip_prefix("Class ")?))
        .or_else(|| names::class(class));
    (number.map_or(Fact::NOT_IN_SOURCE, Fact::Known), name)
}

/// `vvvv:dddd` and nothing else.
fn numbers(text: &str) -> Option<Id> {
    let (vendor, device) = text.split_once(':')?;
    Some(Id {
        vendor: exact_hex(vendor)?,
        device: exact_hex(device)?,
    })
}

/// The first `digits` characters as a hexadecimal number.
fn hex_prefix(text: &str, digits: usize) -> Option<u32> {
    u32::from_str_radix(text.get(..digits)?, 16).ok()
}

/// What stands before the last `(...)` that begins with `opening`, and what stands inside behind it.
fn trailing_parenthesis<'a>(text: &'a str, opening: &str) -> Option<(&'a str, &'a str)> {
    let (before, inside) = text.rsplit_once(opening)?;
    Some((before.trim_end(), inside.strip_suffix(')')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(class: u32, vendor: u16, device: u16, revision: u8) -> (Fact<ClassCode>, Fact<Id>, Fact<u8>) {
        (
            Fact::Known(ClassCode::new(class)),
            Fact::Known(Id { vendor, device }),
            Fact::Known(revision),
        )
    }

    #[test]
    fn numbers_names_and_both_are_read() {
        for (line, expected) in [
            ("1000:00:00.0 0600: 10de:22b0", known(0x060000, 0x10de, 0x22b0, 0)),
            (
                "00:00.0 0600: 10de:22b0 (rev 01)",
                known(0x060000, 0x10de, 0x22b0, 1),
            ),
            (
                "00:00.0 Host bridge [0600]: Intel Corporation Device [8086:4c43] (rev 01)",
                known(0x060000, 0x8086, 0x4c43, 1),
            ),
            (
                "0000:01:00.0 Non-Volatile memory controller [0108]: Samsung Electronics Co Ltd NVMe SSD \
                 Controller [144d:a80a] (rev 02) (prog-if 02 [NVM Express])",
                known(0x010802, 0x144d, 0xa80a, 2),
            ),
            (
                "01:00.0 Non-Volatile memory controller: Samsung Electronics Co Ltd Device fff0 (prog-if 02 [NVM \
                 Express])",
                known(0x010802, 0x144d, 0xfff0, 0),
            ),
            (
                "01:00.0 VGA compatible controller: Device fffe:0001 (rev a1)",
                known(0x030000, 0xfffe, 1, 0xa1),
            ),
            (
                "01:00.0 Unassigned class [ff00]: Device [fffe:0001]",
                known(0xff0000, 0xfffe, 1, 0),
            ),
        ] {
            let header = Header::parse(line.as_bytes()).unwrap();
            assert_eq!((header.class, header.id, header.revision), expected, "{line}");
        }
    }

    #[test]
    fn a_name_that_nobody_knows_stays_unknown() {
        let header = Header::parse(b"01:00.0 Frobnicator: Nobody \xff Knows [Ltd]").unwrap();
        assert!(!header.class.is_known());
        assert!(!header.id.is_known());
        assert_eq!(Header::parse(b"01:00.0: x"), None);
        assert_eq!(Header::parse(b"hello"), None);
        assert!(Header::parse(b"01:00.0 ").is_some());
    }
}
