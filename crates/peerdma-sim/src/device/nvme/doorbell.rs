//! Doorbells (NVM Express Base 3.1.3.25 and on). One that does not exist, or a value that cannot be, changes nothing and is told
//! as an asynchronous event.

use super::Controller;
use super::events::Event;
use super::log::ErrorEntry;
use super::status::Status;
use crate::device::Wire;

impl Controller {
    /// A dword was written to `offset` from the first doorbell.
    pub(super) fn ring(&mut self, offset: u64, value: u32, wire: &mut dyn Wire) {
        if !self.is_running() {
            return;
        }
        // The upper half is reserved.
        let value = u64::from(value & 0xffff);
        let stride = 4 << self.traits.doorbell_stride_log2;
        let number = offset / stride;
        let queue = (number / 2) as usize;
        let of_completion = !number.is_multiple_of(2);
        let rung = if !offset.is_multiple_of(stride) {
            None
        } else if of_completion {
            self.completion
                .get_mut(queue)
                .and_then(Option::as_mut)
                .map(|queue| queue.ring(value))
        } else {
            let queue = self.submission.get_mut(queue).and_then(Option::as_mut);
            // A queue that is being deleted is gone for software.
            queue
                .filter(|queue| queue.deleted_by.is_none())
                .map(|queue| queue.ring(value))
        };
        match rung {
            Some(Ok(())) if of_completion => self.write_waiting_entries(queue, wire),
            Some(Ok(())) => {}
            Some(Err(_)) => self.misused(Event::InvalidDoorbellValue, queue, wire),
            None => self.misused(Event::InvalidDoorbell, queue, wire),
        }
        self.pump(wire);
    }

    fn misused(&mut self, event: Event, queue: usize, wire: &mut dyn Wire) {
        self.errors.add(ErrorEntry {
            queue: queue as u16,
            command: 0xffff,
            status: Status::INVALID_FIELD,
            block: 0,
            namespace: 0,
        });
        self.events.happen(event);
        self.tell(wire);
    }

    /// Answers requests for events, if there is something to tell.
    pub(super) fn tell(&mut self, wire: &mut dyn Wire) {
        while let Some((slot, event)) = self.events.next() {
            if let Some(queue) = self.completion.first_mut().and_then(Option::as_mut) {
                queue.promised += 1;
            }
            self.complete(slot, Status::SUCCESS, event.dword(), wire);
        }
    }
}
