//! Making and deleting I/O queues (NVM Express Base 5.4 to 5.7).

use super::Controller;
use super::cmb::{COMPLETION_QUEUES, QueueMemory, SUBMISSION_QUEUES, Window};
use super::command::Command;
use super::fetch::Answer;
use super::queue::{CompletionQueue, SubmissionQueue};
use super::registers::MOST_ENTRIES;
use super::status::Status;
use crate::device::Wire;

const CONTIGUOUS: u32 = 1;

impl Controller {
    pub(super) fn create_completion(&mut self, command: &Command, wire: &dyn Wire) -> Result<Answer, Status> {
        const INTERRUPTS_ENABLED: u32 = 2;
        let number = queue(command);
        let free = |queues: &[Option<CompletionQueue>]| matches!(queues.get(usize::from(number)), Some(None));
        if !self.features.has_completion(number) || !free(&self.completion) {
            return Err(Status::INVALID_QUEUE_IDENTIFIER);
        }
        let entries = entries(command)?;
        if self.registers.completion_entry_log2() != CompletionQueue::ENTRY_LOG2 {
            return Err(Status::INVALID_QUEUE_SIZE);
        }
        let control = command.dword(11);
        let vector = (control >> 16) as u16;
        if control & CONTIGUOUS == 0 {
            return Err(Status::INVALID_FIELD);
        }
        if vector >= self.traits.vectors {
            return Err(Status::INVALID_INTERRUPT_VECTOR);
        }
        let len_bytes = entries * CompletionQueue::ENTRY_BYTES;
        let window = self.buffer(wire);
        let memory = self.queue_memory(command, len_bytes, window, COMPLETION_QUEUES)?;
        let vector = (control & INTERRUPTS_ENABLED != 0).then_some(vector);
        if let Some(place) = self.completion.get_mut(usize::from(number)) {
            *place = Some(CompletionQueue::new(memory, entries, vector));
        }
        Ok(Answer::Done(0))
    }

    pub(super) fn create_submission(&mut self, command: &Command, wire: &dyn Wire) -> Result<Answer, Status> {
        let number = queue(command);
        let free = |queues: &[Option<SubmissionQueue>]| matches!(queues.get(usize::from(number)), Some(None));
        if !self.features.has_submission(number) || !free(&self.submission) {
            return Err(Status::INVALID_QUEUE_IDENTIFIER);
        }
        let entries = entries(command)?;
        if self.registers.submission_entry_log2() != Command::BYTES_LOG2 {
            return Err(Status::INVALID_QUEUE_SIZE);
        }
        let control = command.dword(11);
        let completion = (control >> 16) as u16;
        if control & CONTIGUOUS == 0 {
            return Err(Status::INVALID_FIELD);
        }
        if !self.features.has_completion(completion) {
            return Err(Status::INVALID_QUEUE_IDENTIFIER);
        }
        if !matches!(self.completion.get(usize::from(completion)), Some(Some(_))) {
            return Err(Status::COMPLETION_QUEUE_INVALID);
        }
        let window = self.buffer(wire);
        let memory = self.queue_memory(command, entries * Command::BYTES, window, SUBMISSION_QUEUES)?;
        if let Some(place) = self.submission.get_mut(usize::from(number)) {
            *place = Some(SubmissionQueue::new(memory, entries, completion));
        }
        Ok(Answer::Done(0))
    }

    pub(super) fn delete_completion(&mut self, command: &Command) -> Result<Answer, Status> {
        let number = queue(command);
        if number == 0 || !matches!(self.completion.get(usize::from(number)), Some(Some(_))) {
            return Err(Status::INVALID_QUEUE_IDENTIFIER);
        }
        if self
            .submission
            .iter()
            .flatten()
            .any(|queue| queue.completion == number)
        {
            return Err(Status::INVALID_QUEUE_DELETION);
        }
        if let Some(place) = self.completion.get_mut(usize::from(number)) {
            *place = None;
        }
        Ok(Answer::Done(0))
    }

    /// Commands under way run to their ends first; entries that were not fetched never will be.
    pub(super) fn delete_submission(&mut self, slot: usize, command: &Command) -> Result<Answer, Status> {
        let number = queue(command);
        let place = self
            .submission
            .get_mut(usize::from(number))
            .filter(|_| number != 0);
        let Some(queue) = place
            .and_then(Option::as_mut)
            .filter(|queue| queue.deleted_by.is_none())
        else {
            return Err(Status::INVALID_QUEUE_IDENTIFIER);
        };
        if queue.underway > 0 || queue.fetching > 0 {
            queue.deleted_by = Some(slot);
            return Ok(Answer::Held);
        }
        if let Some(place) = self.submission.get_mut(usize::from(number)) {
            *place = None;
        }
        Ok(Answer::Done(0))
    }

    /// Completes the Delete command of a queue, once nothing of the queue is under way.
    pub(super) fn finish_deletion(&mut self, number: u16, wire: &mut dyn Wire) {
        let Some(place) = self.submission.get_mut(usize::from(number)) else {
            return;
        };
        let idle = |queue: &&mut SubmissionQueue| queue.underway == 0 && queue.fetching == 0;
        if let Some(slot) = place.as_mut().filter(idle).and_then(|queue| queue.deleted_by) {
            *place = None;
            self.complete(slot, Status::SUCCESS, 0, wire);
        }
    }

    fn queue_memory(
        &self,
        command: &Command,
        len_bytes: u64,
        window: Option<Window>,
        ability: u8,
    ) -> Result<QueueMemory, Status> {
        QueueMemory::new(
            command.prp1(),
            len_bytes,
            self.registers.page_bytes(),
            window,
            ability,
        )
    }
}

/// QID.
fn queue(command: &Command) -> u16 {
    command.dword(10) as u16
}

/// QSIZE, 0's based: at least two entries, at most CAP.MQES.
fn entries(command: &Command) -> Result<u64, Status> {
    match u64::from(command.dword(10) >> 16) + 1 {
        entries @ 2..=MOST_ENTRIES => Ok(entries),
        _ => Err(Status::INVALID_QUEUE_SIZE),
    }
}
