//! Links and conventional buses: how long a TLP takes, and what waits for what.
//!
//! A way is walked as a whole when a TLP is sent: each channel on it takes the TLP when it has arrived in full (store and
//! forward), when all that was given to the channel before has left, and when the buffer behind the channel has room.
//! What cannot go on thus stays where it is, and holds up what is behind it, down to its source.
//!
//! Rounding: the time of a byte is kept in 2^-20 ps, rounded up; the time of a TLP in whole picoseconds, rounded up.

use super::counters::Carried;
use super::dice;
use super::gap::{Gap, Gaps, Taken};
use crate::device::Purpose;
use peerdma::pci::LinkState;

/// What carries one TLP at a time: one direction of a link, or a conventional bus.
#[derive(Debug)]
pub(super) struct Channel {
    /// Time of a byte, in 2^-20 ps.
    byte_time: u64,
    /// Framing, sequence number and LCRC of each TLP; on a conventional bus the address phase stands for its header too.
    framing_bytes: u64,
    /// What a TLP of the other direction brings about here; nothing in FLITs, which have bytes of their own for it.
    dllp_bytes: u64,
    is_conventional: bool,
    /// When the last TLP that was given to it will have left.
    busy_until_ps: u64,
    /// When it is idle before that.
    gaps: Gaps,
    /// When the last posted TLP will have left.
    posted_until_ps: u64,
    /// When the last non-posted TLP will have left.
    asked_until_ps: u64,
    /// Nothing comes to it sooner than so long after it was sent.
    least_ahead_ps: u64,
    /// Idle time that is not longer is not remembered.
    least_gap_ps: u64,
    /// When the last TLP will have arrived at its other end; kept where there is jitter.
    last_arrival_ps: u64,
    /// Acknowledgements and credits that have to be sent still; they fill gaps, or delay the next TLP.
    owed_ps: u64,
    /// How much time of it the buffer in front of it holds.
    buffer_ps: u64,
    pub(super) carried: Carried,
}

impl Channel {
    const FRACTION_BITS: u32 = 20;
    /// 64 GT/s carries packets in FLITs, 236 of whose 256 bytes are theirs, without framing (PCIe Base 6.0, 4.2.3).
    const FLIT_RATE: u8 = 6;
    /// Sequence number 2, LCRC 4, start and end 2 (PCIe Base 4.2.2).
    const FRAMING_BYTES: u64 = 8;
    /// An acknowledgement and an update of credits for each TLP, 8 bytes each (PCIe Base 3.5).
    const DLLP_BYTES: u64 = 16;
    /// What may wait in front of a channel.
    const BUFFER_BYTES: u64 = 32 << 10;
    /// What idle time must have room for to be remembered: a header with its framing.
    const LEAST_GAP_BYTES: u64 = 20;
    /// 32 bits at 66 MHz: 264 MB/s, shared by both directions.
    const CONVENTIONAL_MEGABYTES_PER_SECOND: u64 = 264;
    /// Address phase and turnaround: two clocks, in the time of which 8 bytes would pass.
    const CONVENTIONAL_FRAMING_BYTES: u64 = 8;

    pub(super) fn of_link(state: LinkState) -> Self {
        let megabits = state.megabits_per_second().max(1);
        let (framing_bytes, dllp_bytes) = match state.rate.0 {
            Self::FLIT_RATE => (0, 0),
            _ => (Self::FRAMING_BYTES, Self::DLLP_BYTES),
        };
        let byte_time = Self::exact_byte_time(state).unwrap_or((8_000_000 << Self::FRACTION_BITS) / megabits);
        Self {
            dllp_bytes,
            ..Self::new(byte_time, framing_bytes)
        }
    }

    pub(super) fn conventional() -> Self {
        let byte_time =
            (1_000_000u64 << Self::FRACTION_BITS).div_ceil(Self::CONVENTIONAL_MEGABYTES_PER_SECOND);
        Self {
            is_conventional: true,
            ..Self::new(byte_time, Self::CONVENTIONAL_FRAMING_BYTES)
        }
    }

    fn new(byte_time: u64, framing_bytes: u64) -> Self {
        Self {
            byte_time,
            framing_bytes,
            dllp_bytes: 0,
            is_conventional: false,
            busy_until_ps: 0,
            gaps: Gaps::default(),
            posted_until_ps: 0,
            asked_until_ps: 0,
            least_ahead_ps: u64::MAX,
            least_gap_ps: (Self::LEAST_GAP_BYTES * byte_time) >> Self::FRACTION_BITS,
            last_arrival_ps: 0,
            owed_ps: 0,
            buffer_ps: (Self::BUFFER_BYTES * byte_time) >> Self::FRACTION_BITS,
            carried: Carried::default(),
        }
    }

    /// From rate, width and encoding as fractions: the rounded megabits of [`LinkState`] would cost up to a thousandth.
    fn exact_byte_time(state: LinkState) -> Option<u64> {
        let tenths = u64::from(state.rate.tenths_of_gigatransfers());
        let (coded, plain): (u64, u64) = match state.rate.0 {
            1 | 2 => (10, 8),
            Self::FLIT_RATE => (256, 236),
            _ => (130, 128),
        };
        let divisor = tenths * u64::from(state.width) * plain;
        // 8 bits of 10,000/tenths picoseconds each.
        (divisor != 0).then(|| ((80_000 * coded) << Self::FRACTION_BITS).div_ceil(divisor))
    }

    /// A way leads to it on which it takes at least so long to come to it.
    #[inline]
    pub(super) fn is_ahead_by(&mut self, ps: u64) {
        self.least_ahead_ps = self.least_ahead_ps.min(ps);
    }

    /// Carries a TLP that comes at `at_ps`, and for which there is room ahead from `room_ps` on; when it has left.
    /// It was sent at `sent_ps`, which nothing is before that is sent later.
    #[inline]
    fn carry(&mut self, at_ps: u64, room_ps: u64, carry_ps: u64, sent_ps: u64) -> u64 {
        let mut rest_ps = carry_ps;
        let free_ps = self.busy_until_ps + self.owed_ps;
        if at_ps > free_ps {
            let floor_ps = sent_ps.saturating_add(self.least_ahead_ps);
            let from_ps = free_ps.max(floor_ps);
            if at_ps.saturating_sub(from_ps) > self.least_gap_ps {
                self.gaps.push(
                    Gap {
                        from_ps,
                        to_ps: at_ps,
                    },
                    floor_ps,
                );
            }
        } else if self.gaps.reach_beyond(at_ps) {
            match self.gaps.take(at_ps, at_ps.max(room_ps), carry_ps) {
                Taken::All { end_ps } => return end_ps,
                Taken::Part { rest_ps: rest } => rest_ps = rest,
            }
        }
        self.owed_ps = 0;
        self.busy_until_ps = at_ps.max(free_ps).max(room_ps) + rest_ps;
        self.busy_until_ps
    }

    /// Carries a non-posted TLP: behind what is posted and asked, before completions that wait, which may come from
    /// another port. Whatever is given to the channel next makes up for the time.
    #[inline]
    fn ask(&mut self, at_ps: u64, room_ps: u64, carry_ps: u64, sent_ps: u64) -> u64 {
        let begin_ps = at_ps.max(self.asked_until_ps).max(self.posted_until_ps);
        let end_ps = if begin_ps < self.busy_until_ps {
            self.owed_ps += carry_ps;
            begin_ps.max(room_ps) + carry_ps
        } else {
            self.carry(begin_ps, room_ps, carry_ps, sent_ps)
        };
        self.asked_until_ps = end_ps;
        end_ps
    }

    /// Is the buffer in front of it surely not full when something comes at `at_ps`?
    #[inline]
    fn has_room(&self, at_ps: u64) -> bool {
        self.busy_until_ps.max(self.asked_until_ps) <= at_ps + self.buffer_ps
    }

    /// When the buffer for non-posted TLPs in front of it has room: completions wait in another one.
    fn room_to_ask_ps(&self) -> u64 {
        (self.asked_until_ps.max(self.posted_until_ps)).saturating_sub(self.buffer_ps)
    }

    /// When the buffer in front of it has room for a TLP that leaves the channel `before` so long before it comes here,
    /// where it has come at `at_ps`.
    fn room_ps(&self, before: &Self, at_ps: u64, hence_ps: u64) -> u64 {
        let begin_ps = match before.gaps.reach_beyond(at_ps) {
            true => at_ps,
            false => at_ps.max(before.busy_until_ps + before.owed_ps),
        };
        let here_ps = begin_ps + hence_ps;
        let busy_until_ps = match self.gaps.reach_beyond(here_ps) {
            true => self.gaps.next_idle_ps(here_ps),
            false => None,
        };
        (busy_until_ps.unwrap_or(self.busy_until_ps)).saturating_sub(self.buffer_ps)
    }

    fn bytes(&self, header_bytes: u64, data_bytes: u64) -> u64 {
        match self.is_conventional {
            true => data_bytes + self.framing_bytes,
            false => header_bytes + data_bytes + self.framing_bytes,
        }
    }

    /// How long it takes to carry so many bytes.
    pub(super) fn carry_ps(&self, bytes: u64) -> u64 {
        let round_up = (1 << Self::FRACTION_BITS) - 1;
        (bytes * self.byte_time + round_up) >> Self::FRACTION_BITS
    }
}

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
