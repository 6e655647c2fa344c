//! Commands under way, by identifier. An identifier is the number of a slot and a sequence that differs each time the slot is used:
//! a completion that comes twice, or for a command of before, finds nobody.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What is under way. Nothing is allocated after it was made.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    /// The one that was used longest ago comes first: its identifiers come again as late as can be.
    free: VecDeque<u16>,
    index_bits: u32,
}

#[derive(Debug)]
struct Slot<T> {
    sequence: u16,
    content: Option<T>,
}

/// Names what is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommandId(pub(crate) u16);

impl<T> Slots<T> {
    /// At most so many: four bits are left for the sequence.
    pub(crate) const MOST: u16 = 4096;
    /// Means no command in the error log (NVM Express Base 2.0, 5.16.1.2).
    const NOBODY: u16 = u16::MAX;

    /// Room for `count`, from 1 to [`Self::MOST`].
    pub(crate) fn new(count: u16) -> Self {
        let count = count.clamp(1, Self::MOST);
        let empty = |_| Slot {
            sequence: 0,
            content: None,
        };
        Self {
            slots: (0..count).map(empty).collect(),
            free: (0..count).collect(),
            index_bits: u16::BITS - (count - 1).leading_zeros(),
        }
    }

    /// How many are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The slot and the identifier that come next; nothing where all are under way.
    pub(crate) fn next(&self) -> Option<(usize, CommandId)> {
        let index = *self.free.front()?;
        let slot = self.slots.get(usize::from(index))?;
        Some((usize::from(index), self.id(index, slot.sequence)))
    }

    /// Puts something into the slot that [`Self::next`] told.
    pub(crate) fn take_next(&mut self, content: T) -> Option<CommandId> {
        let (index, id) = self.next()?;
        self.free.pop_front();
        self.slots.get_mut(index)?.content = Some(content);
        Some(id)
    }

    /// What is under way by this identifier.
    pub(crate) fn get_mut(&mut self, id: CommandId) -> Option<&mut T> {
        let index = self.index(id)?;
        self.slots.get_mut(index)?.content.as_mut()
    }

    /// Ends what is under way by this identifier; nothing where nobody is.
    pub(crate) fn remove(&mut self, id: CommandId) -> Option<T> {
        let index = self.index(id)?;
        self.remove_at(index)
    }

    /// Ends anything that is under way.
    pub(crate) fn remove_any(&mut self) -> Option<T> {
        let index = self.slots.iter().position(|slot| slot.content.is_some())?;
        self.remove_at(index)
    }

    /// All that is under way, with its identifiers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CommandId, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let id = self.id(index as u16, slot.sequence);
            Some((id, slot.content.as_ref()?))
        })
    }

    /// The same, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (CommandId, &mut T)> {
        let bits = self.index_bits;
        self.slots
            .iter_mut()
            .enumerate()
            .filter_map(move |(index, slot)| {
                let id = slot.sequence << bits | index as u16;
                Some((CommandId(id), slot.content.as_mut()?))
            })
    }

    fn remove_at(&mut self, index: usize) -> Option<T> {
        let bits = self.index_bits;
        let slot = self.slots.get_mut(index)?;
        let content = slot.content.take()?;
        slot.sequence = slot.sequence.wrapping_add(1) & (u16::MAX >> bits);
        if slot.sequence << bits | index as u16 == Self::NOBODY {
            slot.sequence = 0;
        }
        self.free.push_back(index as u16);
        Some(content)
    }

    fn id(&self, index: u16, sequence: u16) -> CommandId {
        CommandId(sequence << self.index_bits | index)
    }

    fn index(&self, id: CommandId) -> Option<usize> {
        let index = id.0 & ((1_u32 << self.index_bits) - 1) as u16;
        let slot = self.slots.get(usize::from(index))?;
        (self.id(index, slot.sequence) == id).then_some(usize::from(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_identifier_that_was_answered_finds_nobody() {
        let mut slots = Slots::new(1);
        for round in 0..40_000 {
            let id = slots.take_next(round).unwrap();
            assert_ne!(id.0, u16::MAX);
            assert!(slots.next().is_none());
            assert_eq!(slots.remove(id), Some(round));
            assert_eq!(slots.remove(id), None);
        }
    }

    proptest! {
        #[test]
        fn only_what_is_under_way_is_found(count in 1_u16..40, ids in proptest::collection::vec(any::<u16>(), 200)) {
            let mut slots = Slots::new(count);
            let mut live = Vec::new();
            for id in ids {
                if id % 3 == 0 && let Some(id) = slots.take_next(()) {
                    prop_assert!(!live.contains(&id));
                    live.push(id);
                }
                let found = slots.remove(CommandId(id)).is_some();
                prop_assert_eq!(found, live.contains(&CommandId(id)));
                live.retain(|live| live.0 != id);
                if id % 5 == 0 && let Some(id) = live.pop() {
                    prop_assert!(slots.remove(id).is_some());
                }
                prop_assert_eq!(slots.under_way(), live.len());
            }
        }
    }
}
