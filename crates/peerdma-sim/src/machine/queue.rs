//! What is to happen, in the order of time; what happens at one time, in the order in which it was asked for.

use crate::device::{Outcome, Transfer, TransferId, Translation};
use crate::fabric::FunctionId;
use crate::tlp::{Access, Failure, Request};
use peerdma::addr::Bdf;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// When something happens: the order in which all is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub(super) ps: u64,
    /// Between things of one time: the one that was asked for first.
    pub(super) turn: u64,
}

impl Moment {
    /// After all that can happen.
    pub(super) const NEVER: Self = Self {
        ps: u64::MAX,
        turn: u64::MAX,
    };
}

/// What happens, but for sending and answering.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Event {
    /// A write has reached a BAR, to be decoded there; its bytes are in a buffer.
    Write {
        function: u32,
        bar: u8,
        offset: u64,
        buffer: u32,
        request: Request,
    },
    /// A transfer has ended. What is of an earlier life of the function is not told.
    Ended {
        function: u32,
        life: u32,
        kind: ItemKind,
        transfer: TransferId,
        outcome: Outcome,
    },
    /// Whoever waits on the links for the answer to a function's request learns that it failed.
    Failed {
        function: u32,
        life: u32,
        requester: FunctionId,
        failure: Failure,
        request: Request,
    },
    /// A translation request has reached the root complex.
    Asked {
        function: u32,
        life: u32,
        transfer: TransferId,
        iova: u64,
        len_bytes: u64,
        access: Access,
        path: u32,
    },
    /// A translation has come back.
    Translated {
        function: u32,
        life: u32,
        transfer: TransferId,
        found: Option<Translation>,
    },
    /// A function asked to be woken.
    Wake { function: u32, life: u32, cookie: u64 },
    /// An interrupt has arrived.
    Interrupt { requester: Bdf, vector: u16 },
    /// A fault of the plan happens.
    Fault(usize),
}

/// What a function is to send, in order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Item {
    Transfer {
        id: TransferId,
        transfer: Transfer,
        /// A probe's: nobody is told of its end, it is kept for who asks.
        kind: ItemKind,
    },
    Interrupt {
        vector: u16,
    },
    Translate {
        id: TransferId,
        iova: u64,
        len_bytes: u64,
        access: Access,
    },
}

/// Who started a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemKind {
    /// The device's model.
    Device,
    /// A test, which claims this requester ID.
    Probe(Bdf),
}

impl ItemKind {
    /// The requester ID, where it is not the function's own.
    pub(super) fn claimed(&self) -> Option<Bdf> {
        match self {
            Self::Device => None,
            Self::Probe(claimed) => Some(*claimed),
        }
    }
}

/// What is in the queue: as small as what happens most.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    /// A function sends its next TLP.
    Issue(u32),
    /// The first of a function's read requests that are under way has reached its completer.
    Serve(u32),
    /// The event at this place, to be had by [`Queue::take`].
    Other(u32),
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    at: Moment,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// What is to happen.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The first of all, if it is not in the heap: what happens next is mostly what was asked for last.
    next: Option<Entry>,
    heap: BinaryHeap<Reverse<Entry>>,
    others: Vec<Event>,
    free: Vec<u32>,
    turns: u64,
}

impl Queue {
    /// A moment at this time, behind all that were asked for at the same time before.
    pub(super) fn moment(&mut self, ps: u64) -> Moment {
        self.turns += 1;
        Moment { ps, turn: self.turns }
    }

    pub(super) fn push(&mut self, ps: u64, event: Event) -> Moment {
        let at = self.moment(ps);
        let place = self.keep(event);
        self.plan(at, Due::Other(place));
        at
    }

    /// What a function does next is to be done then.
    pub(super) fn plan(&mut self, at: Moment, due: Due) {
        let entry = Entry { at, due };
        match self.next {
            Some(next) if entry < next => {
                self.heap.push(Reverse(next));
                self.next = Some(entry);
            }
            None if self.heap.peek().is_none_or(|Reverse(first)| entry < *first) => self.next = Some(entry),
            _ => self.heap.push(Reverse(entry)),
        }
    }

    /// The first, which stays.
    pub(super) fn first(&self) -> Option<(Moment, Due)> {
        let first = self.next.as_ref();
        let first = first.or_else(|| self.heap.peek().map(|Reverse(entry)| entry));
        first.map(|entry| (entry.at, entry.due))
    }

    /// Takes the first out.
    #[inline]
    pub(super) fn pop(&mut self) {
        if self.next.take().is_none() {
            self.heap.pop();
        }
    }

    /// The event at a place, which stays.
    pub(super) fn kept(&self, place: u32) -> Event {
        self.others[place as usize]
    }

    /// The event at a place, which is free then.
    pub(super) fn take(&mut self, place: u32) -> Event {
        self.free.push(place);
        self.others[place as usize]
    }

    /// A place for an event.
    fn keep(&mut self, event: Event) -> u32 {
        match self.free.pop() {
            Some(index) => {
                self.others[index as usize] = event;
                index
            }
            None => {
                self.others.push(event);
                self.others.len() as u32 - 1
            }
        }
    }
}
