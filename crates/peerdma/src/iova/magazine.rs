//! Ranges of the usual sizes, kept for the next request.

use super::{Allocator, Request};
use crate::addr::{Address, Iova};
use alloc::vec::Vec;

/// Sizes that are kept: 1, 2, 4, ... 32 pages (the sizes that Linux keeps: KERNEL-FACTS, F1).
const CLASSES: usize = 6;
/// How many of each.
const KEPT: usize = 64;

/// Keeps ranges that were given back, by size. They count as taken in the [`Allocator`]: [`Self::drain`] gives them back.
#[derive(Debug)]
pub struct Magazine {
    page_bytes: u64,
    kept: [Vec<Iova>; CLASSES],
}

impl Magazine {
    /// An empty one, with room.
    pub fn new(page_bytes: u64) -> Self {
        Self {
            page_bytes: page_bytes.max(1),
            kept: core::array::from_fn(|_| Vec::with_capacity(KEPT)),
        }
    }

    /// The range to ask an allocator for where none is kept: of a usual size, so that it can be kept later.
    pub fn request(&self, len_bytes: u64, mask: u64) -> Request {
        let len_bytes = match self.class(len_bytes) {
            Some(class) => self.page_bytes << class,
            None => len_bytes,
        };
        Request {
            len_bytes,
            align_bytes: match self.class(len_bytes) {
                Some(_) => len_bytes,
                None => self.page_bytes,
            },
            phase_bytes: 0,
            mask,
        }
    }

    /// A range that is kept.
    pub fn take(&mut self, len_bytes: u64, mask: u64) -> Option<Iova> {
        let class = self.class(len_bytes)?;
        let less_one = (self.page_bytes << class) - 1;
        let kept = self.kept.get_mut(class)?;
        let last = kept.last()?.checked_add(less_one)?;
        if last.to_u64() > mask {
            return None;
        }
        kept.pop()
    }

    /// Keeps a range that was asked for with this length; gives it back where there is no room for it.
    #[must_use = "what is not kept must go back to the allocator"]
    pub fn keep(&mut self, iova: Iova, len_bytes: u64) -> Option<Iova> {
        let kept = self.class(len_bytes).and_then(|class| self.kept.get_mut(class));
        match kept {
            Some(kept) if kept.len() < KEPT => {
                kept.push(iova);
                None
            }
            _ => Some(iova),
        }
    }

    /// Is nothing kept?
    pub fn is_empty(&self) -> bool {
        self.kept.iter().all(Vec::is_empty)
    }

    /// Gives all back to the allocator that they came from.
    pub fn drain(&mut self, to: &mut Allocator) {
        for kept in &mut self.kept {
            for iova in kept.drain(..) {
                let _ = to.free(iova);
            }
        }
    }

    /// Which size serves this many bytes.
    fn class(&self, len_bytes: u64) -> Option<usize> {
        let pages = len_bytes.div_ceil(self.page_bytes);
        (1..=1 << (CLASSES - 1))
            .contains(&pages)
            .then(|| pages.next_power_of_two().trailing_zeros() as usize)
    }
}
