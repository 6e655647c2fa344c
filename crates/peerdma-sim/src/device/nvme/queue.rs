//! Rings of entries (NVM Express Base 3.3.1): who may add, who may take, and how full they are.

use super::cmb::QueueMemory;
use std::collections::VecDeque;

/// A submission queue: software moves the tail, the controller the head.
#[derive(Debug)]
pub(super) struct SubmissionQueue {
    pub(super) memory: QueueMemory,
    pub(super) entries: u64,
    /// Where its completions go.
    pub(super) completion: u16,
    pub(super) head: u64,
    pub(super) tail: u64,
    /// Entries from the head on that are being fetched.
    pub(super) fetching: u64,
    /// Commands that were fetched, and whose completion entries have not left.
    pub(super) underway: u32,
    /// The slot of the Delete command that waits for the commands under way.
    pub(super) deleted_by: Option<usize>,
}

/// A doorbell was rung with a value that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadValue;

impl SubmissionQueue {
    pub(super) fn new(memory: QueueMemory, entries: u64, completion: u16) -> Self {
        Self {
            memory,
            entries,
            completion,
            head: 0,
            tail: 0,
            fetching: 0,
            underway: 0,
            deleted_by: None,
        }
    }

    /// How many entries wait to be fetched.
    pub(super) fn waiting(&self) -> u64 {
        distance(self.head, self.tail, self.entries)
    }

    /// How many of those lie in one piece.
    pub(super) fn waiting_in_a_row(&self) -> u64 {
        self.waiting().min(self.entries - self.head)
    }

    /// Takes a new tail.
    ///
    /// # Errors
    /// [`BadValue`] where it is none of the queue's entries, is what was written before, or fills a full queue.
    pub(super) fn ring(&mut self, tail: u64) -> Result<(), BadValue> {
        let room = self.entries - 1 - self.waiting();
        if tail >= self.entries {
            return Err(BadValue);
        }
        match distance(self.tail, tail, self.entries) {
            added if added >= 1 && added <= room => {
                self.tail = tail;
                Ok(())
            }
            _ => Err(BadValue),
        }
    }

    /// Takes `count` entries from the head.
    pub(super) fn take(&mut self, count: u64) {
        self.head = (self.head + count) % self.entries;
    }
}

/// A completion queue: the controller moves the tail, software the head.
#[derive(Debug)]
pub(super) struct CompletionQueue {
    pub(super) memory: QueueMemory,
    pub(super) entries: u64,
    /// The vector that it raises, if any.
    pub(super) vector: Option<u16>,
    pub(super) head: u64,
    pub(super) tail: u64,
    /// The phase tag of the next entry.
    pub(super) phase: u8,
    /// Commands whose entries will come here.
    pub(super) promised: u64,
    /// Slots whose entries wait for room.
    pub(super) waiting: VecDeque<usize>,
}

impl CompletionQueue {
    /// Bytes of an entry: 2 to the power of this.
    pub(super) const ENTRY_LOG2: u8 = 4;
    /// Bytes of an entry.
    pub(super) const ENTRY_BYTES: u64 = 1 << Self::ENTRY_LOG2;

    pub(super) fn new(memory: QueueMemory, entries: u64, vector: Option<u16>) -> Self {
        Self {
            memory,
            entries,
            vector,
            head: 0,
            tail: 0,
            phase: 1,
            promised: 0,
            waiting: VecDeque::new(),
        }
    }

    /// How many entries software has not taken.
    pub(super) fn unread(&self) -> u64 {
        distance(self.head, self.tail, self.entries)
    }

    /// How many entries may be written now.
    pub(super) fn room(&self) -> u64 {
        self.entries - 1 - self.unread()
    }

    /// How many more commands may be begun, so that every one will find room.
    pub(super) fn unpromised(&self) -> u64 {
        self.room().saturating_sub(self.promised)
    }

    /// Takes a new head.
    ///
    /// # Errors
    /// [`BadValue`] where it is none of the queue's entries, is what was written before, or takes what is not there.
    pub(super) fn ring(&mut self, head: u64) -> Result<(), BadValue> {
        if head >= self.entries {
            return Err(BadValue);
        }
        match distance(self.head, head, self.entries) {
            taken if taken >= 1 && taken <= self.unread() => {
                self.head = head;
                Ok(())
            }
            _ => Err(BadValue),
        }
    }

    /// The next place for an entry and its phase; moves on. There must be room.
    pub(super) fn advance(&mut self) -> (u64, u8) {
        let now = (self.tail, self.phase);
        self.tail = (self.tail + 1) % self.entries;
        if self.tail == 0 {
            self.phase ^= 1;
        }
        now
    }
}

fn distance(from: u64, to: u64, entries: u64) -> u64 {
    (to + entries - from) % entries
}
