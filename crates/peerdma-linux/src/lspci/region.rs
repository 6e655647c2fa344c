//! Where a function's BARs and a bridge's windows lie, as a text tells it.

use super::scan::{decimal, hexadecimal, size_bytes};
use peerdma::addr::{Address, BusAddr, PhysAddr, Span};
use peerdma::fact::Fact;
use peerdma::pci::{BarKind, Windows};
use peerdma::snapshot::Resource;

/// Reads what follows `Region ` in `Region 0: Memory at 387fe0000000 (64-bit, prefetchable)
/// [size=256M]`.
///
/// The addresses are those of the kernel's resources, unless `lspci` was told `-b` or read a dump; a dump
/// has no sizes, hence no spans.
pub(super) fn region(text: &str) -> Option<Resource> {
    let (index, mut text) = text.split_once(": ")?;
    let index = u8::try_from(decimal(index)?).ok().filter(|index| *index < 6)?;
    while let Some((_, rest)) = text.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        text = rest.trim_start();
    }
    let (is_memory, text) = match text.strip_prefix("Memory at ") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("I/O ports at ")?),
    };
    let address = match text.strip_prefix('<') {
        Some(_) => None,
        None => Some(hexadecimal(text)?),
    };
    let kind = match is_memory {
        false => BarKind::Io,
        true if text.contains("(64-bit") => BarKind::Memory64,
        true if text.contains("(32-bit") || text.contains("(low-1M") => BarKind::Memory32,
        true => return None,
    };
    let size = match text.split_once("[size=") {
        Some((_, size)) => Some(size_bytes(size).filter(|size| *size > 0)?),
        None => None,
    };
    let span = match (address.filter(|address| *address != 0), size) {
        (Some(first), Some(size)) => {
            let first = PhysAddr::from_u64(first);
            Fact::Known(Span::new(first, first.checked_add(size - 1)?).ok()?)
        }
        _ => Fact::NOT_IN_SOURCE,
    };
    Some(Resource {
        index,
        kind,
        prefetchable: is_memory && text.contains("prefetchable") && !text.contains("non-prefetchable"),
        span,
        size_bytes: size.map_or(Fact::NOT_IN_SOURCE, Fact::Known),
    })
}

/// The lines `... behind bridge:` of one function.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WindowLines {
    windows: Option<Windows>,
}

impl WindowLines {
    /// Takes a line if it tells of a window; nothing where it tells nonsense.
    pub(super) fn add(&mut self, line: &str) -> Option<()> {
        let (name, text) = line.split_once(" behind bridge:")?;
        let span = window(text)?;
        let windows = self.windows.get_or_insert_default();
        match name {
            "I/O" => windows.io = span,
            "Memory" => windows.memory = span,
            "Prefetchable memory" => windows.prefetchable = span,
            _ => return None,
        }
        Some(())
    }

    /// The windows. `lspci` leaves out lines of windows that do not exist, so that one line is enough;
    /// none at all is what a listing that was cut by hand shows too.
    pub(super) fn windows(self) -> Fact<Windows> {
        self.windows.map_or(Fact::NOT_IN_SOURCE, Fact::Known)
    }
}

/// The outer nothing: nonsense; the inner one: a closed window (`None`, `[disabled]`, or a base above
/// the limit).
fn window(text: &str) -> Option<Option<Span<BusAddr>>> {
    let text = text.trim();
    if text.is_empty() || text == "None" || text.contains("[disabled]") {
        return Some(None);
    }
    let (first, rest) = text.split_once('-')?;
    let first = BusAddr::from_u64(hexadecimal(first)?);
    let last = BusAddr::from_u64(hexadecimal(rest)?);
    Some(Span::new(first, last).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(first: u64, last: u64) -> Option<Span<BusAddr>> {
        Span::new(BusAddr::from_u64(first), BusAddr::from_u64(last)).ok()
    }

    #[test]
    fn every_spelling_of_a_region_is_read() {
        let wide = region("0: Memory at 387fe0000000 (64-bit, prefetchable) [size=256M]").unwrap();
        assert_eq!(
            (wide.index, wide.kind, wide.prefetchable),
            (0, BarKind::Memory64, true)
        );
        let span = wide.span.known().unwrap();
        assert_eq!(span.first().to_u64(), 0x387f_e000_0000);
        assert_eq!(span.last().to_u64(), 0x387f_efff_ffff);
        let text = "5: [virtual] Memory at fe000000 (32-bit, non-prefetchable) [disabled] [size=4K]";
        let narrow = region(text).unwrap();
        assert_eq!((narrow.kind, narrow.prefetchable), (BarKind::Memory32, false));
        assert_eq!(narrow.size_bytes, Fact::Known(4096));
        let ports = region("4: I/O ports at e000 [size=32]").unwrap();
        assert_eq!((ports.kind, ports.size_bytes), (BarKind::Io, Fact::Known(32)));
        for nowhere in [
            "2: Memory at <unassigned> (64-bit, prefetchable) [size=16G]",
            "2: Memory at <ignored> (64-bit, prefetchable)",
            "2: Memory at 1000000 (64-bit, prefetchable)",
        ] {
            assert!(!region(nowhere).unwrap().span.is_known(), "{nowhere}");
        }
        for nonsense in [
            "6: Memory at 1000 (32-bit) [size=4K]",
            "x",
            "0: ",
            "0: Memory at ffffffffffffffff (64-bit) [size=4K]",
            "0: Memory at 1000 (32-bit) [size=0]",
        ] {
            assert_eq!(region(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn old_and_new_windows_are_read() {
        for (text, expected) in [
            ("f000-ffff [size=4K]", at(0xf000, 0xffff)),
            (
                "fc000000-fcffffff [size=16M] [32-bit]",
                at(0xfc00_0000, 0xfcff_ffff),
            ),
            ("fff00000-000fffff", None),
            ("0000f000-00000fff [disabled] [16-bit]", None),
            ("[disabled] [64-bit]", None),
            ("None", None),
        ] {
            assert_eq!(window(text), Some(expected), "{text}");
        }
        assert_eq!(window("what"), None);
    }
}
