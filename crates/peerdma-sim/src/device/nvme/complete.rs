//! The end of a command: completion entries and interrupts (NVM Express Base 3.3.3.2, 4.2).

use super::cmb::Spot;
use super::log::ErrorEntry;
use super::queue::CompletionQueue;
use super::status::Status;
use super::work::{Stage, Works};
use super::{Controller, Purpose};
use crate::device::{Direction, Outcome, Wire};

impl Controller {
    /// Ends a command.
    pub(super) fn complete(&mut self, slot: usize, status: Status, dword0: u32, wire: &mut dyn Wire) {
        let Some(work) = self.works.get_mut(slot) else {
            return;
        };
        let (command, queue) = (work.command, work.queue);
        let job = work.job.take();
        (work.status, work.dword0) = (status, dword0);
        if !status.is_success() {
            work.status = status.with_more();
            let on_blocks = queue != 0;
            self.errors.add(ErrorEntry {
                queue,
                command: command.id(),
                status,
                block: if on_blocks { command.qword(10) } else { 0 },
                namespace: command.namespace(),
            });
        }
        if let Some(bytes @ 1..) = job.as_ref().map(|job| job.staged_bytes) {
            // Its stage is its own, and large enough.
            let _ = wire.banks().clear(Works::stage(self.scratch, slot), bytes);
        }
        self.post(slot, wire);
        if job.is_some_and(|job| job.touches.is_some()) {
            for slot in self.works.blocked() {
                self.unblock(slot, wire);
            }
        }
    }

    /// A completion queue has room again.
    pub(super) fn write_waiting_entries(&mut self, number: usize, wire: &mut dyn Wire) {
        loop {
            let queue = self.completion.get_mut(number).and_then(Option::as_mut);
            let Some(queue) = queue.filter(|queue| queue.room() > 0) else {
                return;
            };
            let Some(slot) = queue.waiting.pop_front() else {
                return;
            };
            self.post(slot, wire);
        }
    }

    /// A completion entry has left.
    pub(super) fn posted(&mut self, slot: usize, outcome: Outcome, wire: &mut dyn Wire) {
        if outcome != Outcome::Done {
            return self.die();
        }
        let Some(work) = self.works.remove(slot) else {
            return;
        };
        let Some(queue) = self
            .submission
            .get_mut(usize::from(work.queue))
            .and_then(Option::as_mut)
        else {
            return;
        };
        queue.underway = queue.underway.saturating_sub(1);
        let completion = self
            .completion
            .get(usize::from(queue.completion))
            .and_then(Option::as_ref);
        if let Some(vector) = completion.and_then(|queue| queue.vector) {
            self.interrupt(vector, wire);
        }
        self.finish_deletion(work.queue, wire);
    }

    /// Bits of INTMC were written: what was held back is raised if there still is something to read.
    pub(super) fn unmask(&mut self, bits: u32, wire: &mut dyn Wire) {
        self.registers.mask &= !bits;
        let due = self.suppressed & bits;
        self.suppressed &= !bits;
        for vector in (0..32_u16).filter(|vector| due >> vector & 1 != 0) {
            let unread = |queue: &CompletionQueue| queue.vector == Some(vector) && queue.unread() > 0;
            if self.completion.iter().flatten().any(unread) {
                wire.interrupt(vector);
            }
        }
    }

    fn interrupt(&mut self, vector: u16, wire: &mut dyn Wire) {
        match 1_u32.checked_shl(u32::from(vector)) {
            Some(bit) if self.registers.mask & bit != 0 => self.suppressed |= bit,
            _ => wire.interrupt(vector),
        }
    }

    /// Writes the completion entry, or has it wait for room.
    fn post(&mut self, slot: usize, wire: &mut dyn Wire) {
        let Some(work) = self.works.get_mut(slot) else {
            return;
        };
        let Some(submission) = self
            .submission
            .get(usize::from(work.queue))
            .and_then(Option::as_ref)
        else {
            return;
        };
        let queue = self
            .completion
            .get_mut(usize::from(submission.completion))
            .and_then(Option::as_mut);
        let Some(queue) = queue else { return };
        if queue.room() == 0 {
            work.stage = Stage::Full;
            return queue.waiting.push_back(slot);
        }
        work.stage = Stage::Posting;
        queue.promised = queue.promised.saturating_sub(1);
        let (index, phase) = queue.advance();
        let mut entry = [0; CompletionQueue::ENTRY_BYTES as usize];
        entry[0..4].copy_from_slice(&work.dword0.to_le_bytes());
        entry[8..10].copy_from_slice(&(submission.head as u16).to_le_bytes());
        entry[10..12].copy_from_slice(&work.queue.to_le_bytes());
        entry[12..14].copy_from_slice(&work.command.id().to_le_bytes());
        entry[14..16].copy_from_slice(&(work.status.bits() << 1 | u16::from(phase)).to_le_bytes());
        let len_bytes = CompletionQueue::ENTRY_BYTES;
        match queue.memory.at(index * len_bytes, len_bytes).0 {
            Spot::Cmb(place) => {
                if wire.banks().write(place, &entry).is_err() {
                    return self.die();
                }
                self.posted(slot, Outcome::Done, wire);
            }
            Spot::Wire(address) => {
                let local = Works::list(self.scratch, slot);
                if wire.banks().write(local, &entry).is_err() {
                    return self.die();
                }
                self.start_transfer(
                    Direction::Out,
                    (address, local, len_bytes),
                    Purpose::Post { slot },
                    wire,
                );
            }
        }
    }
}
