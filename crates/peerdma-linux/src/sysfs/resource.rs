//! The file `resource`: where the kernel has placed a function's BARs.
//!
//! One line each: first address, last address, flags (include/linux/ioport.h). Lines 0 to 5 are the
//! BARs; the expansion ROM, virtual functions' BARs and bridge windows follow.

use super::number;
use peerdma::addr::{Address, PhysAddr, Span};
use peerdma::fact::{Fact, Unread};
use peerdma::pci::BarKind;
use peerdma::snapshot::Resource;

const IORESOURCE_IO: u64 = 0x100;
const IORESOURCE_MEM: u64 = 0x200;
const IORESOURCE_PREFETCH: u64 = 0x2000;
const IORESOURCE_MEM_64: u64 = 0x10_0000;
const IORESOURCE_UNSET: u64 = 0x2000_0000;
/// The low bits are the BAR register's own: 64 bits wide. Kernels before `IORESOURCE_MEM_64` have only it.
const REGISTER_MEM_64: u64 = 0x4;

/// The line of a BAR that is not implemented: most are such.
const NONE: &[u8] = b"0x0000000000000000 0x0000000000000000 0x0000000000000000";

/// The BARs that the file tells; unknown where it is not of this form.
pub(crate) fn parse(text: &[u8]) -> Fact<Vec<Resource>> {
    let mut resources = Vec::new();
    let mut lines = number::trimmed(text).split(|byte| *byte == b'\n');
    for index in 0..6 {
        let line = lines.next();
        if line == Some(NONE) {
            continue;
        }
        let Some(line) = line.and_then(numbers) else {
            return Fact::Unknown(Unread::Contradictory);
        };
        resources.extend(resource(index, line));
    }
    Fact::Known(resources)
}

/// First address, last address and flags of a line.
fn numbers(line: &[u8]) -> Option<[u64; 3]> {
    let mut words = line
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty())
        .map(number::hexadecimal);
    let line = [words.next()??, words.next()??, words.next()??];
    words.next().is_none().then_some(line)
}

/// One BAR; nothing where none is implemented.
fn resource(index: u8, [first, last, flags]: [u64; 3]) -> Option<Resource> {
    let kind = if flags & IORESOURCE_MEM != 0 {
        match flags & (IORESOURCE_MEM_64 | REGISTER_MEM_64) {
            0 => BarKind::Memory32,
            _ => BarKind::Memory64,
        }
    } else if flags & IORESOURCE_IO != 0 {
        BarKind::Io
    } else {
        return None;
    };
    let (span, size_bytes) = match Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)) {
        // Nothing was ever sized here.
        Ok(_) if first == 0 && last == 0 => return None,
        Ok(span) => {
            let size = span
                .len_bytes()
                .map_or(Fact::Unknown(Unread::Contradictory), Fact::Known);
            // A released or never assigned BAR keeps its size at address 0.
            match flags & IORESOURCE_UNSET != 0 || first == 0 {
                true => (Fact::NOT_IN_SOURCE, size),
                false => (Fact::Known(span), size),
            }
        }
        Err(_) => (
            Fact::Unknown(Unread::Contradictory),
            Fact::Unknown(Unread::Contradictory),
        ),
    };
    Some(Resource {
        index,
        kind,
        prefetchable: flags & IORESOURCE_PREFETCH != 0,
        span,
        size_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn six(line: &str) -> Vec<u8> {
        let empty = "0x0000000000000000 0x0000000000000000 0x0000000000000000\n";
        format!("{line}\n{}", empty.repeat(6)).into_bytes()
    }

    fn first(line: &str) -> Option<Resource> {
        match parse(&six(line)) {
            Fact::Known(list) => list.first().copied(),
            Fact::Unknown(_) => panic!("{line}"),
        }
    }

    #[test]
    fn kind_place_and_size_of_a_bar_are_read_from_its_line() {
        let bar = first("0x00000000fe000000 0x00000000fe003fff 0x0000000000140204").unwrap();
        assert_eq!((bar.kind, bar.prefetchable), (BarKind::Memory64, false));
        assert_eq!(bar.size_bytes, Fact::Known(0x4000));
        let bar = first("0x0000380000000000 0x00003807ffffffff 0x000000000014220c").unwrap();
        assert!(bar.prefetchable);
        assert_eq!(bar.size_bytes, Fact::Known(32 << 30));
        let bar = first("0x000000000000e000 0x000000000000e01f 0x0000000000040101").unwrap();
        assert_eq!(bar.kind, BarKind::Io);
        assert_eq!(
            first("0x0000000000000000 0x0000000000000000 0x0000000000000000"),
            None
        );
    }

    #[test]
    fn either_flag_of_a_64_bit_bar_is_enough() {
        for (flags, kind) in [
            // The kernel's own flag, the register's as older kernels have it, and both.
            ("0x0000000000140200", BarKind::Memory64),
            ("0x0000000000040204", BarKind::Memory64),
            ("0x0000000000140204", BarKind::Memory64),
            ("0x0000000000040200", BarKind::Memory32),
            // In a register of ports the bit is part of the address.
            ("0x0000000000040104", BarKind::Io),
        ] {
            let line = format!("0x00000000fe000000 0x00000000fe003fff {flags}");
            assert_eq!(first(&line).unwrap().kind, kind, "{flags}");
        }
    }

    #[test]
    fn a_bar_without_an_address_keeps_its_size() {
        for line in [
            "0x0000000000000000 0x0000000000003fff 0x0000000020140204",
            "0x0000000000000000 0x0000000000003fff 0x0000000000140204",
        ] {
            let bar = first(line).unwrap();
            assert_eq!(
                (bar.span, bar.size_bytes),
                (Fact::NOT_IN_SOURCE, Fact::Known(0x4000))
            );
        }
    }

    #[test]
    fn impossible_placements_are_unknown_and_never_guessed() {
        let bar = first("0x0000000000004000 0x0000000000003fff 0x0000000000040200").unwrap();
        assert_eq!(bar.size_bytes, Fact::Unknown(Unread::Contradictory));
        let bar = first("0x0000000000000000 0xffffffffffffffff 0x0000000000140204").unwrap();
        assert_eq!(bar.size_bytes, Fact::Unknown(Unread::Contradictory));
        for text in [
            "",
            "\n\n\n\n\n\n",
            "0x0 0x0\n",
            "0 0 0\n0 0 0\n0 0 0\n0 0 0\n0 0 0\n0 0 0\n",
        ] {
            assert_eq!(
                parse(text.as_bytes()),
                Fact::Unknown(Unread::Contradictory),
                "{text}"
            );
        }
    }
}
