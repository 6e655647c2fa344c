//! RAM that is given to drivers: first fit, whole pages.

use peerdma::addr::{Address, PhysAddr, Span};
use std::collections::{BTreeMap, BTreeSet};

/// What is free and what is not, by first address, with last addresses.
#[derive(Debug, Default)]
pub(super) struct Arena {
    free: BTreeMap<u64, u64>,
    taken: BTreeMap<u64, u64>,
    /// Where ranges of RAM begin: nothing that is given lies in two of them.
    seams: BTreeSet<u64>,
}

impl Arena {
    const PAGE_BYTES: u64 = 4096;
    /// Never given out: the lowest MiB, which firmware uses, and where processors take interrupts.
    const KEPT: [(u64, u64); 2] = [(0, 0xf_ffff), (0xfee0_0000, 0xfeef_ffff)];

    /// All pages of these ranges are free but for the kept ones.
    pub(super) fn new(ram: &[Span<PhysAddr>]) -> Self {
        let mut arena = Self::default();
        let mut ranges: Vec<(u64, u64)> = (ram.iter())
            .map(|span| (span.first().to_u64(), span.last().to_u64()))
            .collect();
        ranges.sort_unstable();
        let mut next = Some(0);
        for (first, last) in ranges {
            // What two ranges hold is the first one's.
            let Some(free) = next else { break };
            if free > last {
                continue;
            }
            next = last.checked_add(1);
            arena.add_range(first.max(free), last);
        }
        for (first, last) in Self::KEPT {
            arena.cut(first, last);
        }
        arena
    }

    /// The first free place for so many bytes, taken from now on. At least a page, and at a page.
    pub(super) fn take(&mut self, len_bytes: u64, align_bytes: u64) -> Option<u64> {
        let align_bytes = align_bytes.max(Self::PAGE_BYTES);
        if len_bytes == 0 || !align_bytes.is_power_of_two() {
            return None;
        }
        let len_bytes = len_bytes.checked_next_multiple_of(Self::PAGE_BYTES)?;
        let (first, last) = self.free.iter().find_map(|(&first, &last)| {
            let first = first.checked_next_multiple_of(align_bytes)?;
            let end = first.checked_add(len_bytes - 1)?;
            (end <= last).then_some((first, end))
        })?;
        self.cut(first, last);
        self.taken.insert(first, last);
        Some(first)
    }

    /// Gives back what [`Self::take`] gave; how many bytes that were, or nothing where it was not.
    pub(super) fn give_back(&mut self, first: u64) -> Option<u64> {
        let last = self.taken.remove(&first)?;
        self.add(first, last);
        Some(last - first + 1)
    }

    /// Bytes of what was taken at an address.
    pub(super) fn len_bytes(&self, first: u64) -> Option<u64> {
        self.taken.get(&first).map(|last| last - first + 1)
    }

    /// What is taken.
    pub(super) fn taken(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.taken.iter().map(|(first, last)| (*first, *last))
    }

    /// The whole pages of a range of RAM are free.
    fn add_range(&mut self, first: u64, last: u64) {
        let page = Self::PAGE_BYTES - 1;
        let Some(first) = first.checked_next_multiple_of(Self::PAGE_BYTES) else {
            return;
        };
        let last = match last & page == page {
            true => Some(last),
            false => (last & !page).checked_sub(1),
        };
        if let Some(last) = last.filter(|last| first <= *last) {
            self.seams.insert(first);
            self.add(first, last);
        }
    }

    /// These are free again; free neighbours become one.
    fn add(&mut self, mut first: u64, mut last: u64) {
        let before = self.free.range(..first).next_back().map(|(at, end)| (*at, *end));
        if let Some((at, end)) = before
            && end + 1 == first
            && !self.seams.contains(&first)
        {
            first = at;
        }
        if let Some(next) = last.checked_add(1)
            && !self.seams.contains(&next)
            && let Some(end) = self.free.remove(&next)
        {
            last = end;
        }
        self.free.insert(first, last);
    }

    /// A range is not free.
    fn cut(&mut self, first: u64, last: u64) {
        let touched: Vec<(u64, u64)> = (self.free.range(..=last))
            .filter(|(_, end)| **end >= first)
            .map(|(at, end)| (*at, *end))
            .collect();
        for (at, end) in touched {
            self.free.remove(&at);
            if at < first {
                self.free.insert(at, first - 1);
            }
            if end > last {
                self.free.insert(last + 1, end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(first: u64, last: u64) -> Span<PhysAddr> {
        Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).unwrap()
    }

    #[test]
    fn low_memory_and_the_interrupt_window_are_never_given_out() {
        let mut arena = Arena::new(&[span(0, u64::MAX)]);
        assert_eq!(arena.take(1, 1), Some(0x10_0000));
        assert_eq!(arena.take(0xfed0_0000, 4096), Some(0xfef0_0000));
        assert_eq!(arena.take(0xfecf_f000, 4096), Some(0x10_1000));
        assert_eq!(arena.take(0, 4096), None);
        assert_eq!(arena.take(4096, 4097), None);
        assert_eq!(arena.take(u64::MAX, 1), None);
    }

    proptest! {
        #[test]
        fn what_is_given_overlaps_nothing_and_all_of_it_comes_back(
            steps in prop::collection::vec((1..40_000u64, 0..17u32, any::<bool>()), 1..60),
        ) {
            let ram = [span(0x20_0123, 0x2f_ffff), span(0x30_0000, 0x34_0fff), span(0x34_0000, 0x38_0000)];
            let mut arena = Arena::new(&ram);
            let at_first = arena.free.clone();
            prop_assert_eq!(
                at_first.iter().collect::<Vec<_>>(),
                [(&0x20_1000, &0x2f_ffff), (&0x30_0000, &0x34_0fff), (&0x34_1000, &0x37_ffff)]
            );
            let mut held: Vec<(u64, u64)> = Vec::new();
            for (len, align_log2, frees) in steps {
                if frees && !held.is_empty() {
                    let (first, _) = held.remove(len as usize % held.len());
                    prop_assert!(arena.give_back(first).is_some());
                    prop_assert!(arena.give_back(first).is_none());
                } else if let Some(first) = arena.take(len, 1 << align_log2) {
                    prop_assert!(first.is_multiple_of(1 << align_log2));
                    prop_assert!(at_first.iter().any(|(at, end)| *at <= first && first + len - 1 <= *end));
                    prop_assert!(held.iter().all(|(at, end)| first > *end || first + len - 1 < *at));
                    held.push((first, first + len - 1));
                }
            }
            for (first, _) in held {
                arena.give_back(first);
            }
            prop_assert_eq!(arena.free, at_first);
        }
    }
}
