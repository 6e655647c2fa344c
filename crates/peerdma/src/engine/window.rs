//! Which chunks are done, where they end in any order: all below one, and some of those that follow.

use alloc::vec;
use alloc::vec::Vec;

/// Chunks by number. Only so many from the first one that is not done on are followed at once, so that it never grows.
#[derive(Debug)]
pub(super) struct Window {
    first: u64,
    done: Vec<bool>,
    /// Where the first one is in `done`.
    at: usize,
}

impl Window {
    /// Follows `chunks` at once, at least 1.
    pub(super) fn new(chunks: usize) -> Self {
        Self {
            first: 0,
            done: vec![false; chunks.max(1)],
            at: 0,
        }
    }

    /// All chunks below this one are done, and it is not.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Can this chunk be followed?
    pub(super) fn has_room_for(&self, chunk: u64) -> bool {
        chunk
            .checked_sub(self.first)
            .is_some_and(|ahead| ahead < self.done.len() as u64)
    }

    /// A chunk that was followed is done.
    pub(super) fn done(&mut self, chunk: u64) {
        let ahead = chunk
            .checked_sub(self.first)
            .and_then(|ahead| usize::try_from(ahead).ok());
        let Some(ahead) = ahead.filter(|ahead| *ahead < self.done.len()) else {
            return;
        };
        let slots = self.done.len();
        self.done[(self.at + ahead) % slots] = true;
        while self.done[self.at] {
            self.done[self.at] = false;
            self.at = (self.at + 1) % slots;
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_chunk_that_is_not_done_is_known_whatever_the_order(
            order in Just((0..64_u64).collect::<Vec<_>>()).prop_shuffle(),
            width in 64..100_usize,
        ) {
            let mut window = Window::new(width);
            let mut done = Vec::new();
            for chunk in order {
                prop_assert!(window.has_room_for(chunk));
                window.done(chunk);
                done.push(chunk);
                let expected = (0..).find(|chunk| !done.contains(chunk)).unwrap();
                prop_assert_eq!(window.first(), expected);
            }
            prop_assert!(!window.has_room_for(63));
        }
    }
}
