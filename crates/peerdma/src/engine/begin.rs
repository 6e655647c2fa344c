//! What a copy begins.
//!
//! Called by [`Copy::poll`], after it has taken what has ended.

use super::copy::{Copy, IDLE_POLLS, Phase};
use super::slot::{Part, State};
use super::{CopyEnd, Trouble};
use crate::block::{Bio, Data, Operation, SubmitError, Ticket, Volume};

/// What became of an attempt to begin an operation.
enum Begun {
    Yes(Ticket),
    /// Not now.
    Later,
    /// Never.
    No(Trouble),
}

impl Copy {
    /// Lets the destination take what the source has given.
    pub(super) fn write_what_is_filled(&mut self, destination: &mut dyn Volume) {
        for index in 0..self.slots.len() {
            if let State::Filled(part) = self.slots[index].state
                && !self.begin(CopyEnd::Destination, destination, index, part)
            {
                return;
            }
        }
    }

    /// Lets the source fill what is free.
    pub(super) fn read_what_is_next(&mut self, source: &mut dyn Volume) {
        for index in 0..self.slots.len() {
            if self.phase != Phase::Moving || self.next == self.chunks || !self.window.has_room_for(self.next)
            {
                return;
            }
            if self.slots[index].state == State::Free {
                let part = self.part(self.next);
                if !self.begin(CopyEnd::Source, source, index, part) {
                    return;
                }
                self.next += 1;
            }
        }
    }

    /// Makes what was written last.
    pub(super) fn flush(&mut self, destination: &mut dyn Volume) {
        let bio = Bio {
            operation: Operation::Flush,
            lba: 0,
            blocks: 0,
            data: Data::None,
        };
        match destination.submit(bio) {
            Ok(ticket) => {
                self.counts.under_way += 1;
                self.phase = Phase::Flushing(ticket);
            }
            Err(rejected) => match self.later_or_never(rejected.why, destination) {
                Begun::No(trouble) => {
                    self.phase = Phase::Ended;
                    self.flush_failed(trouble);
                }
                Begun::Yes(_) | Begun::Later => {}
            },
        }
    }

    fn part(&self, chunk: u64) -> Part {
        // The chunks were counted from the length, so that none begins past its end.
        let within = chunk.saturating_mul(self.chunk_bytes.into());
        let offset_bytes = self.job.resume_bytes.saturating_add(within);
        let left = self.job.len_bytes.saturating_sub(offset_bytes);
        Part {
            chunk,
            offset_bytes,
            len_bytes: u32::try_from(left).unwrap_or(u32::MAX).min(self.chunk_bytes),
        }
    }

    /// Begins an operation on a slot: is there any sense in beginning more?
    fn begin(&mut self, end: CopyEnd, volume: &mut dyn Volume, index: usize, part: Part) -> bool {
        let lba = self.lba(end, part.offset_bytes);
        let blocks = part.len_bytes / self.block_bytes(end);
        let slot = &mut self.slots[index];
        let Some(bio) = slot.bio(end, lba, blocks, part.len_bytes) else {
            return false;
        };
        let begun = match volume.submit(bio) {
            Ok(ticket) => Begun::Yes(ticket),
            Err(rejected) => {
                slot.take_back(end, rejected.bio);
                self.later_or_never(rejected.why, volume)
            }
        };
        match begun {
            Begun::Yes(ticket) => {
                self.slots[index].state = match end {
                    CopyEnd::Source => State::Reading(ticket, part),
                    CopyEnd::Destination => State::Writing(ticket, part),
                };
                self.counts.under_way += 1;
                self.idle_polls = 0;
                true
            }
            Begun::Later => false,
            Begun::No(trouble) => {
                self.fail(end, part.offset_bytes, trouble);
                false
            }
        }
    }

    fn later_or_never(&mut self, why: SubmitError, volume: &dyn Volume) -> Begun {
        if why != SubmitError::QueueFull {
            return Begun::No(Trouble::Submit(why));
        }
        if self.counts.under_way > 0 || volume.under_way() > 0 {
            return Begun::Later;
        }
        self.idle_polls += 1;
        match self.idle_polls < IDLE_POLLS {
            true => Begun::Later,
            false => Begun::No(Trouble::Stuck),
        }
    }
}
