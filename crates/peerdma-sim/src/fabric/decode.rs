//! Who claims an address: sorted ranges that do not overlap, in which one is found by bisection.
//!
//! Each bus has such a table of the BARs and windows on it, the host one of RAM and host windows. Of two claimants of one
//! address the first in the order of functions has it (hardware would corrupt something; which is open).

use std::collections::BTreeSet;

/// A range that somebody claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim<T> {
    /// First address.
    pub(super) first: u64,
    /// Last address, not below the first.
    pub(super) last: u64,
    /// By whom, or for what.
    pub(super) by: T,
}

/// Ranges in ascending order, none overlapping.
#[derive(Debug, Clone)]
pub(super) struct Decode<T> {
    ranges: Vec<Claim<T>>,
}

/// What an address leads to, and for how many bytes from there on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found<T> {
    pub(super) by: Option<T>,
    pub(super) holds_bytes: u64,
}

impl<T> Default for Decode<T> {
    fn default() -> Self {
        Self { ranges: Vec::new() }
    }
}

impl<T: Copy + PartialEq> Decode<T> {
    /// The table of `claims`; earlier ones win.
    pub(super) fn new(claims: Vec<Claim<T>>) -> Self {
        let mut order: Vec<usize> = (0..claims.len()).collect();
        order.sort_by_key(|&index| claims[index].first);
        let overlaps = order
            .windows(2)
            .any(|pair| claims[pair[1]].first <= claims[pair[0]].last);
        let ranges = match overlaps {
            false => order.into_iter().map(|index| claims[index]).collect(),
            true => Self::untangle(&claims, &order),
        };
        Self { ranges }
    }

    /// Cuts overlapping claims into ranges that each have one winner.
    fn untangle(claims: &[Claim<T>], by_first: &[usize]) -> Vec<Claim<T>> {
        let mut by_last = by_first.to_vec();
        by_last.sort_by_key(|&index| claims[index].last);
        let mut cuts: Vec<u64> = claims.iter().map(|claim| claim.first).collect();
        cuts.extend(claims.iter().filter_map(|claim| claim.last.checked_add(1)));
        cuts.sort_unstable();
        cuts.dedup();
        let (mut starting, mut ending) = (by_first.iter().peekable(), by_last.iter().peekable());
        let mut active = BTreeSet::new();
        let mut ranges: Vec<Claim<T>> = Vec::new();
        for (at, &first) in cuts.iter().enumerate() {
            while let Some(&&index) = ending.peek()
                && claims[index].last < first
            {
                active.remove(&index);
                ending.next();
            }
            while let Some(&&index) = starting.peek()
                && claims[index].first <= first
            {
                active.insert(index);
                starting.next();
            }
            let last = cuts.get(at + 1).map_or(u64::MAX, |next| next - 1);
            let Some(winner) = active.first() else {
                continue;
            };
            let by = claims[*winner].by;
            match ranges.last_mut() {
                Some(before) if before.by == by && before.last.checked_add(1) == Some(first) => {
                    before.last = last
                }
                _ => ranges.push(Claim { first, last, by }),
            }
        }
        ranges
    }

    /// Who claims `address`.
    #[inline]
    pub(super) fn find(&self, address: u64) -> Found<T> {
        let at = position(&self.ranges, |range| range.last < address);
        match self.ranges.get(at) {
            Some(range) if range.first <= address => Found {
                by: Some(range.by),
                holds_bytes: bytes_to(address, range.last),
            },
            next => Found {
                by: None,
                holds_bytes: bytes_to(address, next.map_or(u64::MAX, |next| next.first - 1)),
            },
        }
    }
}

/// The position of the first for which `is_before` does not hold, which holds for all before it and for none behind.
///
/// TLP after TLP asks for the same: in a short list a processor foresees the end of a search from the start, while each
/// step of a bisection waits for the one before.
#[inline]
pub(super) fn position<T>(list: &[T], is_before: impl Fn(&T) -> bool) -> usize {
    const SHORT: usize = 8;
    match list.len() <= SHORT {
        true => list.iter().position(|one| !is_before(one)).unwrap_or(list.len()),
        false => list.partition_point(is_before),
    }
}

/// How many bytes there are from `first` to `last`, both included; one less where that is all 2^64.
pub(super) const fn bytes_to(first: u64, last: u64) -> u64 {
    (last - first).saturating_add(1)
}

/// An inclusive range of addresses that may be empty: what a window of a bridge is open for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Opening {
    pub(super) const CLOSED: Self = Self { first: 1, last: 0 };

    /// The opening from `first` to `last`; closed where they are in the wrong order.
    pub(super) const fn new(first: u64, last: u64) -> Self {
        if first <= last {
            Self { first, last }
        } else {
            Self::CLOSED
        }
    }

    pub(super) const fn is_open(self) -> bool {
        self.first <= self.last
    }

    /// Does `address` lie in it, and for how many bytes is that so?
    pub(super) const fn look(self, address: u64) -> (bool, u64) {
        if self.first <= address && address <= self.last {
            (true, bytes_to(address, self.last))
        } else if address < self.first && self.is_open() {
            (false, self.first - address)
        } else {
            (false, bytes_to(address, u64::MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_claimant_is_found_and_the_answer_holds_as_far_as_it_says(
            claims in prop::collection::vec((0u64..64, 0u64..16), 0..8),
            at in 0u64..80,
        ) {
            let claims: Vec<Claim<usize>> = claims
                .into_iter()
                .enumerate()
                .map(|(by, (first, more))| Claim { first, last: first + more, by })
                .collect();
            let expected = |address: u64| {
                claims.iter().find(|claim| claim.first <= address && address <= claim.last).map(|claim| claim.by)
            };
            let found = Decode::new(claims.clone()).find(at);
            prop_assert_eq!(found.by, expected(at));
            for next in at..at.saturating_add(found.holds_bytes).min(100) {
                prop_assert_eq!(expected(next), expected(at));
            }
        }
    }

    #[test]
    fn the_last_byte_of_the_space_can_be_claimed() {
        let all = Claim {
            first: 0,
            last: u64::MAX,
            by: 1,
        };
        let decode = Decode::new(vec![all, Claim { by: 2, ..all }]);
        assert_eq!(
            decode.find(u64::MAX),
            Found {
                by: Some(1),
                holds_bytes: 1
            }
        );
        assert_eq!(decode.find(0).holds_bytes, u64::MAX);
    }
}
