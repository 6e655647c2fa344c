//! From submission queues to commands: round robin, a few entries of one queue at once (NVM Express Base 3.4.4).

use super::cmb::Spot;
use super::command::Command;
use super::status::Status;
use super::work::{Job, MOST_FETCHED, Works};
use super::{Controller, Purpose};
use crate::device::{self, Direction, Outcome, Transfer, Wire};
use crate::memory::Place;
use crate::tlp::{AddressType, Ordering};

/// What becomes of a command that is in order.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is done; dword 0 of its completion entry.
    Done(u32),
    /// It has something to do.
    Job(Job),
    /// It is ended by something else.
    Held,
}

impl Controller {
    /// Fetches from all queues as long as there is something to fetch and room for what comes of it.
    pub(super) fn pump(&mut self, wire: &mut dyn Wire) {
        let mut idle = 0;
        while self.is_running() && idle < self.submission.len() {
            self.turn = (self.turn + 1) % self.submission.len();
            idle = if self.fetch(self.turn, wire).is_some() {
                0
            } else {
                idle + 1
            };
        }
    }

    /// Entries came.
    pub(super) fn fetched(&mut self, queue: u16, count: u64, outcome: Outcome, wire: &mut dyn Wire) {
        if outcome != Outcome::Done {
            return self.die();
        }
        self.take_entries(queue, count, Works::entries(self.scratch, queue), wire);
    }

    /// Starts a transfer of queue or payload bytes.
    pub(super) fn start_transfer(
        &mut self,
        direction: Direction,
        (address, local, len_bytes): (u64, Place, u64),
        purpose: Purpose,
        wire: &mut dyn Wire,
    ) {
        let transfer = Transfer {
            direction,
            address,
            local,
            len_bytes,
            address_type: AddressType::Untranslated,
            ordering: Ordering::Strict,
            purpose: match purpose {
                Purpose::Data { .. } => device::Purpose::Payload,
                _ => device::Purpose::Queue,
            },
        };
        let id = wire.start(transfer);
        self.transfers.insert(id, purpose);
    }

    /// Begins to fetch from one queue; nothing where there is nothing to fetch.
    fn fetch(&mut self, number: usize, wire: &mut dyn Wire) -> Option<()> {
        let queue = self.submission.get_mut(number)?.as_mut()?;
        let completion = self.completion.get_mut(usize::from(queue.completion))?.as_mut()?;
        if queue.fetching != 0 || queue.deleted_by.is_some() {
            return None;
        }
        let count = queue
            .waiting_in_a_row()
            .min(self.features.burst())
            .min(MOST_FETCHED)
            .min(completion.unpromised())
            .min(self.works.unpromised());
        if count == 0 {
            return None;
        }
        let (spot, same_bytes) = queue
            .memory
            .at(queue.head * Command::BYTES, count * Command::BYTES);
        let count = same_bytes / Command::BYTES;
        if count == 0 {
            self.die();
            return None;
        }
        queue.fetching = count;
        completion.promised += count;
        self.works.promise(count);
        let number = number as u16;
        match spot {
            Spot::Cmb(place) => self.take_entries(number, count, place, wire),
            Spot::Wire(address) => {
                let range = (
                    address,
                    Works::entries(self.scratch, number),
                    count * Command::BYTES,
                );
                self.start_transfer(
                    Direction::In,
                    range,
                    Purpose::Fetch { queue: number, count },
                    wire,
                );
            }
        }
        Some(())
    }

    fn take_entries(&mut self, number: u16, count: u64, place: Place, wire: &mut dyn Wire) {
        self.works.release(count);
        let Some(queue) = self
            .submission
            .get_mut(usize::from(number))
            .and_then(Option::as_mut)
        else {
            return;
        };
        queue.fetching = 0;
        queue.take(count);
        if queue.deleted_by.is_some() {
            let completion = usize::from(queue.completion);
            if let Some(completion) = self.completion.get_mut(completion).and_then(Option::as_mut) {
                completion.promised = completion.promised.saturating_sub(count);
            }
            return self.finish_deletion(number, wire);
        }
        queue.underway += count as u32;
        let mut bytes = [0; (MOST_FETCHED * Command::BYTES) as usize];
        let bytes = &mut bytes[..(count.min(MOST_FETCHED) * Command::BYTES) as usize];
        if wire.banks().read(place, bytes).is_err() {
            return self.die();
        }
        for entry in bytes.chunks_exact(Command::BYTES as usize) {
            self.admit(number, Command::parse(entry), wire);
        }
    }

    fn admit(&mut self, queue: u16, command: Command, wire: &mut dyn Wire) {
        let conflict = self.works.find(queue, command.id()).is_some();
        let Some(slot) = self.works.add(queue, command) else {
            return self.die();
        };
        let answer = match queue {
            _ if conflict => Err(Status::COMMAND_ID_CONFLICT),
            // No command is fused with another.
            _ if command.fused() != 0 => Err(Status::INVALID_FIELD),
            0 => self.admin(slot, &command, wire),
            _ => self.io(slot, &command),
        };
        match answer {
            Ok(Answer::Done(dword0)) => self.complete(slot, Status::SUCCESS, dword0, wire),
            Ok(Answer::Job(job)) => self.begin(slot, job, wire),
            Ok(Answer::Held) => self.tell(wire),
            Err(status) => self.complete(slot, status, 0, wire),
        }
    }
}
