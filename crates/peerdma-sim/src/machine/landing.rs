//! Data on its way to memory: what was sent and has not arrived. It lands in the order of arrival before anyone looks.

use crate::memory::{Banks, MemoryError, Place};
use std::collections::VecDeque;

/// Bytes of TLPs under way; buffers are used again.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    buffers: Vec<Vec<u8>>,
    free: Vec<u32>,
}

impl Buffers {
    /// A buffer of so many zeros.
    pub(super) fn take(&mut self, len_bytes: usize) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.buffers.push(Vec::new());
            self.buffers.len() as u32 - 1
        });
        // What it held before is overwritten by whoever takes it, if it is long enough.
        self.buffers[index as usize].resize(len_bytes, 0);
        index
    }

    pub(super) fn release(&mut self, index: u32) {
        self.free.push(index);
    }

    pub(super) fn get(&self, index: u32) -> &[u8] {
        &self.buffers[index as usize]
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut [u8] {
        &mut self.buffers[index as usize]
    }

    /// Takes the bytes out; [`Self::restore`] or [`Self::put_back`] gives them back.
    pub(super) fn lend(&mut self, index: u32) -> Vec<u8> {
        std::mem::take(&mut self.buffers[index as usize])
    }

    pub(super) fn restore(&mut self, index: u32, bytes: Vec<u8>) {
        self.buffers[index as usize] = bytes;
    }

    /// Gives the bytes back, and releases the buffer.
    pub(super) fn put_back(&mut self, index: u32, bytes: Vec<u8>) {
        self.buffers[index as usize] = bytes;
        self.free.push(index);
    }
}

#[derive(Debug, Clone, Copy)]
struct Landing {
    ps: u64,
    place: Place,
    buffer: u32,
    len_bytes: u32,
    /// The function whose memory it is; nobody's is RAM.
    owner: u32,
}

/// A range of a bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) place: Place,
    pub(super) len_bytes: u64,
}

impl Stretch {
    pub(super) fn overlaps(self, other: Self) -> bool {
        let end = |stretch: Self| stretch.place.offset.saturating_add(stretch.len_bytes);
        self.place.bank == other.place.bank
            && self.place.offset < end(other)
            && other.place.offset < end(self)
    }
}

/// All data on its way to memory.
#[derive(Debug, Default)]
pub(super) struct Landings {
    /// In the order of arrival; of one time, in the order in which they were sent. What is sent later mostly arrives
    /// later, so that the place of a new one is near the end.
    coming: VecDeque<Landing>,
    /// Writes that memory refused, to be told by the machine.
    pub(super) refused: u64,
    pub(super) last_refusal: Option<MemoryError>,
}

impl Landings {
    /// The owner of RAM.
    pub(super) const NOBODY: u32 = u32::MAX;

    /// The bytes in a buffer arrive at a place.
    pub(super) fn push(&mut self, ps: u64, place: Place, buffer: u32, len_bytes: u32, owner: u32) {
        let landing = Landing {
            ps,
            place,
            buffer,
            len_bytes,
            owner,
        };
        match self.coming.back() {
            Some(last) if last.ps > ps => {
                let after = self.coming.partition_point(|other| other.ps <= ps);
                self.coming.insert(after, landing);
            }
            _ => self.coming.push_back(landing),
        }
    }

    /// When the next arrives.
    pub(super) fn next_ps(&self) -> Option<u64> {
        self.coming.front().map(|landing| landing.ps)
    }

    /// When the last arrives.
    pub(super) fn last_ps(&self) -> Option<u64> {
        self.coming.back().map(|landing| landing.ps)
    }

    /// Lands what has arrived by then.
    pub(super) fn land(&mut self, until_ps: u64, banks: &mut Banks, buffers: &mut Buffers) {
        while let Some(landing) = self.coming.front().copied() {
            if landing.ps > until_ps {
                break;
            }
            self.coming.pop_front();
            let bytes = &buffers.get(landing.buffer)[..landing.len_bytes as usize];
            if let Err(error) = banks.write(landing.place, bytes) {
                self.refuse(error);
            }
            buffers.release(landing.buffer);
        }
    }

    pub(super) fn refuse(&mut self, error: MemoryError) {
        self.refused += 1;
        self.last_refusal = Some(error);
    }

    /// The memory of a function is gone: what was on its way there arrives nowhere.
    pub(super) fn forget(&mut self, owner: u32, buffers: &mut Buffers) {
        self.coming.retain(|landing| {
            let is_kept = landing.owner != owner;
            if !is_kept {
                buffers.release(landing.buffer);
            }
            is_kept
        });
    }

    /// When the last arrives that touches one of these.
    pub(super) fn last_touching_ps(&self, one: Stretch, other: Stretch) -> Option<u64> {
        let touches = |landing: &Landing| {
            let stretch = Stretch {
                place: landing.place,
                len_bytes: landing.len_bytes.into(),
            };
            stretch.overlaps(one) || stretch.overlaps(other)
        };
        let last = self.coming.iter().rev().find(|landing| touches(landing));
        last.map(|landing| landing.ps)
    }
}
