//! Ways over links and conventional buses: how long a TLP takes, and what waits for what.
//!
//! A way is walked as a whole when a TLP is sent: each channel on it takes the TLP when it has arrived in full (store and
//! forward), when all that was given to the channel before has left, and when the buffer behind the channel has room.
//! What cannot go on thus stays where it is, and holds up what is behind it, down to its source.

use super::channel::Channel;
use super::counters::Carried;
use super::dice;
use super::gap::Gap;
use crate::device::Purpose;

/// One channel on a way, and what lies before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) channel: u32,
    /// The channel of the other direction; the same one for a conventional bus.
    pub(super) opposite: u32,
    /// Switches and root complexes between the channel before and this one.
    pub(super) before_ps: u64,
}

/// A way, as far as time goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hops {
    pub(super) hops: Vec<Hop>,
    /// Switches and root complexes behind the last channel.
    pub(super) behind_ps: u64,
}

/// A TLP, as far as time goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parcel {
    pub(super) header_bytes: u64,
    pub(super) data_bytes: u64,
    pub(super) purpose: Purpose,
    pub(super) is_relaxed: bool,
    pub(super) class: Class,
}

/// What ordering rules, and credits, tell apart (PCIe Base 2.4.1 and 2.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Posted,
    NonPosted,
    Completion,
}

/// When a TLP that was sent leaves and arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passage {
    /// When its sender can send the next.
    pub(super) left_ps: u64,
    pub(super) arrived_ps: u64,
}

/// All channels of a machine.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) channels: Vec<Channel>,
    seed: u64,
    jitter_ps: u64,
}

impl Channels {
    /// What a sender without a link of its own needs for a byte: 62.5 GB/s.
    const INTERNAL_PS_PER_BYTE: u64 = 16;
    /// From function to function inside of one device, and into a root complex.
    const INTERNAL_PS: u64 = 10_000;

    pub(super) fn new(channels: Vec<Channel>, seed: u64, jitter_ps: u64) -> Self {
        Self {
            channels,
            seed,
            jitter_ps,
        }
    }

    /// Sends a TLP.
    pub(super) fn walk(&mut self, way: &Hops, start_ps: u64, parcel: Parcel) -> Passage {
        let Parcel {
            header_bytes,
            data_bytes,
            purpose,
            is_relaxed,
            class,
        } = parcel;
        let least_ps = (header_bytes + data_bytes) * Self::INTERNAL_PS_PER_BYTE;
        let Some(first) = way.hops.first() else {
            let left_ps = start_ps + least_ps;
            return Passage {
                left_ps,
                arrived_ps: left_ps + way.behind_ps.max(Self::INTERNAL_PS),
            };
        };
        let (seed, jitter_ps) = (self.seed, self.jitter_ps);
        let channels = self.channels.as_mut_slice();
        // What jitter holds back holds up all that is behind it: then nothing goes first, and no idle time is found.
        let is_asking = class == Class::NonPosted && jitter_ps == 0;
        let sent_ps = if jitter_ps == 0 { start_ps } else { u64::MAX };
        let mut left_ps = start_ps;
        let mut at_ps = start_ps;
        for (index, hop) in way.hops.iter().enumerate() {
            at_ps += hop.before_ps;
            let channel = &channels[hop.channel as usize];
            let bytes = channel.bytes(header_bytes, data_bytes);
            let carry_ps = channel.carry_ps(bytes);
            let mut room_ps = 0;
            if let Some(next) = way.hops.get(index + 1) {
                let ahead = &channels[next.channel as usize];
                let hence_ps = next.before_ps + carry_ps;
                if !ahead.has_room(at_ps + hence_ps) {
                    let there_ps = match is_asking {
                        true => ahead.room_to_ask_ps(),
                        false => ahead.room_ps(channel, at_ps, hence_ps),
                    };
                    room_ps = there_ps.saturating_sub(hence_ps);
                }
            }
            let channel = &mut channels[hop.channel as usize];
            let mut arrived_ps = match is_asking {
                true => channel.ask(at_ps, room_ps, carry_ps, sent_ps),
                false => channel.carry(at_ps, room_ps, carry_ps, sent_ps),
            };
            if index == 0 {
                // Whoever sits inside of a switch or root complex hands over the next one while this one crosses it.
                left_ps = (arrived_ps - first.before_ps).max(start_ps + 1);
            }
            if class == Class::Posted {
                channel.posted_until_ps = channel.posted_until_ps.max(arrived_ps);
            }
            if jitter_ps != 0 {
                arrived_ps += jitter(seed, jitter_ps, hop.channel, arrived_ps);
                if !is_relaxed {
                    arrived_ps = arrived_ps.max(channel.last_arrival_ps);
                    channel.last_arrival_ps = arrived_ps;
                }
            }
            channel.carried.busy_ps += carry_ps;
            channel.carried.add(purpose, bytes, data_bytes);
            if !channel.is_conventional {
                let opposite = &mut channels[hop.opposite as usize];
                let dllp_ps = opposite.carry_ps(opposite.dllp_bytes);
                opposite.owed_ps += dllp_ps;
                opposite.carried.busy_ps += dllp_ps;
                opposite.carried.dllp_bytes += opposite.dllp_bytes;
            }
            at_ps = arrived_ps;
        }
        Passage {
            left_ps,
            arrived_ps: at_ps + way.behind_ps,
        }
    }

    pub(super) fn has_jitter(&self) -> bool {
        self.jitter_ps != 0
    }

    /// Until when a channel is busy with all, with what is posted and with what is asked, where that lies ahead; and
    /// what it owes.
    pub(super) fn state(&self, channel: u32, now_ps: u64) -> ([u64; 3], u64) {
        let channel = &self.channels[channel as usize];
        let times = [
            channel.busy_until_ps,
            channel.posted_until_ps.max(now_ps),
            channel.asked_until_ps.max(now_ps),
        ];
        (times, channel.owed_ps)
    }

    /// The idle time of a channel that what is sent from now on may come to.
    pub(super) fn gaps(&self, channel: u32, now_ps: u64) -> impl Iterator<Item = Gap> {
        let channel = &self.channels[channel as usize];
        channel.gaps.behind(now_ps.saturating_add(channel.least_ahead_ps))
    }

    /// What a channel has carried, and what it owes.
    pub(super) fn account(&self, channel: u32) -> (Carried, u64) {
        let channel = &self.channels[channel as usize];
        (channel.carried, channel.owed_ps)
    }

    /// What a channel has carried since is carried so many times more, its times being later by so much then.
    pub(super) fn repeat(&mut self, channel: u32, before: (Carried, u64), times: u64, later_ps: u64) {
        let channel = &mut self.channels[channel as usize];
        channel.carried.repeat(&before.0, times);
        if later_ps == 0 {
            // No TLP of its own has paid.
            channel.owed_ps += channel.owed_ps.saturating_sub(before.1) * times;
        } else {
            channel.busy_until_ps += later_ps;
            channel.posted_until_ps += later_ps;
            channel.asked_until_ps += later_ps;
            channel.gaps.move_by(later_ps);
        }
    }

    /// How many bytes a channel carries in so many picoseconds.
    pub(super) fn bytes_in(&self, channel: u32, ps: u64) -> u64 {
        let byte_time = self.channels[channel as usize].byte_time.max(1);
        ((u128::from(ps) << Channel::FRACTION_BITS) / u128::from(byte_time)) as u64
    }
}

/// By how much later what a channel has carried by then arrives than it could.
fn jitter(seed: u64, most_ps: u64, channel: u32, ps: u64) -> u64 {
    /// For so long a channel keeps its delay: 2^20 ps, a microsecond.
    const EPOCH_BITS: u32 = 20;
    let throw = dice::throw(seed, channel.into(), ps >> EPOCH_BITS);
    match most_ps.checked_add(1) {
        Some(many) => throw % many,
        None => throw,
    }
}
