//! The clock: what happens next, and until when.

use super::queue::{Event, ItemKind, Moment};
use super::sender::Pace;
use super::{Interrupt, Machine};
use crate::time::Time;

impl Machine {
    /// Nothing happens later, 106 days after the start: sums of times stay times.
    pub(super) const END_PS: u64 = 1 << 63;

    /// Goes on to the next thing that happens (in the batched gear: the next that something else can see); `false` where
    /// nothing will happen any more.
    pub fn step(&mut self) -> bool {
        if self.advance(Moment::NEVER) {
            return true;
        }
        let Some(last_ps) = self.core.landings.last_ps() else {
            return false;
        };
        self.core.now_ps = self.core.now_ps.max(last_ps);
        self.core.land();
        true
    }

    /// Lets all happen up to a time, which it is then.
    pub fn run_until(&mut self, time: Time) {
        let ps = time.as_ps().min(Self::END_PS);
        let limit = Moment { ps, turn: u64::MAX };
        while self.advance(limit) {}
        self.core.now_ps = self.core.now_ps.max(ps);
        self.core.land();
    }

    /// Lets all happen until nothing will any more. A device that always asks to be woken again never comes to rest:
    /// use [`Self::run_until`].
    pub fn run_until_idle(&mut self) {
        while self.step() {}
    }

    /// Does the next thing, if it is not behind the limit.
    fn advance(&mut self, limit: Moment) -> bool {
        loop {
            if self.core.queue.first().is_none_or(|(at, _)| at > limit) {
                return false;
            }
            let Some((at, event)) = self.core.queue.pop() else {
                return false;
            };
            if !self.is_due(at, &event) {
                continue;
            }
            self.core.now_ps = at.ps;
            self.core.land();
            self.happen(event, limit);
            return true;
        }
    }

    /// Does it still count, or has its function changed its plans, or been reset?
    #[inline]
    fn is_due(&self, at: Moment, event: &Event) -> bool {
        let lives = |who: u32, life: u32| {
            (self.core.senders.get(who as usize)).is_some_and(|sender| sender.life == life)
        };
        match event {
            Event::Issue(who) => {
                let sender = &self.core.senders[*who as usize];
                sender.pace == Pace::At(at)
            }
            Event::Serve(who) => {
                let sender = &self.core.senders[*who as usize];
                sender.arriving.front().is_some_and(|first| first.at == at)
            }
            Event::Ended {
                function, life, kind, ..
            } => *kind != ItemKind::Device || lives(*function, *life),
            Event::Translated { function, life, .. } | Event::Wake { function, life, .. } => {
                lives(*function, *life)
            }
            Event::Asked { .. } | Event::Write { .. } | Event::Interrupt { .. } | Event::Fault(_) => true,
        }
    }

    fn happen(&mut self, event: Event, limit: Moment) {
        match event {
            Event::Issue(who) | Event::Serve(who) => self.act(who as usize, limit),
            Event::Write {
                function,
                bar,
                offset,
                buffer,
                request,
            } => self.take_write(function as usize, bar, offset, buffer, request),
            Event::Ended {
                function,
                kind: ItemKind::Device,
                transfer,
                outcome,
                ..
            } if (function as usize) < self.core.cpu() => {
                self.with_index(function as usize, |device, wire| {
                    device.transfer_ended(transfer, outcome, wire);
                });
            }
            Event::Ended {
                transfer, outcome, ..
            } => {
                self.core.outcomes.insert(transfer, (self.now(), outcome));
            }
            Event::Asked { .. } => self.translate(event),
            Event::Translated {
                function,
                transfer,
                found,
                ..
            } => {
                self.with_index(function as usize, |device, wire| {
                    device.translation_ended(transfer, found, wire);
                });
            }
            Event::Wake { function, cookie, .. } => {
                self.with_index(function as usize, |device, wire| device.woken(cookie, wire));
            }
            Event::Interrupt { requester, vector } => self.core.interrupts.push_back(Interrupt {
                time: self.now(),
                requester,
                vector,
            }),
            Event::Fault(index) => self.mishap(index),
        }
    }
}
