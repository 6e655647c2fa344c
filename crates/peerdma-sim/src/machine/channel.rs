//! One direction of a link, or a conventional bus: what it carries when. [`super::link`] walks ways over channels.
//!
//! Rounding: the time of a byte is kept in 2^-20 ps, rounded up; the time of a TLP in whole picoseconds, rounded up.

use super::counters::Carried;
use super::gap::{Gap, Gaps, Taken};
use peerdma::pci::LinkState;

/// What carries one TLP at a time: one direction of a link, or a conventional bus.
#[derive(Debug)]
pub(super) struct Channel {
    /// Time of a byte, in 2^-20 ps.
    pub(super) byte_time: u64,
    /// Framing, sequence number and LCRC of each TLP; on a conventional bus the address phase stands for its header too.
    framing_bytes: u64,
    /// What a TLP of the other direction brings about here; nothing in FLITs, which have bytes of their own for it.
    pub(super) dllp_bytes: u64,
    pub(super) is_conventional: bool,
    /// When the last TLP that was given to it will have left.
    pub(super) busy_until_ps: u64,
    /// When it is idle before that.
    pub(super) gaps: Gaps,
    /// When the last posted TLP will have left.
    pub(super) posted_until_ps: u64,
    /// When the last non-posted TLP will have left.
    pub(super) asked_until_ps: u64,
    /// Nothing comes to it sooner than so long after it was sent.
    pub(super) least_ahead_ps: u64,
    /// Idle time that is not longer is not remembered.
    least_gap_ps: u64,
    /// When the last TLP will have arrived at its other end; kept where there is jitter.
    pub(super) last_arrival_ps: u64,
    /// Acknowledgements and credits that have to be sent still; they fill gaps, or delay the next TLP.
    pub(super) owed_ps: u64,
    /// How much time of it the buffer in front of it holds.
    buffer_ps: u64,
    pub(super) carried: Carried,
}

impl Channel {
    pub(super) const FRACTION_BITS: u32 = 20;
    /// 64 GT/s carries packets in FLITs, 236 of whose 256 bytes are theirs, without framing (PCIe Base 6.0, 4.2.3).
    const FLIT_RATE: u8 = 6;
    /// Sequence number 2, LCRC 4, start and end 2 (PCIe Base 4.2.2).
    const FRAMING_BYTES: u64 = 8;
    /// An acknowledgement and an update of credits for each TLP, 8 bytes each (PCIe Base 3.5).
    const DLLP_BYTES: u64 = 16;
    /// What may wait in front of a channel.
    const BUFFER_BYTES: u64 = 32 << 10;
    /// Three doublewords (PCIe Base 2.2.1).
    const LEAST_HEADER_BYTES: u64 = 12;
    /// What idle time must have room for to be remembered: a header with its framing.
    const LEAST_GAP_BYTES: u64 = Self::LEAST_HEADER_BYTES + Self::FRAMING_BYTES;
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
    pub(super) fn carry(&mut self, at_ps: u64, room_ps: u64, carry_ps: u64, sent_ps: u64) -> u64 {
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
    pub(super) fn ask(&mut self, at_ps: u64, room_ps: u64, carry_ps: u64, sent_ps: u64) -> u64 {
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
    pub(super) fn has_room(&self, at_ps: u64) -> bool {
        self.busy_until_ps.max(self.asked_until_ps) <= at_ps + self.buffer_ps
    }

    /// When the buffer for non-posted TLPs in front of it has room: completions wait in another one.
    pub(super) fn room_to_ask_ps(&self) -> u64 {
        (self.asked_until_ps.max(self.posted_until_ps)).saturating_sub(self.buffer_ps)
    }

    /// When the buffer in front of it has room for a TLP that leaves the channel `before` so long before it comes here,
    /// where it has come at `at_ps`.
    pub(super) fn room_ps(&self, before: &Self, at_ps: u64, hence_ps: u64) -> u64 {
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

    #[inline]
    pub(super) fn bytes(&self, header_bytes: u64, data_bytes: u64) -> u64 {
        match self.is_conventional {
            true => data_bytes + self.framing_bytes,
            false => header_bytes + data_bytes + self.framing_bytes,
        }
    }

    /// Nothing passes it faster: a header of three doublewords (PCIe Base 2.2.1) without data.
    pub(super) fn least_carry_ps(&self) -> u64 {
        self.carry_ps(self.bytes(Self::LEAST_HEADER_BYTES, 0))
    }

    /// How long it takes to carry so many bytes.
    #[inline]
    pub(super) fn carry_ps(&self, bytes: u64) -> u64 {
        let round_up = (1 << Self::FRACTION_BITS) - 1;
        (bytes * self.byte_time + round_up) >> Self::FRACTION_BITS
    }
}
