//! Where p2pmem lies: by the page frames of its mapping, or, for who may not see those, by the only BAR that can hold it.

use crate::sys::Memory;
use peerdma::addr::{Address, PhysAddr};
use std::os::unix::fs::FileExt;

/// Where memory lies in a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarPlace {
    /// Its true physical address.
    pub phys: PhysAddr,
    /// Behind which BAR.
    pub bar: u8,
    /// How far into that, in bytes.
    pub offset_bytes: u64,
}

/// Where a mapping lies, by its page frames: all must be there, one behind the other, and behind one BAR.
pub(super) fn place(resource: &str, memory: &Memory, page_bytes: u64) -> Option<BarPlace> {
    let pagemap = std::fs::File::open("/proc/self/pagemap").ok()?;
    let entries_at = memory.address() / page_bytes * 8;
    let read = |offset, into: &mut [u8]| pagemap.read_exact_at(into, entries_at.checked_add(offset)?).ok();
    let first = first_frame(memory.len_bytes() / page_bytes, read)?.checked_mul(page_bytes)?;
    let last = first.checked_add(memory.len_bytes().checked_sub(1)?)?;
    let (bar, start) = bar_of(resource, first, last)?;
    Some(BarPlace {
        phys: PhysAddr::from_u64(first),
        bar,
        offset_bytes: first - start,
    })
}

/// The first of so many page frames that lie one behind the other, by entries that `read` gives from an offset on: a few at a time, since BARs can have
/// millions of pages.
fn first_frame(pages: u64, mut read: impl FnMut(u64, &mut [u8]) -> Option<()>) -> Option<u64> {
    const AT_ONCE: u64 = 4096;
    let mut entries = [0; 8 * AT_ONCE as usize];
    let mut first = None;
    let mut done = 0;
    while done < pages {
        let now = (pages - done).min(AT_ONCE);
        let some = entries.get_mut(..usize::try_from(now * 8).ok()?)?;
        read(done.checked_mul(8)?, some)?;
        let frame = contiguous(some)?;
        if *first.get_or_insert(frame) != frame.checked_sub(done)? {
            return None;
        }
        done += now;
    }
    first
}

/// The first page frame of entries of a pagemap (Documentation/admin-guide/mm/pagemap.rst).
fn contiguous(entries: &[u8]) -> Option<u64> {
    const PRESENT: u64 = 1 << 63;
    const FRAME: u64 = (1 << 55) - 1;
    let entry = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
    let mut first = None;
    for (index, bytes) in (0_u64..).zip(entries.chunks(8)) {
        let entry = entry(bytes).filter(|entry| entry & PRESENT != 0)?;
        // Who may not see frames sees zeros.
        let frame = Some(entry & FRAME).filter(|frame| *frame != 0)?;
        let first = *first.get_or_insert(frame);
        if first.checked_add(index) != Some(frame) {
            return None;
        }
    }
    first
}

/// The BAR that holds these addresses, and where it begins, by the lines of `resource`.
fn bar_of(resource: &str, first: u64, last: u64) -> Option<(u8, u64)> {
    let mut bars = memory_bars(resource);
    bars.find_map(|(bar, start, end)| (start <= first && last <= end).then_some((bar, start)))
}

/// The one BAR that is large enough for a pool; nothing where there are several.
pub(super) fn only_bar(resource: &str, pool_bytes: u64) -> Option<u8> {
    let mut bars =
        memory_bars(resource).filter(|(_, start, end)| end - start >= pool_bytes.saturating_sub(1));
    let (bar, ..) = bars.next()?;
    bars.next().is_none().then_some(bar)
}

/// Number, first and last address of every memory BAR that has an address (`IORESOURCE_MEM`, include/linux/ioport.h).
fn memory_bars(resource: &str) -> impl Iterator<Item = (u8, u64, u64)> {
    (0_u8..6).zip(resource.lines()).filter_map(|(bar, line)| {
        let mut numbers = line
            .split_whitespace()
            .map_while(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
        let (start, end, flags) = (numbers.next()?, numbers.next()?, numbers.next()?);
        (start != 0 && start <= end && flags & 0x200 != 0).then_some((bar, start, end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_many_pages_are_read_a_few_at_a_time() {
        // 256 GiB in pages of 4 KiB would be half a gigabyte of entries.
        let look = |pages: u64, gap: u64| {
            let mut most = 0;
            let found = first_frame(pages, |offset, into| {
                most = most.max(into.len());
                for (page, entry) in (offset / 8..).zip(into.chunks_exact_mut(8)) {
                    let frame = 0xfe000 + page + u64::from(page >= gap);
                    entry.copy_from_slice(&(frame | 1 << 63).to_le_bytes());
                }
                Some(())
            });
            assert!(most <= 1 << 16);
            found
        };
        assert_eq!(look(1 << 20, u64::MAX), Some(0xfe000));
        assert_eq!(look(10_000, 9_999), None);
        assert_eq!(look(10_000, 4096), None);
        assert_eq!(look(1, u64::MAX), Some(0xfe000));
        assert_eq!(look(0, 0), None);
    }

    #[test]
    fn a_place_is_known_only_where_every_frame_is_and_lies_in_one_bar() {
        let entries = |frames: &[u64]| -> Vec<u8> {
            let entries = frames.iter().map(|frame| frame | 1 << 63 | 1 << 61);
            entries.flat_map(u64::to_le_bytes).collect()
        };
        assert_eq!(contiguous(&entries(&[0xfe000, 0xfe001, 0xfe002])), Some(0xfe000));
        assert_eq!(contiguous(&entries(&[0xfe000, 0xfe002])), None);
        assert_eq!(contiguous(&entries(&[0, 1])), None);
        assert_eq!(contiguous(&0xfe000_u64.to_le_bytes()), None);
        assert_eq!(contiguous(&[0xff; 7]), None);
        assert_eq!(contiguous(&[]), None);

        let resource = "0x0000000000001000 0x0000000000001fff 0x0000000000040200\n\
                        0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
                        0x00000000fe000000 0x00000000feffffff 0x000000000014220c\n";
        assert_eq!(bar_of(resource, 0xfe00_2000, 0xfe00_2fff), Some((2, 0xfe00_0000)));
        assert_eq!(bar_of(resource, 0xfeff_f000, 0xff00_0fff), None);
        assert_eq!(bar_of("garbage\n0x\n\n", 1, 2), None);
        assert_eq!(only_bar(resource, 2 << 20), Some(2));
        assert_eq!(only_bar(resource, 0x1000), None);
        assert_eq!(only_bar(resource, u64::MAX), None);
    }
}
