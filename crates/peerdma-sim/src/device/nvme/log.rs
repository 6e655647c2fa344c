//! Log pages (NVM Express Base 5.16.1): errors, SMART / health, firmware slots.

use super::status::Status;
use std::collections::VecDeque;

/// What went wrong, newest first.
#[derive(Debug, Default)]
pub(super) struct ErrorLog {
    entries: VecDeque<ErrorEntry>,
    count: u64,
}

/// An entry of the error log.
#[derive(Debug, Clone, Copy)]
pub(super) struct ErrorEntry {
    /// The submission queue, ffffh where it is about none.
    pub(super) queue: u16,
    /// The command, ffffh where it is about none.
    pub(super) command: u16,
    pub(super) status: Status,
    /// The first block, where it is about one.
    pub(super) block: u64,
    pub(super) namespace: u32,
}

impl ErrorLog {
    /// How many entries are kept: ELPE is one less.
    pub(super) const MOST: usize = 64;
    const ENTRY_BYTES: usize = 64;

    pub(super) fn add(&mut self, entry: ErrorEntry) {
        self.count += 1;
        self.entries.truncate(Self::MOST - 1);
        self.entries.push_front(entry);
    }

    /// How many there ever were.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn page(&self) -> Vec<u8> {
        let mut page = vec![0; Self::MOST * Self::ENTRY_BYTES];
        for (age, (entry, bytes)) in self
            .entries
            .iter()
            .zip(page.chunks_exact_mut(Self::ENTRY_BYTES))
            .enumerate()
        {
            put(bytes, 0, &(self.count - age as u64).to_le_bytes());
            put(bytes, 8, &entry.queue.to_le_bytes());
            put(bytes, 10, &entry.command.to_le_bytes());
            put(bytes, 12, &(entry.status.bits() << 1).to_le_bytes());
            // No single bit of the command is named.
            put(bytes, 14, &0xffff_u16.to_le_bytes());
            put(bytes, 16, &entry.block.to_le_bytes());
            put(bytes, 24, &entry.namespace.to_le_bytes());
        }
        page
    }
}

/// What SMART counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) read_bytes: u64,
    pub(super) written_bytes: u64,
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) media_errors: u64,
}

/// The composite temperature, in Kelvin. It is always the same.
const TEMPERATURE_K: u16 = 310;

/// SMART / health information.
pub(super) fn smart(counts: &Counts, errors: u64, now_hours: u64) -> Vec<u8> {
    // Thousands of 512 bytes, rounded up.
    let units = |bytes: u64| bytes.div_ceil(512_000);
    let mut page = vec![0; 512];
    put(&mut page, 1, &TEMPERATURE_K.to_le_bytes());
    // Spare blocks in percent, and the threshold.
    put(&mut page, 3, &[100, 10]);
    put(&mut page, 32, &units(counts.read_bytes).to_le_bytes());
    put(&mut page, 48, &units(counts.written_bytes).to_le_bytes());
    put(&mut page, 64, &counts.reads.to_le_bytes());
    put(&mut page, 80, &counts.writes.to_le_bytes());
    put(&mut page, 112, &1_u64.to_le_bytes());
    put(&mut page, 128, &now_hours.to_le_bytes());
    put(&mut page, 160, &counts.media_errors.to_le_bytes());
    put(&mut page, 176, &errors.to_le_bytes());
    page
}

/// Firmware slots: one, which is active.
pub(super) fn firmware_slots(revision: &[u8; 8]) -> Vec<u8> {
    let mut page = vec![0; 512];
    put(&mut page, 0, &[1]);
    put(&mut page, 8, revision);
    page
}

/// Puts `from` into `page` at `offset`, as far as it fits.
pub(super) fn put(page: &mut [u8], offset: usize, from: &[u8]) {
    if let Some(place) = page.get_mut(offset..offset + from.len()) {
        place.copy_from_slice(from);
    }
}
