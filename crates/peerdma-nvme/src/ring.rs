//! Rings of entries (NVM Express Base 2.0, 3.3.1): the driver's ends of a submission and a completion queue.

use crate::command::Command;
use crate::entry::{self, Origin, Tail};
use crate::memory::SharedMemory;
use peerdma::device::{DeviceError, Host};

/// A submission queue: the driver moves the tail.
#[derive(Debug)]
pub(crate) struct SubmissionRing {
    pub(crate) memory: SharedMemory,
    entries: u32,
    tail: u32,
    /// How far the doorbell has told.
    told: u32,
    /// How far the device says that it has fetched.
    head: u32,
}

/// A completion queue: the driver moves the head.
#[derive(Debug)]
pub(crate) struct CompletionRing {
    pub(crate) memory: SharedMemory,
    entries: u32,
    head: u32,
    /// How many entries were taken that the doorbell has not told of.
    untold: u32,
    /// How many of those there may be.
    spare: u32,
    /// The phase tag of an entry that has come.
    phase: u32,
}

/// The device says that it has fetched what it cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadHead;

impl SubmissionRing {
    /// A ring of `entries`, at least 2, in memory that holds them.
    pub(crate) fn new(memory: SharedMemory, entries: u32) -> Self {
        Self {
            memory,
            entries,
            tail: 0,
            told: 0,
            head: 0,
        }
    }

    pub(crate) fn entries(&self) -> u32 {
        self.entries
    }

    /// Is there no room for one more?
    pub(crate) fn is_full(&self) -> bool {
        self.distance(self.head, self.tail) + 1 >= self.entries
    }

    /// Puts an entry at the tail; the device does not know of it yet.
    ///
    /// # Errors
    /// [`DeviceError`]; the tail is where it was.
    pub(crate) fn push<H: Host>(&mut self, host: &H, bytes: &[u8; 64]) -> Result<(), DeviceError> {
        self.memory
            .write(host, u64::from(self.tail) * Command::BYTES, bytes)?;
        self.tail = (self.tail + 1) % self.entries;
        Ok(())
    }

    /// What the doorbell takes, where there are entries that it has not told of; it has once this has been called.
    pub(crate) fn tell(&mut self) -> Option<u32> {
        let is_new = self.told != self.tail;
        self.told = self.tail;
        is_new.then_some(self.tail)
    }

    /// Takes what the device says of its head.
    ///
    /// # Errors
    /// [`BadHead`] where it passes what it was told of.
    pub(crate) fn fetched(&mut self, head: u16) -> Result<(), BadHead> {
        let head = u32::from(head);
        if head >= self.entries || self.distance(self.head, head) > self.distance(self.head, self.told) {
            return Err(BadHead);
        }
        self.head = head;
        Ok(())
    }

    /// Begins anew.
    pub(crate) fn restart(&mut self) {
        (self.head, self.tail, self.told) = (0, 0, 0);
    }

    fn distance(&self, from: u32, to: u32) -> u32 {
        (to + self.entries - from) % self.entries
    }
}

impl CompletionRing {
    /// A ring of `entries`, at least 2, in memory that holds them and is zeros. `most_commands`, fewer than its entries, are under way at once.
    pub(crate) fn new(memory: SharedMemory, entries: u32, most_commands: u32) -> Self {
        Self {
            memory,
            entries,
            head: 0,
            untold: 0,
            spare: entries.saturating_sub(1).saturating_sub(most_commands),
            phase: 1,
        }
    }

    pub(crate) fn entries(&self) -> u32 {
        self.entries
    }

    /// The entry at the head, if it has come: one load.
    ///
    /// # Errors
    /// [`DeviceError`]
    pub(crate) fn peek<H: Host>(&self, host: &H) -> Result<Option<Tail>, DeviceError> {
        let tail = Tail(self.memory.load(host, self.at(12))?);
        Ok((tail.phase() == self.phase).then_some(tail))
    }

    /// More of the entry at the head, once it has come.
    ///
    /// # Errors
    /// [`DeviceError`]
    pub(crate) fn origin<H: Host>(&self, host: &H) -> Result<Origin, DeviceError> {
        self.memory.load(host, self.at(8)).map(Origin)
    }

    /// Dword 0 of the entry at the head, once it has come.
    ///
    /// # Errors
    /// [`DeviceError`]
    pub(crate) fn result<H: Host>(&self, host: &H) -> Result<u32, DeviceError> {
        self.memory.load(host, self.at(0))
    }

    /// Leaves the entry at the head.
    pub(crate) fn advance(&mut self) {
        self.untold = self.untold.saturating_add(1);
        self.head += 1;
        if self.head >= self.entries {
            self.head = 0;
            self.phase ^= 1;
        }
    }

    /// What the doorbell takes, where it has to be told now: as long as every command that is under way finds an entry, it can wait.
    pub(crate) fn tell(&mut self) -> Option<u32> {
        let is_due = self.untold > self.spare;
        if is_due {
            self.untold = 0;
        }
        is_due.then_some(self.head)
    }

    /// Begins anew: no entry of before counts.
    ///
    /// # Errors
    /// [`DeviceError`]
    pub(crate) fn restart<H: Host>(&mut self, host: &H) -> Result<(), DeviceError> {
        (self.head, self.untold, self.phase) = (0, 0, 1);
        self.memory.clear(host)
    }

    fn at(&self, dword_bytes: u64) -> u64 {
        u64::from(self.head) * entry::BYTES + dword_bytes
    }
}
