//! Memory of every kind, in banks: host RAM, BAR memory, media of an SSD.
//!
//! A bank has a size that nobody pays for: chunks come into being when they are first written, and what was never
//! written reads as zeros. All banks together hold at most as many bytes as they are allowed to.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

mod written;

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
    /// How often memory was asked for.
    asked: u64,
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

impl Banks {
    /// Bytes that come into being together.
    const CHUNK_BYTES: u64 = 64 << 10;
    /// What a machine may hold where nobody says otherwise.
    pub const DEFAULT_BUDGET_BYTES: u64 = 4 << 30;

    /// No banks yet, which together may hold `budget_bytes`.
    pub fn new(budget_bytes: u64) -> Self {
        Self {
            banks: Vec::new(),
            held_bytes: 0,
            budget_bytes,
            asked: 0,
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
        self.check(at, from.len() as u64)?;
        let mut offset = at.offset;
        let mut rest = from;
        while !rest.is_empty() {
            let within = (offset % Self::CHUNK_BYTES) as usize;
            let count = rest.len().min(Self::CHUNK_BYTES as usize - within);
            let (now, later) = rest.split_at(count);
            self.chunk(at.bank, offset / Self::CHUNK_BYTES)?[within..within + count].copy_from_slice(now);
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
                self.chunk(to.bank, to_chunk)?
                    .copy_within(start..start + count, range.start);
            } else {
                // The source steps aside, so that both can be held at once.
                let source = self.banks[from.bank.0 as usize].chunks.remove(&from_chunk);
                let copied = self.chunk(to.bank, to_chunk).map(|chunk| match &source {
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

    fn chunk(&mut self, bank: BankId, index: u64) -> Result<&mut [u8], MemoryError> {
        use std::collections::hash_map::Entry;
        let budget_bytes = self.budget_bytes;
        let bank = &mut self.banks[bank.0 as usize];
        match bank.chunks.entry(index) {
            Entry::Occupied(chunk) => Ok(chunk.into_mut()),
            Entry::Vacant(_) if self.held_bytes.saturating_add(Self::CHUNK_BYTES) > budget_bytes => {
                Err(MemoryError::Budget { budget_bytes })
            }
            Entry::Vacant(place) => {
                self.asked += 1;
                if self.forbidden.contains(&self.asked) {
                    return Err(MemoryError::Forbidden);
                }
                self.held_bytes += Self::CHUNK_BYTES;
                Ok(place.insert(vec![0; Self::CHUNK_BYTES as usize].into_boxed_slice()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_across_chunks_and_the_rest_is_zero() {
        let mut banks = Banks::new(1 << 20);
        let bank = banks.add(u64::MAX);
        let at = Place {
            bank,
            offset: 3 * Banks::CHUNK_BYTES - 2,
        };
        banks.write(at, &[1, 2, 3, 4]).unwrap();
        let mut found = [9; 6];
        banks
            .read(
                Place {
                    offset: at.offset - 1,
                    ..at
                },
                &mut found,
            )
            .unwrap();
        assert_eq!(found, [0, 1, 2, 3, 4, 0]);
    }

    #[test]
    fn what_was_cleared_is_zero_costs_nothing_and_its_neighbours_stay() {
        let mut banks = Banks::new(4 * Banks::CHUNK_BYTES);
        let bank = banks.add(1 << 40);
        let place = |offset| Place { bank, offset };
        for round in 0..8 {
            banks
                .write(place(round), &vec![7; 4 * Banks::CHUNK_BYTES as usize - 16])
                .unwrap();
            banks.clear(place(round + 2), 1 << 39).unwrap();
            let mut found = [9; 4];
            banks.read(place(round), &mut found).unwrap();
            assert_eq!(found, [7, 7, 0, 0]);
        }
        assert_eq!(banks.held_bytes, Banks::CHUNK_BYTES);
        banks.write(place(100), &[5; 100]).unwrap();
        banks.clear(place(110), 20).unwrap();
        let mut found = [0; 100];
        banks.read(place(100), &mut found).unwrap();
        assert!(found[10..30].iter().all(|&byte| byte == 0) && found[9] == 5 && found[30] == 5);
        assert!(banks.clear(place(1 << 40), 1).is_err());
    }

    #[test]
    fn no_bank_is_left_and_no_budget_is_exceeded() {
        let mut banks = Banks::new(Banks::CHUNK_BYTES);
        let bank = banks.add(4 * Banks::CHUNK_BYTES);
        let place = |offset| Place { bank, offset };
        assert!(matches!(
            banks.write(place(4 * Banks::CHUNK_BYTES - 1), &[0; 2]),
            Err(MemoryError::OutOfBank { .. })
        ));
        assert!(matches!(
            banks.read(place(u64::MAX), &mut [0; 2]),
            Err(MemoryError::OutOfBank { .. })
        ));
        banks.write(place(0), &[1]).unwrap();
        assert!(matches!(
            banks.write(place(Banks::CHUNK_BYTES), &[1]),
            Err(MemoryError::Budget { .. })
        ));
    }

    proptest::proptest! {
        #[test]
        fn a_copy_is_what_reading_and_then_writing_gives(
            from in 0..200_000u64, to in 0..200_000u64, len in 0..150_000u64, is_same in proptest::bool::ANY, seed in 0..255u8,
        ) {
            let overlap = is_same && from < to + len && to < from + len;
            proptest::prop_assume!(!overlap);
            let fill: Vec<u8> = (0..150_000u32).map(|index| (index / 7) as u8 ^ seed).collect();
            let run = |copies: bool| {
                let mut banks = Banks::new(1 << 24);
                let ids = [banks.add(400_000), banks.add(400_000)];
                let at = |bank: usize, offset| Place { bank: ids[bank], offset };
                banks.write(at(0, from), &fill).unwrap();
                let target = usize::from(!is_same);
                if copies {
                    banks.copy(at(0, from), at(target, to), len).unwrap();
                } else {
                    let mut data = vec![0; len as usize];
                    banks.read(at(0, from), &mut data).unwrap();
                    banks.write(at(target, to), &data).unwrap();
                }
                let mut found = vec![0; 800_000];
                let (one, other) = found.split_at_mut(400_000);
                banks.read(at(0, 0), one).unwrap();
                banks.read(at(1, 0), other).unwrap();
                (found, banks.held_bytes)
            };
            proptest::prop_assert!(run(true) == run(false));
        }
    }
}
