//! What a function sends and waits for: its transfers in order, its reads under way.

use super::queue::{Item, ItemKind, Moment};
use crate::device::TransferId;
use crate::device::{Purpose, Transfer};
use crate::memory::Place;
use crate::tlp::{Failure, Request};
use std::collections::VecDeque;

/// When a function sends its next TLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// It has nothing to send.
    Idle,
    /// Then.
    At(Moment),
    /// When an answer has come that nobody knows the time of.
    Blocked,
}

/// A read request on its way to its completer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arriving {
    pub(super) at: Moment,
    pub(super) read: u32,
    pub(super) path: u32,
    pub(super) address: u64,
    pub(super) len_bytes: u32,
    pub(super) tag: u32,
    /// From the start of the transfer.
    pub(super) offset: u64,
    pub(super) sent_ps: u64,
}

/// A read transfer under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) id: TransferId,
    pub(super) kind: ItemKind,
    /// Its requests, but for address and length.
    pub(super) request: Request,
    pub(super) local: Place,
    pub(super) len_bytes: u64,
    pub(super) purpose: Purpose,
    pub(super) unanswered: u32,
    pub(super) is_all_sent: bool,
    /// When the last answer that is known of comes.
    pub(super) end_ps: u64,
    pub(super) failed: Option<Failed>,
}

/// The first bytes that did not come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed {
    pub(super) offset: u64,
    pub(super) failure: Failure,
    /// When the device learns of the first failure.
    pub(super) known_ps: u64,
}

impl Read {
    pub(super) fn new(id: TransferId, kind: ItemKind, request: Request, transfer: &Transfer) -> Self {
        Self {
            id,
            kind,
            request,
            local: transfer.local,
            len_bytes: transfer.len_bytes,
            purpose: transfer.purpose,
            unanswered: 0,
            is_all_sent: false,
            end_ps: 0,
            failed: None,
        }
    }

    pub(super) fn fail(&mut self, offset: u64, failure: Failure, known_ps: u64) {
        self.failed = Some(match self.failed {
            None => Failed {
                offset,
                failure,
                known_ps,
            },
            Some(before) if offset < before.offset => Failed {
                offset,
                failure,
                known_ps: known_ps.min(before.known_ps),
            },
            Some(before) => Failed {
                known_ps: known_ps.min(before.known_ps),
                ..before
            },
        });
    }
}

/// The route of the last TLP, for the next one like it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cached {
    pub(super) path: u32,
    pub(super) request: Request,
    pub(super) routes: u64,
}

/// What one function sends and waits for.
#[derive(Debug)]
pub(super) struct Sender {
    /// Counts resets: what was asked for in an earlier life is not told.
    pub(super) life: u32,
    pub(super) items: VecDeque<Item>,
    /// How much of the first item was sent.
    pub(super) done_bytes: u64,
    /// The first item's read, if it is one of which something was sent.
    pub(super) read: Option<u32>,
    pub(super) pace: Pace,
    pub(super) free_ps: u64,
    pub(super) arriving: VecDeque<Arriving>,
    /// Reads whose last answer comes then, in the order of time, and their bytes.
    pub(super) answered: VecDeque<(u64, u32)>,
    pub(super) tags: u32,
    pub(super) outstanding_bytes: u64,
    pub(super) most_outstanding_bytes: u64,
    pub(super) next_tag: u32,
    pub(super) cached: Option<Cached>,
    /// Writes on their way to its registers.
    pub(super) writes_arriving: u32,
    /// What of [`Self::pace`] and [`Self::arriving`] is in the queue.
    pub(super) queued_issue: Moment,
    pub(super) queued_serve: Moment,
}

impl Sender {
    /// Tags of 10 bits, those below 256 being left to completers that know only 8 (PCIe Base 2.2.6.2).
    pub(super) const TAGS: u32 = 768;
    /// So long a function's reads keep its own link busy while it waits for the first answer: 4 us.
    pub(super) const OUTSTANDING_PS: u64 = 4_000_000;
    /// At least this is outstanding, whatever the link.
    pub(super) const LEAST_OUTSTANDING_BYTES: u64 = 16 << 10;
    /// What a function without a link of its own may have outstanding.
    pub(super) const INTERNAL_OUTSTANDING_BYTES: u64 = 256 << 10;

    pub(super) fn new(most_outstanding_bytes: u64) -> Self {
        Self {
            life: 0,
            items: VecDeque::new(),
            done_bytes: 0,
            read: None,
            pace: Pace::Idle,
            free_ps: 0,
            arriving: VecDeque::new(),
            answered: VecDeque::new(),
            tags: 0,
            outstanding_bytes: 0,
            most_outstanding_bytes: most_outstanding_bytes.max(Self::LEAST_OUTSTANDING_BYTES),
            next_tag: 0,
            cached: None,
            writes_arriving: 0,
            queued_issue: Moment::NEVER,
            queued_serve: Moment::NEVER,
        }
    }

    /// Frees the tags of what was answered by now. May so many bytes more be asked for?
    pub(super) fn has_room(&mut self, now_ps: u64, len_bytes: u64) -> bool {
        while let Some((end_ps, bytes)) = self.answered.front().copied() {
            if end_ps > now_ps {
                break;
            }
            self.answered.pop_front();
            self.tags -= 1;
            self.outstanding_bytes -= u64::from(bytes);
        }
        self.tags == 0
            || (self.tags < Self::TAGS && self.outstanding_bytes + len_bytes <= self.most_outstanding_bytes)
    }

    /// Does the first of the read requests that are under way reach its completer then?
    pub(super) fn serves_at(&self, at: Moment) -> bool {
        self.arriving.front().is_some_and(|first| first.at == at)
    }

    /// A request goes out.
    pub(super) fn ask(&mut self, len_bytes: u32) -> u32 {
        self.tags += 1;
        self.outstanding_bytes += u64::from(len_bytes);
        let tag = self.next_tag;
        self.next_tag = (tag + 1) % Self::TAGS;
        tag
    }

    /// It is known when the last answer to a request comes.
    pub(super) fn answer(&mut self, end_ps: u64, len_bytes: u32) {
        match self.answered.back() {
            Some((last_ps, _)) if *last_ps > end_ps => {
                let after = self.answered.partition_point(|(ps, _)| *ps <= end_ps);
                self.answered.insert(after, (end_ps, len_bytes));
            }
            _ => self.answered.push_back((end_ps, len_bytes)),
        }
    }

    /// A request is on its way to its completer.
    pub(super) fn arrive(&mut self, arriving: Arriving) {
        match self.arriving.back() {
            Some(last) if last.at > arriving.at => {
                let after = self.arriving.partition_point(|other| other.at < arriving.at);
                self.arriving.insert(after, arriving);
            }
            _ => self.arriving.push_back(arriving),
        }
    }
}
