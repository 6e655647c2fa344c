//! Idle time of a channel before what it has been given already.
//!
//! A way is booked as a whole when its TLP is sent. What was sent earlier but comes to a channel later, from behind a slow
//! link for instance, leaves idle time there, which [`super::channel`] gives to what comes to the channel sooner.
//!
//! A TLP that comes at some time takes all idle time from then on until it is carried, in as many parts as there are: no
//! idle time is lost because it is short, and nothing that comes later finds any before the TLP has left. So whatever
//! comes to a channel behind something else leaves it behind that, as PCIe's ordering rules ask for.

use std::collections::VecDeque;

/// Idle time of one channel.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    /// In the order of time, apart from each other.
    gaps: VecDeque<Gap>,
    /// The end of the last there was: nothing is idle behind it.
    last_ps: u64,
}

/// The channel is idle from then until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) from_ps: u64,
    pub(super) to_ps: u64,
}

/// What becomes of a TLP that takes idle time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It has left by then.
    All { end_ps: u64 },
    /// So much of it has found no idle time.
    Part { rest_ps: u64 },
}

impl Gaps {
    /// So many are remembered, the last ones: about as many TLPs of 128 bytes as one function may wait
    /// for.
    const MOST: usize = 4096;

    /// Could there be idle time after that?
    #[inline]
    pub(super) fn reach_beyond(&self, ps: u64) -> bool {
        self.last_ps > ps
    }

    /// Idle time behind all that is known; nobody comes before the floor any more.
    #[inline(never)]
    pub(super) fn push(&mut self, gap: Gap, floor_ps: u64) {
        while let Some(first) = self.gaps.front()
            && (first.to_ps <= floor_ps || self.gaps.len() >= Self::MOST)
        {
            self.gaps.pop_front();
        }
        self.gaps.push_back(gap);
        self.last_ps = gap.to_ps;
    }

    /// When the channel is idle first, from then on.
    pub(super) fn next_idle_ps(&self, ps: u64) -> Option<u64> {
        let index = self.gaps.partition_point(|gap| gap.to_ps <= ps);
        self.gaps.get(index).map(|gap| gap.from_ps.max(ps))
    }

    /// A TLP that comes at `at_ps` and may be sent from `ready_ps` on takes the idle time that it needs.
    #[inline(never)]
    pub(super) fn take(&mut self, at_ps: u64, ready_ps: u64, carry_ps: u64) -> Taken {
        let first = self.gaps.partition_point(|gap| gap.to_ps <= at_ps);
        let before = match self.gaps.get(first) {
            Some(gap) if gap.from_ps < at_ps => Some(Gap {
                from_ps: gap.from_ps,
                to_ps: at_ps,
            }),
            _ => None,
        };
        let mut rest_ps = carry_ps;
        let mut end_ps = None;
        let mut next = first;
        while let Some(gap) = self.gaps.get_mut(next) {
            let from_ps = gap.from_ps.max(ready_ps);
            let idle_ps = gap.to_ps.saturating_sub(from_ps);
            if rest_ps < idle_ps {
                gap.from_ps = from_ps + rest_ps;
                end_ps = Some(gap.from_ps);
                break;
            }
            next += 1;
            rest_ps -= idle_ps;
            if rest_ps == 0 {
                end_ps = Some(from_ps + idle_ps);
                break;
            }
        }
        match (before, next > first) {
            (Some(before), true) => {
                self.gaps[first] = before;
                self.gaps.drain(first + 1..next);
            }
            (Some(before), false) => self.gaps.insert(first, before),
            (None, _) => drop(self.gaps.drain(first..next)),
        }
        match end_ps {
            Some(end_ps) => Taken::All { end_ps },
            None => Taken::Part { rest_ps },
        }
    }

    /// All of it, as far as it is behind the floor.
    pub(super) fn behind(&self, floor_ps: u64) -> impl Iterator<Item = Gap> {
        let gaps = self.gaps.iter().filter(move |gap| gap.to_ps > floor_ps);
        gaps.map(move |gap| Gap {
            from_ps: gap.from_ps.max(floor_ps),
            to_ps: gap.to_ps,
        })
    }

    pub(super) fn move_by(&mut self, later_ps: u64) {
        self.last_ps += later_ps;
        for gap in &mut self.gaps {
            gap.from_ps += later_ps;
            gap.to_ps += later_ps;
        }
    }
}
