//! What goes wrong, as data: a plan that tests can shrink and files can hold.

use crate::time::Time;
use crate::tlp::Access;
use peerdma::addr::Bdf;

/// What goes wrong. For each TLP the first fault that matches it wins; what happens at a time happens whatever else does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FaultPlan {
    /// Decides for [`Turn::OneIn`].
    pub seed: u64,
    /// In the order of precedence.
    pub faults: Vec<Fault>,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A function, and all below it, is taken out of the machine.
    Removed {
        /// Which.
        device: Bdf,
        /// When.
        at: Time,
    },
    /// The link above a function goes down.
    LinkDown {
        /// The function.
        below: Bdf,
        /// When.
        at: Time,
    },
    /// A device breaks down, as its kind does (an NVMe controller sets CFS).
    BreaksDown {
        /// Which.
        device: Bdf,
        /// When.
        at: Time,
    },
    /// A completion does not arrive as it was sent.
    Completion {
        /// Who sent it; nothing for everybody. RAM is nobody: it matches nothing only.
        from: Option<Bdf>,
        /// Who waits for it; nothing for everybody.
        to: Option<Bdf>,
        /// Which of those.
        turn: Turn,
        /// What becomes of it.
        fate: Fate,
    },
    /// The IOMMU, where it translates, refuses requests as if nothing were mapped there. Interrupts and translation
    /// requests are none of its concern.
    Iommu {
        /// Whose; nothing for everybody's.
        requester: Option<Bdf>,
        /// Reads, writes; nothing for both.
        access: Option<Access>,
        /// First address.
        first: u64,
        /// Last address.
        last: u64,
        /// Which of those.
        turn: Turn,
    },
    /// Memory cannot come into being when it is first written: that write is lost.
    Allocation {
        /// Which chunk of memory, from 1, since the machine was switched on. What a script's runner fills does not count.
        nth: u64,
    },
}

/// Which of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Turn {
    /// All.
    Every,
    /// This one, from 1.
    Nth(u64),
    /// Each with the chance of one in so many, as the seed has it.
    OneIn(u32),
}

/// What becomes of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It never arrives.
    Lost,
    /// Its completer sends it marked as bad, and so it arrives.
    Poisoned,
}

impl FaultPlan {
    /// Does it pick single TLPs or chunks, so that all have to be looked at apart?
    pub fn picks_single_tlps(&self) -> bool {
        self.faults.iter().any(|fault| {
            matches!(
                fault,
                Fault::Completion { .. } | Fault::Iommu { .. } | Fault::Allocation { .. }
            )
        })
    }

    pub(super) fn failing_allocations(&self) -> Vec<u64> {
        let nth = |fault: &Fault| match fault {
            Fault::Allocation { nth } => Some(*nth),
            _ => None,
        };
        self.faults.iter().filter_map(nth).collect()
    }
}

/// A plan at work: how often each of its faults has matched.
#[derive(Debug)]
pub(super) struct Faults {
    plan: FaultPlan,
    matched: Vec<u64>,
}

impl Faults {
    pub(super) fn new(plan: FaultPlan) -> Self {
        Self {
            matched: vec![0; plan.faults.len()],
            plan,
        }
    }

    /// What happens at times.
    pub(super) fn timed(&self) -> impl Iterator<Item = (Time, usize)> + '_ {
        let at = |fault: &Fault| match *fault {
            Fault::Removed { at, .. } | Fault::LinkDown { at, .. } | Fault::BreaksDown { at, .. } => Some(at),
            _ => None,
        };
        (self.plan.faults.iter().enumerate()).filter_map(move |(index, fault)| Some((at(fault)?, index)))
    }

    pub(super) fn get(&self, index: usize) -> Option<Fault> {
        self.plan.faults.get(index).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.plan.faults.is_empty()
    }

    /// What becomes of a completion, `from` nobody if from RAM.
    pub(super) fn completion(&mut self, sender: Option<Bdf>, receiver: Option<Bdf>) -> Option<Fate> {
        for (index, fault) in self.plan.faults.iter().enumerate() {
            let Fault::Completion { from, to, turn, fate } = *fault else {
                continue;
            };
            let meant = (from.is_none() || from == sender) && (to.is_none() || to == receiver);
            if meant && Self::takes_turn(self.plan.seed, index, &mut self.matched[index], turn) {
                return Some(fate);
            }
        }
        None
    }

    /// Does the IOMMU refuse this request?
    pub(super) fn iommu(&mut self, from: Bdf, how: Access, address: u64) -> bool {
        for (index, fault) in self.plan.faults.iter().enumerate() {
            let Fault::Iommu {
                requester,
                access,
                first,
                last,
                turn,
            } = *fault
            else {
                continue;
            };
            let meant = requester.is_none_or(|requester| requester == from)
                && access.is_none_or(|access| access == how)
                && (first..=last).contains(&address);
            if meant && Self::takes_turn(self.plan.seed, index, &mut self.matched[index], turn) {
                return true;
            }
        }
        false
    }

    fn takes_turn(seed: u64, index: usize, matched: &mut u64, turn: Turn) -> bool {
        *matched += 1;
        match turn {
            Turn::Every => true,
            Turn::Nth(nth) => *matched == nth,
            Turn::OneIn(0) => false,
            Turn::OneIn(many) => {
                super::dice::throw(seed, index as u64, *matched).is_multiple_of(u64::from(many))
            }
        }
    }
}
