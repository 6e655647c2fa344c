//! Memory of every kind, in banks: host RAM, BAR memory, media of an SSD.
//!
//! A bank has a size that nobody pays for: chunks come into being when they are first written, and what was never
//! written reads as zeros. All banks together hold at most as many bytes as they are allowed to.

#[cfg(test)]
mod tests;
mod written;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// One bank of a [`Banks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BankId(u32);

impl BankId {
    /// No bank of any [`Banks`].
    pub(crate) const NONE: Self = Self(u32::MAX);
}

/// A place in a bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The bank.
    pub bank: BankId,
    /// Bytes from its start.
    pub offset: u64,
}

/// Why memory could not be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The range leaves the bank.
    #[error("{len} bytes at {offset:#x} leave a bank of {size_bytes:#x} bytes")]
    OutOfBank {
        /// Where the range starts.
        offset: u64,
        /// How many bytes it has.
        len: u64,
        /// How many bytes the bank has.
        size_bytes: u64,
    },
    /// All banks together would hold more than they may.
    #[error(
        "the simulated machine has written to more than {budget_bytes} bytes of memory, which is all that it may hold"
    )]
    Budget {
        /// How many bytes they may hold.
        budget_bytes: u64,
    },
    /// A fault plan forbids this memory to come into being.
    #[error("memory could not be had for what was written for the first time, as the fault plan says")]
    Forbidden,
}

/// All memory of a machine.
#[derive(Debug)]
pub struct Banks {
    banks: Vec<Bank>,
    held_bytes: u64,
    budget_bytes: u64,
    /// How often the machine asked for memory.
    asked: u64,
    /// What was there before the machine wrote to it, where that matters; each with its chunk.
    prepared: HashSet<(BankId, u64)>,
    /// Which of those times it is not had, counted from 1.
    forbidden: Vec<u64>,
}

#[derive(Debug)]
struct Bank {
    size_bytes: u64,
    chunks: HashMap<u64, Box<[u8]>, BuildHasherDefault<Spread>>,
}

/// Spreads the numbers of chunks, which nobody hostile chooses: a multiplication does.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte) ^ self.0);
        }
    }

    fn write_u64(&mut self, number: u64) {
        let product = u128::from(number ^ 0x517c_c1b7_2722_0a95) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// Whoever sets the scene.
    Preparation,
    /// The machine.
    Machine,
}

impl Banks {
    /// Bytes that come into being together.
    pub(crate) const CHUNK_BYTES: u64 = 64 << 10;
    /// What a machine may hold where nobody says otherwise.
    pub const DEFAULT_BUDGET_BYTES: u64 = 4 << 30;

    /// No banks yet, which together may hold `budget_bytes`.
    pub fn new(budget_bytes: u64) -> Self {
        Self {
            banks: Vec::new(),
            held_bytes: 0,
            budget_bytes,
            asked: 0,
            prepared: HashSet::new(),
            forbidden: Vec::new(),
        }
    }

    /// A new bank of zeros.
    pub fn add(&mut self, size_bytes: u64) -> BankId {
        let id = BankId(self.banks.len() as u32);
        self.banks.push(Bank {
            size_bytes,
            chunks: HashMap::default(),
        });
        id
    }

    /// How many bytes a bank has; 0 for a bank of other [`Banks`].
    pub fn size_bytes(&self, bank: BankId) -> u64 {
        self.banks.get(bank.0 as usize).map_or(0, |bank| bank.size_bytes)
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBank`]; nothing is read then.
    pub fn read(&self, at: Place, into: &mut [u8]) -> Result<(), MemoryError> {
        let bank = self.check(at, into.len() as u64)?;
        let mut offset = at.offset;
        let mut rest = into;
        while !rest.is_empty() {
            let within = (offset % Self::CHUNK_BYTES) as usize;
            let count = rest.len().min(Self::CHUNK_BYTES as usize - within);
            let (now, later) = rest.split_at_mut(count);
            match bank.chunks.get(&(offset / Self::CHUNK_BYTES)) {
                Some(chunk) => now.copy_from_slice(&chunk[within..within + count]),
                None => now.fill(0),
            }
            offset += count as u64;
            rest = later;
        }
        Ok(())
    }

    /// Writes.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBank`]; nothing is written then. [`MemoryError::Budget`] where no more memory may come
    /// into being; a part may be written then.
    pub fn write(&mut self, at: Place, from: &[u8]) -> Result<(), MemoryError> {
        self.write_as(Writer::Machine, at, from)
    }

    /// Writes what shall be there before the machine does anything: faults of memory do not count it, and what the
    /// machine writes there first is still what it writes first.
    ///
    /// # Errors
    /// As [`Self::write`], but never [`MemoryError::Forbidden`].
    pub(crate) fn prepare(&mut self, at: Place, from: &[u8]) -> Result<(), MemoryError> {
        self.write_as(Writer::Preparation, at, from)
    }

    /// How many bytes may still come into being.
    pub(crate) fn room_bytes(&self) -> u64 {
        self.budget_bytes.saturating_sub(self.held_bytes)
    }

    /// How many bytes may be in being.
    pub(crate) fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }

    fn write_as(&mut self, writer: Writer, at: Place, from: &[u8]) -> Result<(), MemoryError> {
        self.check(at, from.len() as u64)?;
        let mut offset = at.offset;
        let mut rest = from;
        while !rest.is_empty() {
            let within = (offset % Self::CHUNK_BYTES) as usize;
            let count = rest.len().min(Self::CHUNK_BYTES as usize - within);
            let (now, later) = rest.split_at(count);
            self.chunk(writer, at.bank, offset / Self::CHUNK_BYTES)?[within..within + count]
                .copy_from_slice(now);
            offset += count as u64;
            rest = later;
        }
        Ok(())
    }

    /// Makes zeros of a range, and gives back the memory of the chunks that lie in it as a whole. The time it takes goes
    /// by what was ever written, not by the length.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBank`]; nothing is changed then.
    pub fn clear(&mut self, at: Place, len: u64) -> Result<(), MemoryError> {
        self.check(at, len)?;
        let end = at.offset + len;
        let first = at.offset / Self::CHUNK_BYTES;
        let bank = &mut self.banks[at.bank.0 as usize];
        let touched: Vec<u64> = if len / Self::CHUNK_BYTES < bank.chunks.len() as u64 {
            (first..end.div_ceil(Self::CHUNK_BYTES))
                .filter(|index| bank.chunks.contains_key(index))
                .collect()
        } else {
            let within = first..end.div_ceil(Self::CHUNK_BYTES);
            bank.chunks
                .keys()
                .copied()
                .filter(|index| within.contains(index))
                .collect()
        };
        for index in touched {
            let start = index * Self::CHUNK_BYTES;
            let from = at.offset.saturating_sub(start).min(Self::CHUNK_BYTES) as usize;
            let to = (end - start).min(Self::CHUNK_BYTES) as usize;
            if from == 0 && to == Self::CHUNK_BYTES as usize {
                bank.chunks.remove(&index);
                self.held_bytes -= Self::CHUNK_BYTES;
            } else if let Some(chunk) = bank.chunks.get_mut(&index) {
                chunk[from..to].fill(0);
            }
        }
        Ok(())
    }

    /// Copies from bank to bank, as if all were read before anything is written where the two do not overlap. What
    /// is copied to comes into being, as if it were written.
    ///
    /// # Errors
    /// As [`Self::read`] and [`Self::write`].
    pub fn copy(&mut self, from: Place, to: Place, len_bytes: u64) -> Result<(), MemoryError> {
        self.check(from, len_bytes)?;
        self.check(to, len_bytes)?;
        let mut done = 0;
        while done < len_bytes {
            let (from_offset, to_offset) = (from.offset + done, to.offset + done);
            let within = |offset: u64| (offset % Self::CHUNK_BYTES) as usize;
            let most = Self::CHUNK_BYTES as usize - within(from_offset).max(within(to_offset));
            let count = (len_bytes - done).min(most as u64) as usize;
            let (from_chunk, to_chunk) = (from_offset / Self::CHUNK_BYTES, to_offset / Self::CHUNK_BYTES);
            let range = within(to_offset)..within(to_offset) + count;
            if from.bank == to.bank && from_chunk == to_chunk {
                let start = within(from_offset);
                self.chunk(Writer::Machine, to.bank, to_chunk)?
                    .copy_within(start..start + count, range.start);
            } else {
                // The source steps aside, so that both can be held at once.
                let source = self.banks[from.bank.0 as usize].chunks.remove(&from_chunk);
                let copied = self
                    .chunk(Writer::Machine, to.bank, to_chunk)
                    .map(|chunk| match &source {
                        Some(source) => chunk[range].copy_from_slice(&source[within(from_offset)..][..count]),
                        None => chunk[range].fill(0),
                    });
                if let Some(source) = source {
                    self.banks[from.bank.0 as usize].chunks.insert(from_chunk, source);
                }
                copied?;
            }
            done += count as u64;
        }
        Ok(())
    }

    /// Lets memory not come into being these times, counted from 1.
    pub(crate) fn fail_allocations(&mut self, times: Vec<u64>) {
        self.forbidden = times;
    }

    fn check(&self, at: Place, len: u64) -> Result<&Bank, MemoryError> {
        let out = |size_bytes| MemoryError::OutOfBank {
            offset: at.offset,
            len,
            size_bytes,
        };
        let bank = self.banks.get(at.bank.0 as usize).ok_or(out(0))?;
        match at.offset.checked_add(len) {
            Some(end) if end <= bank.size_bytes => Ok(bank),
            _ => Err(out(bank.size_bytes)),
        }
    }

    fn chunk(&mut self, writer: Writer, bank: BankId, index: u64) -> Result<&mut [u8], MemoryError> {
        use std::collections::hash_map::Entry;
        let budget_bytes = self.budget_bytes;
        let key = (bank, index);
        let bank = &mut self.banks[bank.0 as usize];
        match bank.chunks.entry(index) {
            Entry::Occupied(chunk) => {
                let is_first =
                    writer == Writer::Machine && !self.prepared.is_empty() && self.prepared.contains(&key);
                if is_first {
                    self.asked += 1;
                    if self.forbidden.contains(&self.asked) {
                        return Err(MemoryError::Forbidden);
                    }
                    self.prepared.remove(&key);
                }
                Ok(chunk.into_mut())
            }
            Entry::Vacant(_) if self.held_bytes.saturating_add(Self::CHUNK_BYTES) > budget_bytes => {
                Err(MemoryError::Budget { budget_bytes })
            }
            Entry::Vacant(place) => {
                if writer == Writer::Machine {
                    self.asked += 1;
                    if self.forbidden.contains(&self.asked) {
                        return Err(MemoryError::Forbidden);
                    }
                    self.prepared.remove(&key);
                } else if !self.forbidden.is_empty() {
                    self.prepared.insert(key);
                }
                self.held_bytes += Self::CHUNK_BYTES;
                Ok(place.insert(vec![0; Self::CHUNK_BYTES as usize].into_boxed_slice()))
            }
        }
    }
}
