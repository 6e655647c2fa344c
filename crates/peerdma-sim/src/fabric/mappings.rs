//! The mappings of one I/O address space, in the order of their addresses: every translated request asks.
//!
//! A tree of two levels, flat: the few mappings of most spaces lie side by side in one block, and of many no change moves
//! more than one block and the list of blocks.

use super::decode::position;
use super::iommu::Rights;

/// A mapping.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mapping {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) phys: u64,
    pub(super) rights: Rights,
}

/// Mappings that do not overlap, in ascending order.
#[derive(Debug, Default)]
pub(super) struct Mappings {
    /// The first address of each block but the first, which begins wherever its first mapping does.
    starts: Vec<u64>,
    /// None is empty, but for the only one.
    blocks: Vec<Vec<Mapping>>,
    len: usize,
}

impl Mappings {
    const MOST_IN_BLOCK: usize = 512;

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The last mapping that begins at `address` or before.
    pub(super) fn at_or_before(&self, address: u64) -> Option<&Mapping> {
        let block = self.blocks.get(self.block_of(address))?;
        let after = block.partition_point(|mapping| mapping.first <= address);
        block.get(after.checked_sub(1)?)
    }

    /// The mapping that holds `address`.
    #[inline]
    pub(super) fn holding(&self, address: u64) -> Option<&Mapping> {
        let block = self.blocks.get(self.block_of(address))?;
        let at = position(block, |mapping| mapping.last < address);
        block.get(at).filter(|mapping| mapping.first <= address)
    }

    /// The mappings that begin at `address` or later, in ascending order.
    pub(super) fn from(&self, address: u64) -> impl Iterator<Item = &Mapping> {
        let at = self.block_of(address);
        let skipped = self.blocks.get(at).map_or(0, |block| {
            block.partition_point(|mapping| mapping.first < address)
        });
        self.blocks
            .get(at..)
            .into_iter()
            .flatten()
            .flatten()
            .skip(skipped)
    }

    /// Adds a mapping that overlaps none.
    pub(super) fn insert(&mut self, mapping: Mapping) {
        self.len += 1;
        let at = self.block_of(mapping.first);
        let Some(block) = self.blocks.get_mut(at) else {
            self.blocks.push(vec![mapping]);
            return;
        };
        let within = block.partition_point(|other| other.first < mapping.first);
        block.insert(within, mapping);
        if block.len() > Self::MOST_IN_BLOCK {
            // Spaces mostly grow at their end: what lies before stays full.
            let is_growing = within + 1 == block.len();
            let upper = block.split_off(if is_growing { within } else { block.len() / 2 });
            if let Some(first) = upper.first().map(|mapping| mapping.first) {
                self.starts.insert(at, first);
                self.blocks.insert(at + 1, upper);
            }
        }
    }

    /// Takes out the mapping that begins at `first`, if there is one.
    pub(super) fn remove(&mut self, first: u64) {
        let at = self.block_of(first);
        let Some(block) = self.blocks.get_mut(at) else {
            return;
        };
        let Ok(within) = block.binary_search_by_key(&first, |mapping| mapping.first) else {
            return;
        };
        block.remove(within);
        self.len -= 1;
        match block.first().map(|mapping| mapping.first) {
            Some(first) if within == 0 => {
                // An address before it belongs to a mapping of the block before, if to any.
                if let Some(start) = at.checked_sub(1).and_then(|before| self.starts.get_mut(before)) {
                    *start = first;
                }
            }
            None if self.blocks.len() > 1 => {
                self.blocks.remove(at);
                // Without the first block, the one behind it needs no start.
                self.starts.remove(at.saturating_sub(1));
            }
            _ => {}
        }
    }

    /// The block that would hold a mapping from `address` on.
    fn block_of(&self, address: u64) -> usize {
        self.starts.partition_point(|start| *start <= address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_answers_as_a_sorted_map_does(
            changes in prop::collection::vec((any::<bool>(), 0..3000u64), 0..4000),
            start in 0..3000u64,
        ) {
            let (mut mappings, mut map) = (Mappings::default(), BTreeMap::new());
            // Enough for several blocks before anything is taken out.
            let filled = (0..1500).map(|at| (true, at * 7 + start));
            for (is_new, first) in filled.chain(changes) {
                if is_new && !map.contains_key(&first) {
                    mappings.insert(Mapping { first, last: first, phys: first, rights: Rights::Read });
                    map.insert(first, ());
                } else if !is_new {
                    mappings.remove(first);
                    map.remove(&first);
                }
            }
            prop_assert_eq!(mappings.len(), map.len());
            for address in (0..3100).step_by(13).chain([0, u64::MAX]) {
                let found = mappings.at_or_before(address).map(|mapping| mapping.first);
                prop_assert_eq!(found, map.range(..=address).next_back().map(|(first, ())| *first));
                let holding = mappings.holding(address).map(|mapping| mapping.first);
                prop_assert_eq!(holding, map.get_key_value(&address).map(|(first, ())| *first));
                let behind = mappings.from(address).map(|mapping| mapping.first);
                prop_assert!(behind.eq(map.range(address..).map(|(first, ())| *first)));
            }
            for first in map.into_keys() {
                mappings.remove(first);
            }
            prop_assert_eq!((mappings.len(), mappings.from(0).count()), (0, 0));
        }
    }
}
