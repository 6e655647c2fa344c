//! The clock: what happens next, and until when.

use super::queue::{Due, Event, ItemKind, Moment};
use super::sender::Pace;
use super::{Interrupt, Machine};
use crate::time::Time;

/// Up to where time may go.
#[derive(Debug, Clone, Copy)]
enum Limit {
    /// To what happens next.
    Next,
    /// To this moment.
    At(Moment),
}

impl Machine {
    /// Nothing happens later, 106 days after the start: sums of times stay times.
    pub(super) const END_PS: u64 = 1 << 63;

    /// Goes on to the next thing that happens (in the batched gear: the next that something else can see); `false` where
    /// nothing will happen any more.
    pub fn step(&mut self) -> bool {
        // TLP by TLP, each is a step of its own.
        let limit = match self.core.is_single() {
            true => Limit::Next,
            false => Limit::At(Moment::NEVER),
        };
        self.advance(limit) || self.land_all()
    }

    /// When nothing else will happen, what is still on its way to memory arrives; `false` where nothing is.
    fn land_all(&mut self) -> bool {
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
        while self.advance(Limit::At(limit)) {}
        self.core.now_ps = self.core.now_ps.max(ps);
        self.core.land();
    }

    /// Lets all happen until nothing will any more. A device that always asks to be woken again never comes to rest:
    /// use [`Self::run_until`].
    pub fn run_until_idle(&mut self) {
        while self.advance(Limit::At(Moment::NEVER)) || self.land_all() {}
    }

    /// Does the next thing, with what the same function does right after it; `false` where that is behind the limit.
    fn advance(&mut self, limit: Limit) -> bool {
        while let Some((at, due)) = self.core.queue.first() {
            let until = match limit {
                Limit::At(limit) if at > limit => return false,
                Limit::At(limit) => limit,
                Limit::Next => at,
            };
            self.core.queue.pop();
            match due {
                Due::Issue(who) | Due::Serve(who) => {
                    // The function may have changed its plans.
                    if !self.still_plans(at, due) {
                        continue;
                    }
                    self.come_to(at);
                    self.act(who as usize, until);
                }
                Due::Other(place) => {
                    let event = self.core.queue.take(place);
                    if !self.is_due(&event) {
                        continue;
                    }
                    self.come_to(at);
                    self.happen(event);
                }
            }
            return true;
        }
        false
    }

    /// Does the function still mean to do then what it has planned?
    #[inline]
    fn still_plans(&self, at: Moment, due: Due) -> bool {
        match due {
            Due::Issue(who) => self.core.senders[who as usize].pace == Pace::At(at),
            Due::Serve(who) => self.core.senders[who as usize].serves_at(at),
            Due::Other(_) => true,
        }
    }

    /// When the next event is that still counts; those before it are forgotten.
    pub(super) fn next_event_ps(&mut self) -> Option<u64> {
        while let Some((at, due)) = self.core.queue.first() {
            let counts = match due {
                Due::Issue(_) | Due::Serve(_) => self.still_plans(at, due),
                Due::Other(place) => self.is_due(&self.core.queue.kept(place)),
            };
            if counts {
                return Some(at.ps);
            }
            self.core.queue.pop();
            if let Due::Other(place) = due {
                self.core.queue.take(place);
            }
        }
        None
    }

    fn come_to(&mut self, at: Moment) {
        self.core.now_ps = at.ps;
        self.core.land();
    }

    /// Does it still count, or has its function been reset?
    fn is_due(&self, event: &Event) -> bool {
        let lives = |who: u32, life: u32| {
            (self.core.senders.get(who as usize)).is_some_and(|sender| sender.life == life)
        };
        match event {
            Event::Ended {
                function, life, kind, ..
            } => *kind != ItemKind::Device || lives(*function, *life),
            Event::Translated { function, life, .. }
            | Event::Wake { function, life, .. }
            | Event::Failed { function, life, .. } => lives(*function, *life),
            Event::Asked { .. } | Event::Write { .. } | Event::Interrupt { .. } | Event::Fault(_) => true,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
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
            Event::Failed {
                function,
                requester,
                failure,
                request,
                ..
            } => {
                if let Some(initiator) = self.core.ids.get(function as usize) {
                    let fabric = &mut self.core.fabric;
                    fabric.record_failed_read(requester, *initiator, failure, &request);
                }
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
            Event::Interrupt { requester, vector } => {
                if self.core.interrupts.len() >= Self::MOST_INTERRUPTS {
                    self.core.dropped_interrupts += 1;
                    return;
                }
                self.core.interrupts.push_back(Interrupt {
                    time: self.now(),
                    requester,
                    vector,
                });
            }
            Event::Fault(index) => self.mishap(index),
        }
    }
}
