//! From completions of the kernel back to bios.

use super::failure::failure;
use super::pages::Pages;
use super::transfer::Left;
use super::uring::Completed;
use super::volume::{NO_SLOT, RingVolume};
use peerdma::block::{CommandError, Done, Operation};
use peerdma::dma::Locks;
use rustix::io::Errno;

/// What a completion leads to.
enum Next {
    /// There is more of it.
    GoOn,
    /// It has ended.
    End(Result<(), CommandError>),
}

/// Error numbers are below this (`MAX_ERRNO`, include/linux/err.h).
const MOST_ERRNO: i32 = 4096;
/// How often the kernel may put an operation off.
const MOST_PUT_OFF: u32 = 1 << 16;
/// How often an operation may end that nobody has cancelled: what waits for a worker belongs to the thread that submitted it, and ends with that thread
/// (`io_wq_exit_start` in io_uring/io-wq.c). It is then submitted by the one that asks.
const MOST_SUBMITTERS: u32 = 16;

impl<L: Locks, P: Pages> RingVolume<L, P> {
    /// Takes what has ended, goes on with what ended short, and gives the rest to `done`.
    pub(super) fn reap(&mut self, done: &mut dyn FnMut(Done)) {
        self.kernel.reap(&mut self.completed);
        // One by one: where `done` panics, none is lost.
        while let Some(completed) = self.completed.pop_front() {
            self.take(completed, done);
        }
        while let Some((slot, error)) = self.ended.pop() {
            self.finish(slot, Err(error), done);
        }
    }

    fn take(&mut self, completed: Completed, done: &mut dyn FnMut(Done)) {
        if completed.id == NO_SLOT {
            return;
        }
        let Some(slot) = self.slot_of(completed.id) else {
            // The kernel never names what it was not given; if it did, no memory is touched by it.
            self.dead = self.dead.or(Some(Errno::PROTO));
            return;
        };
        match self.next(slot, completed.result) {
            Next::GoOn => self.queue(slot),
            Next::End(result) => {
                let result = result.map_err(|error| self.blamed(error));
                self.finish(slot, result, done);
            }
        }
    }

    /// Errors of a device that was unbound or removed: the kernel sets its size to 0 (`blk_mark_disk_dead`, block/genhd.c), so that writes find no space and
    /// reads nothing.
    fn blamed(&self, error: CommandError) -> CommandError {
        const BY_SIZE: [Errno; 2] = [Errno::IO, Errno::NOSPC];
        match error {
            CommandError::System { number, .. }
                if BY_SIZE.iter().any(|errno| errno.raw_os_error() == number) && self.device.is_gone() =>
            {
                CommandError::Removed
            }
            other => other,
        }
    }

    fn next(&mut self, slot: u16, result: i32) -> Next {
        let ended = |error| Next::End(Err(error));
        let protocol = |what| ended(CommandError::Protocol(what));
        let block_bytes = u64::from(self.limits.block_bytes);
        let of = self.slots.get_mut(usize::from(slot));
        let Some((transfer, busy)) = of.and_then(|of| Some((&mut of.transfer, of.busy.as_mut()?))) else {
            return protocol("an operation ended that was not under way");
        };
        let bytes = match u64::try_from(result) {
            Ok(bytes) => bytes,
            Err(_) => {
                let number = result.checked_neg().filter(|number| *number < MOST_ERRNO);
                let Some(number) = number else {
                    return protocol("the kernel gave an error number that there is not");
                };
                let error = Errno::from_raw_os_error(number);
                let count = match error {
                    Errno::AGAIN | Errno::INTR => Some((&mut busy.put_off, MOST_PUT_OFF)),
                    Errno::CANCELED => Some((&mut busy.cancelled, MOST_SUBMITTERS)),
                    _ => None,
                };
                let again = count.filter(|(times, most)| **times < *most);
                return match (again, busy.is_aborted) {
                    (Some(_), true) => ended(CommandError::Aborted),
                    (Some((times, _)), false) => {
                        *times += 1;
                        Next::GoOn
                    }
                    (None, _) => ended(failure(error, busy.asked)),
                };
            }
        };
        if busy.bio.operation == Operation::Flush {
            return Next::End(Ok(()));
        }
        if bytes == 0 {
            return ended(CommandError::System {
                number: Errno::IO.raw_os_error(),
                meaning: "the device or file ends before these blocks: was it made shorter?",
            });
        }
        match transfer.advance(bytes) {
            Err(_) => protocol("the kernel moved more bytes than it was asked to"),
            Ok(Left::None) => Next::End(Ok(())),
            Ok(Left::Some) if busy.is_aborted => ended(CommandError::Aborted),
            Ok(Left::Some) if !bytes.is_multiple_of(block_bytes) => ended(CommandError::System {
                number: Errno::IO.raw_os_error(),
                meaning: "it ended within a block: was the file made shorter?",
            }),
            Ok(Left::Some) => Next::GoOn,
        }
    }

    /// Gives a slot's bio back.
    fn finish(&mut self, slot: u16, result: Result<(), CommandError>, done: &mut dyn FnMut(Done)) {
        let Some(of) = self.slots.get_mut(usize::from(slot)) else {
            return;
        };
        let Some(busy) = of.busy.take() else { return };
        of.transfer.clear();
        self.free.push(slot);
        if let Some(mapping) = busy.mapping {
            // The kernel's address spaces translate nothing: there is nothing that could fail to be undone.
            let _ = self.mapper.unmap(mapping);
        }
        done(Done {
            ticket: busy.ticket,
            bio: busy.bio,
            result,
        });
    }
}
