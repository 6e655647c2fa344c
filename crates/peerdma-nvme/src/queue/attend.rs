//! What a queue sees to beside completions: deadlines, aborts, resets of the controller, and the making and deleting of its own
//! pair. Each step looks once and moves on; nothing waits.
//!
//! A command that is late is aborted; one that is as late again has the controller reset. Once the controller has come to a stop (its
//! generation went up) all that was under way has failed and is unmapped, and the pair is made anew as soon as it runs again.

use super::{Abort, Busy, Fault, For, Progress, Queue, Ring, Stage, failure_of};
use crate::admin::{Asker, End};
use crate::command::{Command, NewQueue};
use crate::control::Control;
use crate::error::Cause;
use crate::phase::{Ended, Standing, Why};
use crate::slots::CommandId;
use core::sync::atomic::Ordering;
use peerdma::block::{CommandError, Done, VolumeError};
use peerdma::device::{Function, Host};
use peerdma::dma::Locks;

/// The controller's health is looked at this often while a command may take.
const LOOKS: u64 = 8;
/// In one look a queue goes through at most so many stages.
const MOST_STEPS: usize = 4;

impl<F: Function, H: Host + Clone, L: Locks> Queue<F, H, L> {
    /// Is there anything to see to?
    pub(super) fn needs_attention(&self, now_ns: u64) -> bool {
        self.stage != Stage::Active
            || self.fault.is_some()
            || now_ns >= self.attention_ns
            || self.shared.generation.load(Ordering::Acquire) != self.generation
    }

    /// Sees to it, as far as it goes without waiting.
    pub(super) fn attend(&mut self, now_ns: u64, done: &mut dyn FnMut(Done)) {
        for _ in 0..MOST_STEPS {
            let before = self.stage;
            self.attend_once(now_ns, done);
            let goes_on = matches!(
                self.stage,
                Stage::Recovering | Stage::Making(_, None) | Stage::Dropping(_, None)
            );
            if self.stage == before || !goes_on {
                return;
            }
        }
    }

    fn attend_once(&mut self, now_ns: u64, done: &mut dyn FnMut(Done)) {
        self.let_go(done);
        if matches!(self.stage, Stage::Gone | Stage::Stuck) {
            return;
        }
        let progress = core::mem::replace(&mut self.progress, Progress::None);
        let fault = self.fault;
        // What went wrong before the controller was stopped is no reason to stop it again.
        let is_stale = self.shared.generation.load(Ordering::Acquire) != self.generation;
        let begins = self.has_rings() && self.stage != Stage::Resetting && !is_stale;
        let reset_begins = fault.is_some() && begins;
        let standing = self.with(|control| {
            if progress == Progress::Some {
                control.progressed();
            }
            match fault {
                Some(fault) if reset_begins => control.reset(why(fault), now_ns),
                _ => {}
            }
            control.step(now_ns);
            control.standing()
        });
        if reset_begins {
            self.stage = Stage::Resetting;
        }
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            self.lost(standing, done);
        }
        if standing == Standing::Ended(Ended::Loose) {
            if self.has_rings() {
                self.stage = Stage::Stuck;
                return;
            }
            // It never heard of the pair: what was to be made is not, and no stop will be told of.
            self.stage = Stage::Recovering;
        }
        match self.stage {
            Stage::Active => self.watch(now_ns),
            Stage::Recovering => self.recover(standing),
            Stage::Making(ring, asked) => self.make(ring, asked, now_ns),
            Stage::Dropping(ring, asked) => self.delete(ring, asked, now_ns, done),
            Stage::Resetting | Stage::Gone | Stage::Stuck => {}
        }
    }

    fn with<R>(&self, inside: impl FnOnce(&mut Control<F, H, L>) -> R) -> R {
        L::with(&self.shared.control, inside)
    }

    /// May the controller know of any ring?
    fn has_rings(&self) -> bool {
        !matches!(
            self.stage,
            Stage::Recovering | Stage::Making(Ring::Completion, None) | Stage::Gone
        )
    }

    /// The controller was stopped: what was under way has failed.
    fn lost(&mut self, standing: Standing, done: &mut dyn FnMut(Done)) {
        let fault = self.fault.take().and_then(Fault::result);
        while let Some(busy) = self.slots.remove_any() {
            let error = match (standing, fault, busy.abort) {
                (Standing::Ended(Ended::Removed), ..) => CommandError::Removed,
                (_, Some(error), _) => error,
                (_, _, Abort::Sent(For::Time) | Abort::Wanted(For::Time)) => CommandError::TimedOut,
                _ => CommandError::Reset,
            };
            self.finish(busy, Err(error), done);
        }
        if let Standing::Ended(ended) = standing {
            self.doomed = self.doomed.or(Some(failure_of(ended)));
        }
        match self.stage {
            Stage::Gone => {}
            _ => self.stage = Stage::Recovering,
        }
    }

    /// Nothing is under way, and no ring is known to the controller.
    fn recover(&mut self, standing: Standing) {
        if let Standing::Ended(ended) = standing {
            self.doomed = self.doomed.or(Some(failure_of(ended)));
        }
        if self.doomed.is_some() {
            return self.release();
        }
        if standing != Standing::Run {
            return;
        }
        let Some(pair) = &mut self.pair else {
            return self.release();
        };
        pair.submission.restart();
        match pair.completion.restart(&self.host) {
            Ok(()) => self.stage = Stage::Making(Ring::Completion, None),
            Err(source) => {
                self.doomed = Some(VolumeError::Device(source));
                self.release();
            }
        }
    }

    fn make(&mut self, ring: Ring, asked: Option<CommandId>, now_ns: u64) {
        let Some(asked) = asked else {
            return self.ask_for(ring, now_ns);
        };
        match (self.with(|control| control.end_of(asked)), ring) {
            // Lost with the controller, whose generation will tell.
            (None | Some(End::Lost), _) => {}
            (Some(End::Done(_)), Ring::Completion) if self.doomed.is_some() => {
                self.stage = Stage::Dropping(Ring::Completion, None);
            }
            (Some(End::Done(_)), Ring::Completion) => {
                self.stage = Stage::Making(Ring::Submission, None);
            }
            (Some(End::Done(_)), Ring::Submission) if self.doomed.is_some() => {
                self.stage = Stage::Dropping(Ring::Submission, None);
            }
            (Some(End::Done(_)), Ring::Submission) => {
                self.stage = Stage::Active;
                self.attention_ns = now_ns;
            }
            (Some(End::Refused(status)), ring) => {
                self.refused = Some(Cause::Admin {
                    command: match ring {
                        Ring::Completion => "Create I/O Completion Queue",
                        Ring::Submission => "Create I/O Submission Queue",
                    },
                    status,
                });
                let why = VolumeError::Dead("the controller refused to make its queue");
                self.doomed = self.doomed.or(Some(why));
                match ring {
                    Ring::Completion => self.release(),
                    Ring::Submission => self.stage = Stage::Dropping(Ring::Completion, None),
                }
            }
        }
    }

    fn ask_for(&mut self, ring: Ring, now_ns: u64) {
        let Some(pair) = &self.pair else { return };
        let id = self.layout.id;
        let command = match ring {
            Ring::Completion => Command::create_completion_queue(NewQueue {
                id,
                entries: pair.completion.entries(),
                address: pair.completion.memory.address(),
            }),
            Ring::Submission => Command::create_submission_queue(NewQueue {
                id,
                entries: pair.submission.entries(),
                address: pair.submission.memory.address(),
            }),
        };
        let asked = self.with(|control| control.ask(command, Asker::Waits, now_ns));
        if asked.is_some() {
            self.stage = Stage::Making(ring, asked);
        }
    }

    fn delete(&mut self, ring: Ring, asked: Option<CommandId>, now_ns: u64, done: &mut dyn FnMut(Done)) {
        let id = self.layout.id;
        let Some(asked) = asked else {
            if ring == Ring::Submission {
                self.send_aborts(now_ns);
            }
            let command = match ring {
                Ring::Submission => Command::delete_submission_queue(id),
                Ring::Completion => Command::delete_completion_queue(id),
            };
            let asked = self.with(|control| control.ask(command, Asker::Waits, now_ns));
            self.stage = Stage::Dropping(ring, asked);
            return;
        };
        match self.with(|control| control.end_of(asked)) {
            None | Some(End::Lost) => {
                if ring == Ring::Submission {
                    self.send_aborts(now_ns);
                }
            }
            Some(End::Refused(_)) => self.fail(Fault::Unwilling),
            Some(End::Done(_)) if ring == Ring::Submission => {
                // Every completion of the queue came before the end of its deletion.
                self.reap(done);
                self.stage = Stage::Dropping(Ring::Completion, None);
            }
            Some(End::Done(_)) => {
                while let Some(busy) = self.slots.remove_any() {
                    self.finish(busy, Err(CommandError::Aborted), done);
                }
                self.release();
            }
        }
    }

    /// Looks for commands that are late.
    fn watch(&mut self, now_ns: u64) {
        let mut next_ns = now_ns.saturating_add((self.timeout_ns / LOOKS).max(1));
        let mut late = false;
        let mut aborts = false;
        for (_, busy) in self.slots.iter_mut() {
            if now_ns >= busy.deadline_ns {
                match busy.abort {
                    Abort::No => {
                        busy.abort = Abort::Wanted(For::Time);
                        busy.deadline_ns = now_ns.saturating_add(self.timeout_ns);
                    }
                    Abort::Wanted(_) | Abort::Sent(_) => {
                        busy.abort = Abort::Sent(For::Time);
                        late = true;
                    }
                }
            }
            aborts |= busy.abort != Abort::No;
            next_ns = next_ns.min(busy.deadline_ns);
        }
        // The answers to aborts are taken in the next look: at once.
        self.attention_ns = if aborts { now_ns } else { next_ns };
        if late {
            self.fail(Fault::Late);
        } else if aborts {
            self.send_aborts(now_ns);
        }
        if !self.kept.is_empty() {
            self.attention_ns = now_ns;
        }
    }

    /// Sends as many Aborts as the controller takes.
    fn send_aborts(&mut self, now_ns: u64) {
        let queue = self.layout.id;
        let wanted = |(id, busy): (CommandId, &Busy)| match busy.abort {
            Abort::Wanted(reason) => Some((id, reason)),
            _ => None,
        };
        loop {
            let next = self.slots.iter().find_map(wanted);
            let Some((id, reason)) = next else { return };
            let sent = self.with(|control| control.abort(Command::abort(queue, id.0), now_ns));
            let (Some(_), Some(busy)) = (sent, self.slots.get_mut(id)) else {
                return;
            };
            busy.abort = Abort::Sent(reason);
        }
    }

    /// Gives the pair's memory and number back.
    pub(super) fn release(&mut self) {
        if let Some(pair) = self.pair.take() {
            let memories = [pair.submission.memory, pair.completion.memory, pair.lists];
            for memory in memories {
                if let Err(cause) = memory.release(&self.host, &mut self.mapper) {
                    self.refused = Some(cause);
                }
            }
            let id = self.layout.id;
            self.with(|control| control.pairs.give(id));
        }
        self.stage = Stage::Gone;
    }
}

/// Why the controller is reset for a queue.
fn why(fault: Fault) -> Why {
    Why::Unsound(match fault {
        Fault::Protocol(what) => what,
        Fault::Late => "a command did not end, not even by an abort",
        Fault::Unwilling => "a queue could not be deleted",
    })
}
