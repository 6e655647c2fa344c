//! How long things took: counts by duration, in fixed memory, exact to 1 part in 32.

use alloc::boxed::Box;
use alloc::vec;

/// Values below this are counted each for itself.
const EXACT: u64 = 64;
/// From there on every power of two is cut into so many.
const PARTS: u64 = 32;
/// 64 exact values, then 58 powers of two from 2^6 to 2^63.
const PLACES: usize = (EXACT + 58 * PARTS) as usize;

/// Durations and how often they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: Box<[u64]>,
    count: u64,
    min_ns: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; PLACES].into_boxed_slice(),
            count: 0,
            min_ns: u64::MAX,
            max_ns: 0,
        }
    }
}

impl Histogram {
    /// Counts a duration.
    pub fn add(&mut self, ns: u64) {
        if let Some(count) = self.counts.get_mut(place(ns)) {
            *count += 1;
        }
        self.count += 1;
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The shortest; nothing where none was counted.
    pub fn min_ns(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min_ns)
    }

    /// The longest; nothing where none was counted.
    pub fn max_ns(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max_ns)
    }

    /// So many of 100,000 took no longer than this (50,000 for the median); never more than 1 part in 32 too much, and never above the
    /// longest. Nothing where none was counted.
    pub fn quantile_ns(&self, of_100_000: u32) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let wanted = u128::from(self.count) * u128::from(of_100_000.min(100_000));
        let wanted = wanted.div_ceil(100_000).max(1);
        let mut seen = 0_u128;
        for (place, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= wanted {
                return Some(last_of(place).clamp(self.min_ns, self.max_ns));
            }
        }
        Some(self.max_ns)
    }
}

fn place(ns: u64) -> usize {
    if ns < EXACT {
        return ns as usize;
    }
    let power = u64::from(63 - ns.leading_zeros());
    let part = (ns >> (power - 5)) & (PARTS - 1);
    (EXACT + (power - 6) * PARTS + part) as usize
}

/// The longest duration that is counted there.
fn last_of(place: usize) -> u64 {
    let place = place as u64;
    if place < EXACT {
        return place;
    }
    let (power, part) = ((place - EXACT) / PARTS + 6, (place - EXACT) % PARTS);
    let width = 1_u64 << (power - 5);
    let first = (1_u64 << power) | (part * width);
    first | (width - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn a_quantile_is_never_too_small_and_at_most_a_32nd_too_large(
            mut values in proptest::collection::vec((0_u32..64, any::<u64>()), 1..200),
            of in 0_u32..=100_000,
        ) {
            let mut histogram = Histogram::default();
            let mut values: Vec<u64> = values.drain(..).map(|(shift, value)| value >> shift).collect();
            values.iter().for_each(|value| histogram.add(*value));
            values.sort_unstable();
            let rank = (values.len() as u128 * u128::from(of)).div_ceil(100_000).max(1) as usize;
            let exact = values[rank - 1];
            let told = histogram.quantile_ns(of).unwrap();
            prop_assert!(told >= exact && told - exact <= exact / 32, "{told} for {exact}");
            prop_assert_eq!(histogram.max_ns(), values.last().copied());
            prop_assert_eq!(histogram.min_ns(), values.first().copied());
        }
    }

    #[test]
    fn what_counted_nothing_says_nothing() {
        let empty = Histogram::default();
        assert_eq!(
            (empty.quantile_ns(50_000), empty.min_ns(), empty.max_ns()),
            (None, None, None)
        );
    }
}
