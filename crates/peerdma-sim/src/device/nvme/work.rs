//! Commands under way: their slots, what each waits for, and the memory that each has for lists and pages.

use super::command::Command;
use super::identify::MOST_BYTES;
use super::pointer::{LIST_BYTES, Piece, Pointer};
use super::status::Status;
use crate::device::Direction;
use crate::memory::{BankId, Place};
use std::ops::Range;

/// How many commands can be under way, requests for events among them.
pub(super) const SLOTS: usize = 128;
/// At most so many entries of one queue are fetched at once.
pub(super) const MOST_FETCHED: u64 = 8;

/// A command under way.
#[derive(Debug)]
pub(super) struct Work {
    /// The submission queue that it came from.
    pub(super) queue: u16,
    pub(super) command: Command,
    /// The order in which commands were fetched.
    pub(super) serial: u64,
    pub(super) stage: Stage,
    /// What is to be done; nothing once it is done.
    pub(super) job: Option<Job>,
    /// How it ended.
    pub(super) status: Status,
    /// Dword 0 of its completion entry.
    pub(super) dword0: u32,
}

/// What a command waits for.
#[derive(Debug)]
pub(super) enum Stage {
    /// A decision: an event, or the end of other commands.
    Held,
    /// Bytes of a list.
    List { pointer: Pointer, len_bytes: u64 },
    /// The end of earlier commands on the same blocks.
    Blocked { pieces: Vec<Piece> },
    /// The medium, before its data moves.
    Before { pieces: Vec<Piece> },
    /// So many transfers of data.
    Data { transfers: u64, ended: End },
    /// The medium, after its data has moved.
    After,
    /// Room in the completion queue.
    Full,
    /// The completion entry to leave.
    Posting,
}

/// How data has moved so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Good,
    Bad(Status),
}

/// What a command has to do that takes time.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) direction: Direction,
    /// Where its data is in the controller.
    pub(super) local: Place,
    pub(super) len_bytes: u64,
    pub(super) before_ps: u64,
    pub(super) after_ps: u64,
    pub(super) effect: Effect,
    /// The blocks that it reads or writes.
    pub(super) touches: Option<Touch>,
    /// How much of its stage is to be wiped in the end.
    pub(super) staged_bytes: u64,
}

impl Job {
    /// Of data in its stage.
    pub(super) fn staged(direction: Direction, stage: Place, len_bytes: u64, effect: Effect) -> Self {
        Self {
            direction,
            local: stage,
            len_bytes,
            before_ps: 0,
            after_ps: 0,
            effect,
            touches: None,
            staged_bytes: len_bytes,
        }
    }
}

/// What is left to do when data has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    /// Blocks were written.
    Wrote,
    /// Is the data in the stage what the blocks hold?
    Compare,
    /// Make zeros of the blocks.
    Clear,
    /// Forget the ranges that are in the stage.
    Deallocate {
        namespace: usize,
        ranges: u64,
    },
    /// Have one namespace, or all, on its medium.
    Flush {
        namespaces: Range<usize>,
    },
}

/// Blocks that a command reads or writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Touch {
    pub(super) namespace: usize,
    pub(super) span: Range<u64>,
    pub(super) how: Use,
}

impl Touch {
    pub(super) const fn new(namespace: usize, span: Range<u64>, how: Use) -> Self {
        Self { namespace, span, how }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Read,
    Write,
}

impl Touch {
    fn collides(&self, other: &Self) -> bool {
        self.namespace == other.namespace
            && (self.how == Use::Write || other.how == Use::Write)
            && self.span.start < other.span.end
            && other.span.start < self.span.end
    }
}

/// Why it asked to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    Start,
    Stop,
    ShutDown,
    Media { slot: usize, serial: u64 },
}

/// All slots.
#[derive(Debug)]
pub(super) struct Works {
    slots: Vec<Option<Work>>,
    free: Vec<usize>,
    /// Slots that entries on their way will need.
    promised: u64,
    next_serial: u64,
}

impl Works {
    pub(super) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| None).collect(),
            free: (0..SLOTS).rev().collect(),
            promised: 0,
            next_serial: 0,
        }
    }

    /// Forgets all of them; serial numbers go on.
    pub(super) fn forget(&mut self) {
        *self = Self {
            next_serial: self.next_serial,
            ..Self::new()
        };
    }

    /// A number that nothing else has, in growing order.
    pub(super) fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    /// How many commands may be fetched.
    pub(super) fn unpromised(&self) -> u64 {
        (self.free.len() as u64).saturating_sub(self.promised)
    }

    pub(super) fn promise(&mut self, count: u64) {
        self.promised += count;
    }

    pub(super) fn release(&mut self, count: u64) {
        self.promised = self.promised.saturating_sub(count);
    }

    /// Gives a command a slot; nothing where none is free.
    pub(super) fn add(&mut self, queue: u16, command: Command) -> Option<usize> {
        let serial = self.serial();
        let slot = self.free.pop()?;
        let (stage, status) = (Stage::Held, Status::SUCCESS);
        *self.slots.get_mut(slot)? = Some(Work {
            queue,
            command,
            serial,
            stage,
            job: None,
            status,
            dword0: 0,
        });
        Some(slot)
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Work> {
        self.slots.get(slot)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Work> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// The bytes of a namespace that commands are at.
    pub(super) fn touched(&self, namespace: usize) -> Vec<Range<u64>> {
        let jobs = self.slots.iter().flatten().filter_map(|work| work.job.as_ref());
        jobs.filter_map(|job| job.touches.as_ref())
            .filter(|touch| touch.namespace == namespace)
            .map(|touch| touch.span.clone())
            .collect()
    }

    /// Frees a slot.
    pub(super) fn remove(&mut self, slot: usize) -> Option<Work> {
        let work = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(work)
    }

    /// The slot of a command.
    pub(super) fn find(&self, queue: u16, command: u16) -> Option<usize> {
        self.slots.iter().position(|work| {
            work.as_ref()
                .is_some_and(|work| work.queue == queue && work.command.id() == command)
        })
    }

    /// Must a command wait for an earlier one on the same blocks?
    pub(super) fn is_blocked(&self, slot: usize) -> bool {
        let Some(work) = self.get(slot) else { return false };
        let touches = |work: &Work| work.job.as_ref().and_then(|job| job.touches.clone());
        let Some(mine) = touches(work) else { return false };
        self.slots.iter().flatten().any(|other| {
            let theirs = other.job.as_ref().and_then(|job| job.touches.as_ref());
            other.serial < work.serial && theirs.is_some_and(|theirs| theirs.collides(&mine))
        })
    }

    /// Those that wait for earlier ones, in their order.
    pub(super) fn blocked(&self) -> Vec<usize> {
        let waits = |&slot: &usize| {
            self.get(slot)
                .is_some_and(|work| matches!(work.stage, Stage::Blocked { .. }))
        };
        let mut slots: Vec<usize> = (0..self.slots.len()).filter(waits).collect();
        slots.sort_by_key(|&slot| self.get(slot).map(|work| work.serial));
        slots
    }
}

/// Layout of the scratch bank: lists of all slots, entries of all queues, stages of all slots.
impl Works {
    const ENTRIES: u64 = SLOTS as u64 * LIST_BYTES;
    const STAGES: u64 = 64 << 20;

    /// How large the scratch bank is. Only what is used is held.
    pub(super) fn scratch_bytes() -> u64 {
        Self::STAGES + SLOTS as u64 * MOST_BYTES
    }

    /// Where list bytes, and in the end the completion entry, of a slot are.
    pub(super) fn list(scratch: BankId, slot: usize) -> Place {
        Place {
            bank: scratch,
            offset: slot as u64 * LIST_BYTES,
        }
    }

    /// Where entries go that are fetched from a queue.
    pub(super) fn entries(scratch: BankId, queue: u16) -> Place {
        let offset = Self::ENTRIES + u64::from(queue) * MOST_FETCHED * Command::BYTES;
        Place {
            bank: scratch,
            offset,
        }
    }

    /// Where a slot has [`MOST_BYTES`] of its own.
    pub(super) fn stage(scratch: BankId, slot: usize) -> Place {
        Place {
            bank: scratch,
            offset: Self::STAGES + slot as u64 * MOST_BYTES,
        }
    }
}
