//! The batched gear's long strides: a flow that repeats itself is carried on by many repetitions at once.
//!
//! What decides how a lone transfer goes on are times (of its next request, its requests under way, its answers, the
//! channels on its ways, and when those are idle before) and what does not change with time (sizes, distances, debts of DLLPs). Every rule of timing is a
//! maximum or a sum of times. So once all these times have moved by the same span while so many bytes were sent, and all
//! else is as it was, the next repetition moves them by the same span again, as often as nothing else comes between.
//! Counters grow by as much each time. With jitter there is no such rule, and no stride.

use super::Machine;
use super::core::Core;
use super::counters::{Carried, Traffic};
use super::gear::Bulk;
use super::sender::Pace;

/// A flow as it was at one moment, and what is known of its ways.
#[derive(Debug, Default)]
pub(super) struct Steady {
    requests: u32,
    before: Shape,
    now: Shape,
    /// The channels that its TLPs use.
    used: Vec<u32>,
    /// Those that only carry DLLPs for them.
    opposite: Vec<u32>,
    carried: Vec<(Carried, u64)>,
    ram: Carried,
}

/// All that decides how a flow goes on.
#[derive(Debug, Default)]
struct Shape {
    done_bytes: u64,
    times: Vec<u64>,
    others: Vec<u64>,
}

impl Steady {
    /// Looks so often, in requests.
    const INTERVAL: u32 = 512;
    /// For so many requests a repetition is looked for.
    const LONGEST: u32 = 16;
    /// So much is left to be carried TLP by TLP at the end.
    pub(super) const RESERVE_BYTES: u64 = 256 << 10;

    /// Begins with another transfer.
    pub(super) fn begin(&mut self) {
        self.requests = 0;
    }
}

impl Core {
    /// A request of a function that is alone was sent: if the flow repeats itself, carries it on as far as possible.
    pub(super) fn stride(&mut self, who: usize, steady: &mut Steady, bulk: &mut Bulk) {
        steady.requests += 1;
        let phase = steady.requests % Steady::INTERVAL;
        if phase > Steady::LONGEST || self.channels.has_jitter() || bulk.frontier().is_none() {
            return;
        }
        // Answers of the past count no more, also where no read has asked for room since.
        let now_ps = self.now_ps;
        self.senders[who].has_room(now_ps, 0);
        if phase == 0 {
            self.list_channels(who, steady);
            let mut before = std::mem::take(&mut steady.before);
            self.draw(who, steady, &mut before);
            steady.before = before;
            let channels = steady.used.iter().chain(&steady.opposite);
            steady.carried.clear();
            steady
                .carried
                .extend(channels.map(|channel| self.channels.account(*channel)));
            steady.ram = self.ram_carried;
            return;
        }
        if steady.requests < Steady::INTERVAL {
            return;
        }
        let mut now = std::mem::take(&mut steady.now);
        self.draw(who, steady, &mut now);
        if let Some(span_ps) = now.repeats(&steady.before) {
            let bytes = now.done_bytes - steady.before.done_bytes;
            let times = self.repetitions(who, span_ps, bytes, bulk);
            if times > 0 {
                self.repeat(who, steady, times, span_ps, bytes);
                bulk.advance(times * bytes);
            }
            // What was drawn is of the past now.
            steady.requests = 0;
        }
        steady.now = now;
    }

    fn list_channels(&self, who: usize, steady: &mut Steady) {
        steady.used.clear();
        steady.opposite.clear();
        let Some(cached) = self.senders[who].cached else {
            return;
        };
        let path = self.paths.get(cached.path);
        let back = path.completion.map(|completion| self.paths.get(completion.path));
        let hops = || {
            path.way
                .hops
                .iter()
                .chain(back.iter().flat_map(|back| back.way.hops.iter()))
        };
        steady.used.extend(hops().map(|hop| hop.channel));
        steady.used.sort_unstable();
        steady.used.dedup();
        steady.opposite.extend(hops().map(|hop| hop.opposite));
        steady.opposite.retain(|channel| !steady.used.contains(channel));
        steady.opposite.sort_unstable();
        steady.opposite.dedup();
    }

    fn draw(&self, who: usize, steady: &Steady, shape: &mut Shape) {
        let sender = &self.senders[who];
        let (times, others) = (&mut shape.times, &mut shape.others);
        times.clear();
        others.clear();
        shape.done_bytes = sender.done_bytes;
        times.push(self.now_ps);
        match sender.pace {
            Pace::At(at) => times.push(at.ps),
            Pace::Idle | Pace::Blocked => others.push(u64::MAX),
        }
        others.push(sender.tags.into());
        others.push(sender.outstanding_bytes);
        others.push(sender.cached.map_or(u64::MAX, |cached| cached.path.into()));
        for channel in &steady.used {
            let (until_ps, owed_ps) = self.channels.state(*channel, self.now_ps);
            times.extend(until_ps);
            others.push(owed_ps);
            let many = times.len();
            for gap in self.channels.gaps(*channel, self.now_ps) {
                times.push(gap.from_ps);
                times.push(gap.to_ps);
            }
            others.push((times.len() - many) as u64);
        }
        for arriving in &sender.arriving {
            times.push(arriving.at.ps);
            times.push(arriving.sent_ps);
            others.push(sender.done_bytes.wrapping_sub(arriving.offset));
            others.push(u64::from(arriving.len_bytes) << 32 | u64::from(arriving.path));
            others.push(arriving.read.into());
        }
        for (ps, bytes) in &sender.answered {
            times.push(*ps);
            others.push((*bytes).into());
        }
    }

    /// How often the flow may be repeated at once.
    fn repetitions(&self, who: usize, span_ps: u64, bytes: u64, bulk: &Bulk) -> u64 {
        let sender = &self.senders[who];
        let is_sound = (sender.read).is_none_or(|read| self.reads[read as usize].failed.is_none());
        let reserve_bytes = Steady::RESERVE_BYTES.max(sender.most_outstanding_bytes);
        let latency_ps = bulk.latency_ps();
        // What is sent after the reserve is behind all that was sent before it.
        let reserve_ps = match sender
            .cached
            .and_then(|cached| self.paths.get(cached.path).way.hops.first())
        {
            Some(hop) => self.channels.channels[hop.channel as usize].carry_ps(Steady::RESERVE_BYTES),
            None => Steady::RESERVE_BYTES,
        };
        if !is_sound || bytes == 0 || span_ps == 0 || latency_ps >= reserve_ps {
            return 0;
        }
        let by_bytes = bulk.left_bytes().saturating_sub(reserve_bytes) / bytes;
        let time_ps = bulk
            .horizon_ps()
            .min(Machine::END_PS)
            .saturating_sub(self.now_ps)
            .saturating_sub(latency_ps);
        by_bytes.min((time_ps / span_ps).saturating_sub(1))
    }

    fn repeat(&mut self, who: usize, steady: &Steady, times: u64, span_ps: u64, bytes: u64) {
        let later_ps = times * span_ps;
        let further = times * bytes;
        self.now_ps += later_ps;
        let channels = steady.used.iter().chain(&steady.opposite);
        for (index, (channel, before)) in channels.zip(&steady.carried).enumerate() {
            let is_used = index < steady.used.len();
            self.channels
                .repeat(*channel, *before, times, if is_used { later_ps } else { 0 });
        }
        self.ram_carried.repeat(&steady.ram, times);
        let sender = &mut self.senders[who];
        sender.done_bytes += further;
        sender.free_ps += later_ps;
        if let Pace::At(at) = &mut sender.pace {
            at.ps += later_ps;
        }
        for arriving in &mut sender.arriving {
            arriving.at.ps += later_ps;
            arriving.sent_ps += later_ps;
            arriving.offset += further;
            arriving.address = arriving.address.wrapping_add(further);
        }
        for (ps, _) in &mut sender.answered {
            *ps += later_ps;
        }
        if let Some(read) = sender.read {
            self.reads[read as usize].end_ps += later_ps;
        }
    }
}

impl Shape {
    /// By which span all times have moved since, if all else is the same.
    fn repeats(&self, before: &Self) -> Option<u64> {
        if self.times.len() != before.times.len() || self.others != before.others {
            return None;
        }
        let span_ps = self.times.first()?.checked_sub(*before.times.first()?)?;
        let is_moved = |(now, before): (&u64, &u64)| now.checked_sub(*before) == Some(span_ps);
        self.times
            .iter()
            .zip(&before.times)
            .all(is_moved)
            .then_some(span_ps)
    }
}

impl Carried {
    /// As much as has come since is added so many times more.
    pub(super) fn repeat(&mut self, before: &Self, times: u64) {
        let add = |now: &mut u64, before: u64| *now += (*now - before) * times;
        let traffic = |now: &mut Traffic, before: &Traffic| {
            add(&mut now.tlps, before.tlps);
            add(&mut now.bytes, before.bytes);
            add(&mut now.data_bytes, before.data_bytes);
        };
        traffic(&mut self.payload, &before.payload);
        traffic(&mut self.queue, &before.queue);
        add(&mut self.dllp_bytes, before.dllp_bytes);
        add(&mut self.busy_ps, before.busy_ps);
    }
}
