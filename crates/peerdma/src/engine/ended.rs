//! What becomes of a copy when operations end.
//!
//! Called by [`Copy::poll`], before it begins anything new.

use super::copy::{Copy, Phase};
use super::slot::{Slot, State};
use super::{CopyEnd, Trouble};
use crate::block::{CommandError, Done, Operation, Volume};

impl Copy {
    pub(super) fn take_from(&mut self, end: CopyEnd, volume: &mut dyn Volume) {
        let polled = volume.poll(&mut |done| self.ended(end, done));
        match polled {
            Err(why) => self.volume_failed(end, Trouble::Volume(why)),
            // It forgot one: waiting for it would be waiting for ever.
            Ok(()) if volume.under_way() == 0 && self.has_under_way(end) => {
                self.volume_failed(end, Trouble::Lost);
            }
            Ok(()) => {}
        }
    }

    fn has_under_way(&self, end: CopyEnd) -> bool {
        let flushing = end == CopyEnd::Destination && matches!(self.phase, Phase::Flushing(_));
        flushing || self.slots.iter().any(|slot| slot.is_with(end).is_some())
    }

    /// An operation has ended.
    fn ended(&mut self, end: CopyEnd, done: Done) {
        let flush = self.phase == Phase::Flushing(done.ticket) && end == CopyEnd::Destination;
        if flush && done.bio.operation == Operation::Flush {
            return self.flushed(done.result);
        }
        let is_it = |slot: &Slot| slot.is_with(end).is_some_and(|(ticket, _)| ticket == done.ticket);
        let Some(index) = self.slots.iter().position(is_it) else {
            self.foreign.push(done);
            return;
        };
        let slot = &mut self.slots[index];
        let Some((_, part)) = slot.is_with(end) else {
            return;
        };
        slot.take_back(end, done.bio);
        slot.state = State::Free;
        self.counts.under_way -= 1;
        if let Err(why) = done.result {
            return self.fail(end, part.offset_bytes, Trouble::Command(why));
        }
        match end {
            CopyEnd::Source => {
                self.counts.read_bytes += u64::from(part.len_bytes);
                if self.phase == Phase::Moving {
                    self.slots[index].state = State::Filled(part);
                }
            }
            CopyEnd::Destination => {
                self.counts.written_bytes += u64::from(part.len_bytes);
                self.window.done(part.chunk);
                let proven = self.window.first().saturating_mul(self.chunk_bytes.into());
                let proven = self.job.resume_bytes.saturating_add(proven);
                self.counts.proven_bytes = proven.min(self.job.len_bytes);
            }
        }
    }

    fn flushed(&mut self, result: Result<(), CommandError>) {
        self.counts.under_way -= 1;
        self.phase = Phase::Ended;
        match result {
            Ok(()) => self.counts.durable_bytes = self.counts.proven_bytes,
            Err(why) => self.flush_failed(Trouble::Command(why)),
        }
    }

    /// A volume as a whole has failed: what it has not given back will never come.
    fn volume_failed(&mut self, end: CopyEnd, trouble: Trouble) {
        if end == CopyEnd::Destination {
            self.can_flush = false;
        }
        let mut first = None;
        for slot in &mut self.slots {
            if let Some((_, part)) = slot.is_with(end) {
                slot.state = State::Lost;
                self.counts.under_way -= 1;
                self.counts.lost += 1;
                first = Some(first.unwrap_or(part.offset_bytes).min(part.offset_bytes));
            }
        }
        if end == CopyEnd::Destination && matches!(self.phase, Phase::Flushing(_)) {
            self.counts.under_way -= 1;
            self.counts.lost += 1;
        }
        match self.phase {
            Phase::Flushing(_) | Phase::FlushDue if end == CopyEnd::Source => {}
            Phase::Flushing(_) | Phase::FlushDue => {
                self.phase = Phase::Ended;
                self.flush_failed(trouble);
            }
            // Its operations came back with errors of their own, which say more.
            Phase::Draining if first.is_none() && self.failure.is_some() => {}
            _ => self.fail(end, first.unwrap_or(self.counts.proven_bytes), trouble),
        }
    }
}
