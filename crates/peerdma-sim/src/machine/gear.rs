//! Two gears: one TLP at a time, or as many as nothing can interfere with.
//!
//! In both, the same code sends, times and answers each TLP. The batched gear stays with one function as long as nothing
//! else happens (its horizon is the moment of the next other event), takes the route of the TLP before where that holds,
//! and moves the bytes of many TLPs together, from bank to bank. It moves so only what nobody can tell from bytes that
//! landed one TLP at a time: what has arrived before the horizon, from memory that no data on its way is bound for, to
//! memory that none is either.

use super::Machine;
use super::landing::Stretch;
use super::queue::{Due, Item, Moment};
use super::sender::Pace;
use crate::device::TransferId;
use crate::memory::Place;

/// Data of one TLP.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) from: Place,
    pub(super) to: Place,
    pub(super) len_bytes: u64,
    /// For how many bytes from its first on the transfer leads from there to there.
    pub(super) span_bytes: u64,
    pub(super) arrived_ps: u64,
    /// Until then its function itself does nothing that could tell when it landed.
    pub(super) unseen_until_ps: u64,
    /// Whose memory it lands in.
    pub(super) owner: u32,
}

/// Bytes that are moved together.
#[derive(Debug)]
pub(super) struct Bulk {
    state: State,
    /// Nobody looks before.
    horizon_ps: u64,
    /// Data that was on its way to the same memory before has landed by then.
    clear_ps: u64,
    source: Stretch,
    target: Stretch,
    /// To be moved, from the start of both.
    waiting: Option<(Place, Place, u64)>,
    /// How long the last piece was under way, if it was moved so.
    latency_ps: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be judged with the first piece.
    Unjudged,
    On,
    Off,
}

impl Bulk {
    /// So much is moved at once: it stays in a cache on the way.
    const MOST_BYTES: u64 = 128 << 10;
    /// A shorter time alone is not worth the judging.
    const LEAST_PS: u64 = 2_000_000;

    /// Each TLP apart.
    pub(super) fn off() -> Self {
        let place = Place {
            bank: crate::memory::BankId::NONE,
            offset: 0,
        };
        let nowhere = Stretch { place, len_bytes: 0 };
        Self {
            state: State::Off,
            horizon_ps: 0,
            clear_ps: 0,
            source: nowhere,
            target: nowhere,
            waiting: None,
            latency_ps: None,
        }
    }

    fn unjudged() -> Self {
        Self {
            state: State::Unjudged,
            ..Self::off()
        }
    }
}

impl Bulk {
    /// Up to where bytes were moved: nothing where the last piece was not.
    pub(super) fn frontier(&self) -> Option<u64> {
        let (from, _, len_bytes) = self.waiting?;
        self.latency_ps?;
        Some(from.offset + len_bytes)
    }

    /// How long the last piece was under way.
    pub(super) fn latency_ps(&self) -> u64 {
        self.latency_ps.unwrap_or(u64::MAX)
    }

    /// How much of what leads from there to there is not moved yet.
    pub(super) fn left_bytes(&self) -> u64 {
        let end = self.source.place.offset.saturating_add(self.source.len_bytes);
        self.frontier().map_or(0, |frontier| end.saturating_sub(frontier))
    }

    pub(super) fn horizon_ps(&self) -> u64 {
        self.horizon_ps
    }

    /// So much more is moved.
    pub(super) fn advance(&mut self, bytes: u64) {
        if let Some((_, _, len_bytes)) = &mut self.waiting {
            *len_bytes += bytes;
        }
    }
}

impl Machine {
    /// A function sends or answers, and goes on as long as what it does next is what happens next, up to the limit.
    pub(super) fn act(&mut self, who: usize, limit: Moment) {
        if self.core.is_single() {
            self.act_in_turn(who, limit);
        } else {
            self.act_alone(who, limit);
        }
        self.core.requeue(who);
    }

    /// TLP by TLP: what would come out of the queue next anyway need not be put in first.
    fn act_in_turn(&mut self, who: usize, limit: Moment) {
        let mut bulk = Bulk::off();
        loop {
            self.act_once(who, &mut bulk);
            let (issue, serve) = self.next_of(who);
            let next = issue.min(serve);
            if next > limit || next >= self.horizon(who) {
                return;
            }
            self.core.now_ps = next.ps;
            self.core.land();
        }
    }

    /// What the function does next: when, and whether it is an answer.
    fn next_of(&self, who: usize) -> (Moment, Moment) {
        let sender = &self.core.senders[who];
        let issue = match sender.pace {
            Pace::At(at) => at,
            Pace::Idle | Pace::Blocked => Moment::NEVER,
        };
        (
            issue,
            sender.arriving.front().map_or(Moment::NEVER, |first| first.at),
        )
    }

    fn act_once(&mut self, who: usize, bulk: &mut Bulk) {
        let (issue, serve) = self.next_of(who);
        if issue < serve {
            self.issue(who, bulk);
        } else {
            self.serve(who, bulk);
        }
    }

    /// The transfer that the function is busy with next.
    fn transfer_of(&self, who: usize, is_issue: bool) -> Option<TransferId> {
        let sender = &self.core.senders[who];
        if is_issue {
            return match sender.items.front() {
                Some(Item::Transfer { id, .. }) => Some(*id),
                _ => None,
            };
        }
        let first = sender.arriving.front()?;
        Some(self.core.reads.get(first.read as usize)?.id)
    }

    fn act_alone(&mut self, who: usize, limit: Moment) {
        let (issue, serve) = self.next_of(who);
        let transfer = self.transfer_of(who, issue < serve);
        let mut bulk = match self.is_busy_with_one(who, transfer) {
            true => Bulk::unjudged(),
            false => Bulk::off(),
        };
        let mut is_first = true;
        let mut steady = std::mem::take(&mut self.core.steady);
        steady.begin();
        loop {
            let (issue, serve) = self.next_of(who);
            let next = issue.min(serve);
            let horizon = self.horizon(who).min(limit);
            if !is_first && (next >= horizon || self.transfer_of(who, issue < serve) != transfer) {
                break;
            }
            if next == Moment::NEVER {
                break;
            }
            self.core.now_ps = next.ps;
            self.core.land();
            bulk.horizon_ps = horizon.ps;
            self.act_once(who, &mut bulk);
            if issue < serve && bulk.state == State::On {
                self.core.stride(who, &mut steady, &mut bulk);
            }
            // Without bulk, whether there could be any is judged anew now and then.
            if transfer.is_none() {
                break;
            }
            is_first = false;
        }
        self.flush(&mut bulk);
        self.core.steady = steady;
    }

    /// Does all that the function sends and waits for belong to one transfer, or come after it?
    fn is_busy_with_one(&self, who: usize, transfer: Option<TransferId>) -> bool {
        let sender = &self.core.senders[who];
        let of = |read: u32| self.core.reads.get(read as usize).map(|read| read.id);
        let is_first = match sender.items.front() {
            Some(Item::Transfer { id, .. }) => Some(*id) == transfer,
            Some(_) => false,
            None => true,
        };
        is_first
            && transfer.is_some()
            && sender
                .arriving
                .iter()
                .all(|arriving| of(arriving.read) == transfer)
    }

    /// When the next thing happens that is not this function's sending or being answered.
    fn horizon(&mut self, who: usize) -> Moment {
        while let Some((at, due)) = self.core.queue.first() {
            let sender = &mut self.core.senders[who];
            match due {
                Due::Issue(other) if other as usize == who => {
                    if sender.queued_issue == at {
                        sender.queued_issue = Moment::NEVER;
                    }
                }
                Due::Serve(other) if other as usize == who => {
                    if sender.queued_serve == at {
                        sender.queued_serve = Moment::NEVER;
                    }
                }
                _ => return at,
            }
            self.core.queue.pop();
        }
        Moment::NEVER
    }

    /// Data gets under way to memory.
    pub(super) fn deliver(&mut self, piece: &Piece, bulk: &mut Bulk) {
        if bulk.state == State::Unjudged {
            self.judge(piece, bulk);
        }
        if bulk.state == State::On && self.is_moved_together(piece, bulk) {
            return;
        }
        let core = &mut self.core;
        let buffer = core.buffers.take(piece.len_bytes as usize);
        if let Err(error) = core.banks.read(piece.from, core.buffers.get_mut(buffer)) {
            core.landings.refuse(error);
            core.buffers.get_mut(buffer).fill(0);
        }
        core.landings.push(
            piece.arrived_ps,
            piece.to,
            buffer,
            piece.len_bytes as u32,
            piece.owner,
        );
    }

    fn judge(&mut self, piece: &Piece, bulk: &mut Bulk) {
        let stretch = |place| Stretch {
            place,
            len_bytes: piece.span_bytes,
        };
        let (source, target) = (stretch(piece.from), stretch(piece.to));
        let is_long = bulk.horizon_ps.saturating_sub(self.core.now_ps) >= Bulk::LEAST_PS;
        let banks = &self.core.banks;
        let is_held = |stretch: Stretch| {
            let end = stretch.place.offset.checked_add(stretch.len_bytes);
            end.is_some_and(|end| end <= banks.size_bytes(stretch.place.bank))
        };
        let is_plain = is_held(source) && is_held(target) && !source.overlaps(target);
        if !is_long || !is_plain {
            bulk.state = State::Off;
            return;
        }
        bulk.state = State::On;
        bulk.clear_ps = self.core.landings.last_touching_ps(source, target).unwrap_or(0);
        (bulk.source, bulk.target) = (source, target);
    }

    fn is_moved_together(&mut self, piece: &Piece, bulk: &mut Bulk) -> bool {
        let is_inside = |place: Place, stretch: Stretch| {
            place.bank == stretch.place.bank
                && place.offset >= stretch.place.offset
                && place.offset - stretch.place.offset + piece.len_bytes <= stretch.len_bytes
        };
        if !is_inside(piece.from, bulk.source) || !is_inside(piece.to, bulk.target) {
            self.flush(bulk);
            bulk.state = State::Off;
            return false;
        }
        let until_ps = bulk.horizon_ps.min(piece.unseen_until_ps);
        if piece.arrived_ps >= until_ps || self.core.now_ps < bulk.clear_ps {
            bulk.latency_ps = None;
            return false;
        }
        bulk.latency_ps = Some(piece.arrived_ps - self.core.now_ps);
        match &mut bulk.waiting {
            Some((from, to, len_bytes))
                if from.offset + *len_bytes == piece.from.offset
                    && to.offset + *len_bytes == piece.to.offset =>
            {
                *len_bytes += piece.len_bytes;
                if *len_bytes >= Bulk::MOST_BYTES {
                    let (from, to, moved) = (*from, *to, *len_bytes);
                    self.flush(bulk);
                    let further = |place: Place| Place {
                        offset: place.offset + moved,
                        ..place
                    };
                    bulk.waiting = Some((further(from), further(to), 0));
                }
            }
            _ => {
                self.flush(bulk);
                bulk.waiting = Some((piece.from, piece.to, piece.len_bytes));
            }
        }
        true
    }

    fn flush(&mut self, bulk: &mut Bulk) {
        if let Some((from, to, len_bytes)) = bulk.waiting.take()
            && let Err(error) = self.core.banks.copy(from, to, len_bytes)
        {
            self.core.landings.refuse(error);
        }
    }
}
