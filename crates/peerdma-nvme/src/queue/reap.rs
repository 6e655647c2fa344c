//! Completions: what has come is checked, unmapped and handed back, in the order in which it came.

use super::{Abort, Busy, Fault, For, Kept, Progress, Queue, Ring, Stage};
use crate::entry;
use crate::slots::CommandId;
use peerdma::block::{CommandError, Done, VolumeError};
use peerdma::device::{DeviceError, Function, Host, Mmio};
use peerdma::dma::Locks;

impl<F: Function, H: Host + Clone, L: Locks> Queue<F, H, L> {
    /// Takes all completions that are there. Ends: each is for one of the commands under way, or the last.
    pub(super) fn reap(&mut self, done: &mut dyn FnMut(Done)) {
        // Rings that exist, or did until the controller was stopped.
        let listens = matches!(self.stage, Stage::Active | Stage::Resetting | Stage::Dropping(..));
        if !listens || self.fault.is_some() || self.slots.under_way() == 0 {
            return;
        }
        loop {
            match self.take() {
                Ok(Some((busy, status))) => {
                    self.progress = Progress::Some;
                    let result = result(&busy, status);
                    self.finish(busy, result, done);
                }
                Ok(None) => break,
                Err(Bad::Protocol(what)) => {
                    self.fail(Fault::Protocol(what));
                    break;
                }
                Err(Bad::Device(source)) => {
                    // Its queue's memory is out of reach: resetting the controller does not bring it back.
                    self.doomed = self.doomed.or(Some(VolumeError::Device(source)));
                    self.fail(Fault::Unwilling);
                    break;
                }
            }
            if self.slots.under_way() == 0 {
                break;
            }
        }
        let deleted = matches!(self.stage, Stage::Dropping(Ring::Completion, _));
        let head = self.pair.as_mut().and_then(|pair| pair.completion.tell());
        if let Some(head) = head.filter(|_| !deleted) {
            self.registers.write32(self.layout.head_at, head);
        }
    }

    /// Ends a command: unmaps its vector, and hands it back; or keeps it where the IOMMU does not.
    pub(super) fn finish(
        &mut self,
        busy: Busy,
        result: Result<(), CommandError>,
        done: &mut dyn FnMut(Done),
    ) {
        let Busy {
            ticket, bio, mapping, ..
        } = busy;
        let ended = Done { ticket, bio, result };
        let Some(mapping) = mapping else {
            return done(ended);
        };
        match self.mapper.unmap(mapping) {
            Ok(()) => done(ended),
            Err(error) => {
                self.kept.push(Kept {
                    mapping: error.mapping,
                    done: Some(ended),
                });
                self.attention_ns = 0;
            }
        }
    }

    /// Tries again to unmap what was kept.
    pub(super) fn let_go(&mut self, done: &mut dyn FnMut(Done)) {
        for _ in 0..self.kept.len() {
            let Some(kept) = self.kept.pop() else { return };
            match self.mapper.unmap(kept.mapping) {
                Ok(()) => {
                    if let Some(ended) = kept.done {
                        done(ended);
                    }
                }
                Err(error) => {
                    let mapping = error.mapping;
                    self.kept.insert(0, Kept { mapping, ..kept });
                }
            }
        }
    }

    /// The command whose completion is next, with its status.
    fn take(&mut self) -> Result<Option<(Busy, u16)>, Bad> {
        let Some(pair) = &mut self.pair else {
            return Ok(None);
        };
        let Some(tail) = pair.completion.peek(&self.host)? else {
            return Ok(None);
        };
        let origin = pair.completion.origin(&self.host)?;
        if origin.submission_queue() != self.layout.id {
            return Err(Bad::Protocol("a completion of another submission queue"));
        }
        if pair.submission.fetched(origin.submission_head()).is_err() {
            return Err(Bad::Protocol(
                "a completion that says of more commands than there are",
            ));
        }
        let busy = self.slots.remove(CommandId(tail.id()));
        let busy = busy.ok_or(Bad::Protocol("a completion for a command that is not under way"))?;
        pair.completion.advance();
        Ok(Some((busy, tail.status())))
    }
}

/// Why a completion was not taken.
enum Bad {
    Protocol(&'static str),
    Device(DeviceError),
}

impl From<DeviceError> for Bad {
    fn from(source: DeviceError) -> Self {
        Self::Device(source)
    }
}

/// What a status says of a command.
fn result(busy: &Busy, status: u16) -> Result<(), CommandError> {
    match status {
        0 => Ok(()),
        entry::ABORT_REQUESTED | entry::QUEUE_DELETED => match busy.abort {
            Abort::Wanted(For::Time) | Abort::Sent(For::Time) => Err(CommandError::TimedOut),
            _ => Err(CommandError::Aborted),
        },
        code => Err(CommandError::Status {
            code,
            meaning: entry::meaning(code),
        }),
    }
}
