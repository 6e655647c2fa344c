//! Which words of a configuration space its meaning depends on.
//!
//! Reading all 4096 bytes of a live function takes a thousand slow accesses, and some functions dislike
//! being read where they have no registers. [`fetch_needed`] finds out by trying: it parses, notes which
//! words were looked at, fetches those, and parses again, until nothing new is looked at.

use super::{Config, ConfigView, Extent};
use alloc::vec::Vec;
use core::cell::Cell;

/// A set of 32-bit words of a configuration space.
#[derive(Debug, Clone, Default)]
pub(super) struct Footprint {
    words: [Cell<u64>; ConfigView::MAX_BYTES / 4 / 64],
}

impl Footprint {
    /// Adds the word at `offset`, if there can be one.
    pub(super) fn touch(&self, offset: u16) {
        if let Some(set) = self.words.get(usize::from(offset / 256)) {
            set.set(set.get() | 1 << (offset / 4 % 64));
        }
    }

    /// The offsets of the words that are in this set and not in `other`, ascending.
    fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u16> + 'a {
        let sets = self.words.iter().zip(&other.words).enumerate();
        sets.flat_map(|(index, (set, other))| {
            let new = set.get() & !other.get();
            (0..64u16)
                .filter(move |bit| new >> bit & 1 == 1)
                .map(move |bit| index as u16 * 256 + bit * 4)
        })
    }
}

/// Fills `bytes`, which is as long as the configuration space, with the header and with the words that
/// [`Config::parse`] looks at; the others become 0. `fetch` is asked once for the 64 bytes of the header
/// and once for each further word: it gets the offset and the bytes to fill.
///
/// # Errors
/// The first error of `fetch`.
pub fn fetch_needed<E>(
    bytes: &mut [u8],
    mut fetch: impl FnMut(u16, &mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    const HEADER_BYTES: usize = 64;
    bytes.fill(0);
    let fetched = Footprint::default();
    let header_bytes = bytes.len().min(HEADER_BYTES);
    fetch(0, &mut bytes[..header_bytes])?;
    for offset in (0..HEADER_BYTES as u16).step_by(4) {
        fetched.touch(offset);
    }
    let mut defects = Vec::new();
    loop {
        let seen = Footprint::default();
        Config::parse(ConfigView::new(bytes, Extent::Whole).noting(&seen), &mut defects);
        defects.clear();
        let mut fetched_any = false;
        let new: Vec<u16> = seen.without(&fetched).collect();
        for offset in new {
            let start = usize::from(offset);
            let end = bytes.len().min(start + 4);
            if let Some(word) = bytes.get_mut(start..end).filter(|word| !word.is_empty()) {
                fetch(offset, word)?;
                fetched_any = true;
            }
            fetched.touch(offset);
        }
        if !fetched_any {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::strategy;
    use super::*;
    use proptest::prelude::*;

    fn meaning(bytes: &[u8]) -> Config {
        Config::parse(ConfigView::new(bytes, Extent::Whole), &mut Vec::new())
    }

    fn fetch_from(all: &[u8]) -> (Vec<u8>, usize) {
        let mut bytes = alloc::vec![0xa5; all.len()];
        let mut words = 0;
        let result: Result<(), ()> = fetch_needed(&mut bytes, |offset, word| {
            let start = usize::from(offset);
            word.copy_from_slice(&all[start..start + word.len()]);
            words += 1;
            Ok(())
        });
        assert_eq!(result, Ok(()));
        (bytes, words)
    }

    proptest! {
        #[test]
        fn the_needed_words_mean_what_all_of_them_mean(config in strategy::config()) {
            let all = config.emit().unwrap();
            let (bytes, words) = fetch_from(&all);
            prop_assert_eq!(meaning(&bytes), meaning(&all));
            prop_assert!(words < 200, "{} words were fetched", words);
        }

        #[test]
        fn arbitrary_bytes_are_fetched_to_an_end(all in strategy::space()) {
            let (bytes, _) = fetch_from(&all);
            prop_assert_eq!(meaning(&bytes), meaning(&all));
        }
    }
}
