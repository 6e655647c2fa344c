//! TLPs that got nowhere: the last of them, and how many there were.

use crate::fabric::{Loss, Where, Why};
use crate::time::Time;
use crate::tlp::Request;
use std::collections::VecDeque;

/// A TLP that got nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostTlp {
    /// When it was lost.
    pub time: Time,
    /// The request, or the one that the completion was for.
    pub request: Request,
    /// Where and why.
    pub loss: Loss,
}

/// The last losses, and how many there were.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Losses {
    last: VecDeque<LostTlp>,
    count: u64,
}

impl Losses {
    /// How many are kept.
    pub const KEPT: usize = 1024;

    /// How many there were, also those that are no longer kept.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last ones, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &LostTlp> {
        self.last.iter()
    }

    /// The last ones for this reason, oldest first.
    pub fn of(&self, why: Why) -> impl Iterator<Item = &LostTlp> {
        self.last.iter().filter(move |lost| lost.loss.why == why)
    }

    /// The last ones at this place, oldest first.
    pub fn at(&self, place: Where) -> impl Iterator<Item = &LostTlp> {
        self.last.iter().filter(move |lost| lost.loss.at == place)
    }

    pub(super) fn push(&mut self, lost: LostTlp) {
        self.count += 1;
        if self.last.len() == Self::KEPT {
            self.last.pop_front();
        }
        self.last.push_back(lost);
    }
}
