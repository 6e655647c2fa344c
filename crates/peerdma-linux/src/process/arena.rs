//! Which RAM of the process is given to drivers, and which is free: first fit, whole pages.

use std::collections::BTreeMap;

/// What is free and what is taken of a range of addresses, by first address, with last addresses.
#[derive(Debug)]
pub(super) struct Arena {
    free: BTreeMap<u64, u64>,
    taken: BTreeMap<u64, u64>,
    /// What lies from here on was never given, and is zero.
    fresh: u64,
    /// What is given is whole pages of this many bytes: what IOMMUs map of one owner is nobody else's.
    page_bytes: u64,
}

/// What was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) first: u64,
    pub(super) len_bytes: u64,
    /// How many bytes at its start may hold what an earlier owner left.
    pub(super) used_bytes: u64,
}

pub(super) const PAGE_BYTES: u64 = 4096;

impl Arena {
    /// All of these addresses, the last included, are free: whole pages, of a power of two of bytes.
    pub(super) fn new(first: u64, last: u64, page_bytes: u64) -> Self {
        Self {
            free: BTreeMap::from([(first, last)]),
            taken: BTreeMap::new(),
            fresh: first,
            page_bytes,
        }
    }

    /// The first free place for so many bytes, taken from now on. At least a page, and at a page.
    pub(super) fn take(&mut self, len_bytes: u64, align_bytes: u64) -> Option<Taken> {
        let align_bytes = align_bytes.max(self.page_bytes);
        if len_bytes == 0 || !align_bytes.is_power_of_two() {
            return None;
        }
        let len_bytes = len_bytes.checked_next_multiple_of(self.page_bytes)?;
        let (hole, first, last) = self.free.iter().find_map(|(&hole, &last)| {
            let first = hole.checked_next_multiple_of(align_bytes)?;
            let end = first.checked_add(len_bytes - 1)?;
            (end <= last).then_some((hole, first, end))
        })?;
        let end = self.free.remove(&hole)?;
        if hole < first {
            self.free.insert(hole, first - 1);
        }
        if last < end {
            self.free.insert(last + 1, end);
        }
        self.taken.insert(first, last);
        let used_bytes = self.fresh.saturating_sub(first).min(len_bytes);
        self.fresh = self.fresh.max(last.saturating_add(1));
        Some(Taken {
            first,
            len_bytes,
            used_bytes,
        })
    }

    /// Gives back what [`Self::take`] gave at `first`; nothing happens where nothing begins there.
    pub(super) fn give_back(&mut self, mut first: u64) {
        let Some(mut last) = self.taken.remove(&first) else {
            return;
        };
        let before = self.free.range(..first).next_back();
        if let Some((&at, &end)) = before
            && end.checked_add(1) == Some(first)
        {
            first = at;
        }
        if let Some(next) = last.checked_add(1)
            && let Some(end) = self.free.remove(&next)
        {
            last = end;
        }
        self.free.insert(first, last);
    }

    /// The last address of what [`Self::take`] gave at `first`.
    pub(super) fn last_of(&self, first: u64) -> Option<u64> {
        self.taken.get(&first).copied()
    }

    /// First and last addresses of what is taken.
    pub(super) fn taken(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.taken.iter().map(|(first, last)| (*first, *last))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST: u64 = 0x1_0000_0000;
    const LAST: u64 = FIRST + 0x3f_ffff;

    #[test]
    fn nothing_and_odd_alignments_are_not_given() {
        let mut arena = Arena::new(FIRST, LAST, PAGE_BYTES);
        assert_eq!(arena.take(0, 1), None);
        assert_eq!(arena.take(1, 4097), None);
        assert_eq!(arena.take(u64::MAX, 1), None);
        assert_eq!(arena.take(1, 1 << 63), None);
        arena.give_back(FIRST);
        assert_eq!(
            arena.take(LAST - FIRST + 1, 1 << 20).map(|taken| taken.first),
            Some(FIRST)
        );
        assert_eq!(arena.take(1, 1), None);
    }

    proptest! {
        #[test]
        fn what_is_given_overlaps_nothing_and_all_of_it_comes_back(
            steps in prop::collection::vec((1..40_000_u64, 0..23_u32, any::<bool>()), 1..80),
        ) {
            let mut arena = Arena::new(FIRST, LAST, PAGE_BYTES);
            let mut held: Vec<Taken> = Vec::new();
            let mut ever_last = FIRST;
            for (len_bytes, align_log2, frees) in steps {
                if frees && !held.is_empty() {
                    let taken = held.remove(len_bytes as usize % held.len());
                    arena.give_back(taken.first + 1);
                    arena.give_back(taken.first);
                } else if let Some(taken) = arena.take(len_bytes, 1 << align_log2) {
                    prop_assert!(taken.first.is_multiple_of(1 << align_log2) && taken.first.is_multiple_of(PAGE_BYTES));
                    prop_assert!(taken.len_bytes >= len_bytes && taken.len_bytes < len_bytes + PAGE_BYTES);
                    let last = taken.first + taken.len_bytes - 1;
                    prop_assert!(FIRST <= taken.first && last <= LAST);
                    prop_assert!(held.iter().all(|other| taken.first >= other.first + other.len_bytes || last < other.first));
                    // What was ever given lies in the part that is said to be used.
                    prop_assert!(ever_last <= taken.first + taken.used_bytes || taken.used_bytes == taken.len_bytes);
                    ever_last = ever_last.max(last + 1);
                    held.push(taken);
                }
                let mut given: Vec<_> = held.iter().map(|taken| (taken.first, taken.first + taken.len_bytes - 1)).collect();
                given.sort_unstable();
                prop_assert_eq!(arena.taken().collect::<Vec<_>>(), given);
            }
            for taken in held {
                arena.give_back(taken.first);
            }
            prop_assert_eq!(arena.free, BTreeMap::from([(FIRST, LAST)]));
        }
    }
}
