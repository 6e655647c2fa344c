//! What the walks ask of ACS, summed up from each function to its root bus.
//!
//! A walk counts functions on a stretch of the way up. With the counts from every function to its root
//! bus at hand, a stretch is a difference, and a pair is judged in constant time.

#[cfg(test)]
mod tests;

use super::extended_space;
use crate::fact::{Fact, Unread};
use crate::pci::{Acs, AcsFlags};
use crate::topology::{NodeId, Topology};
use alloc::vec;
use alloc::vec::Vec;

/// The bits that Linux takes for a redirect: R, C and E (`pci_bridge_has_acs_redir`).
pub const REDIRECT: AcsFlags = AcsFlags::REQUEST_REDIRECT
    .union(AcsFlags::COMPLETION_REDIRECT)
    .union(AcsFlags::EGRESS_CONTROL);

/// The ACS control register of one function, as the kernel would find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    /// These bits; none where there is no capability.
    Flags(AcsFlags),
    /// These bits, or none: we do not know whether the kernel finds the capability, for this reason.
    FlagsOrNone(AcsFlags, Unread),
    /// The kernel cannot read it.
    Unreadable,
    /// We do not know.
    Unknown(Unread),
}

impl Control {
    /// What the kernel finds of this register, if it looks for an extended space there.
    fn of(acs: &Fact<Option<Acs>>, is_in_reach: Fact<bool>) -> Self {
        const NOTHING: Control = Control::Flags(AcsFlags::from_register(0));
        match (acs, is_in_reach) {
            (_, Fact::Known(false)) => NOTHING,
            (Fact::Known(None) | Fact::Unknown(Unread::OutOfReach), _) => NOTHING,
            (Fact::Known(Some(acs)), Fact::Known(true)) => Self::Flags(acs.control),
            (Fact::Known(Some(acs)), Fact::Unknown(why)) => Self::FlagsOrNone(acs.control, why),
            (Fact::Unknown(Unread::Unreadable), _) => Self::Unreadable,
            (Fact::Unknown(why), _) => Self::Unknown(*why),
        }
    }
}

/// Yes, no, or not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tri {
    No,
    Yes,
    Unknown,
}

/// How many functions of a stretch do something, and of how many that is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Count {
    sure: u32,
    unknown: u32,
}

impl Count {
    fn of(answer: Tri) -> Self {
        Self {
            sure: u32::from(answer == Tri::Yes),
            unknown: u32::from(answer == Tri::Unknown),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            sure: self.sure + other.sure,
            unknown: self.unknown + other.unknown,
        }
    }

    /// This count without the part of it that `above` counts.
    pub(super) fn less(self, above: Self) -> Self {
        Self {
            sure: self.sure - above.sure,
            unknown: self.unknown - above.unknown,
        }
    }

    /// Does any function of the stretch do it?
    pub(super) fn any(self) -> Tri {
        if self.sure > 0 {
            Tri::Yes
        } else if self.unknown > 0 {
            Tri::Unknown
        } else {
            Tri::No
        }
    }
}

/// The sums for one function, itself included.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    /// Functions that mainline takes for redirecting.
    pub(super) redirecting: Count,
    /// Functions that block translated requests.
    pub(super) blocking: Count,
}

/// The control register of every function, and the sums.
#[derive(Debug, Clone)]
pub(super) struct AcsSums {
    controls: Vec<Control>,
    sums: Vec<Sums>,
}

impl AcsSums {
    pub(super) fn new(topology: &Topology) -> Self {
        let reach = extended_space::is_in_reach(topology);
        let controls: Vec<Control> = topology
            .nodes()
            .zip(reach)
            .map(|(node, reach)| Control::of(&topology.function(node).config.acs, reach))
            .collect();
        let mut sums = vec![Sums::default(); controls.len()];
        for &node in topology.top_down() {
            let above = topology
                .upstream(node)
                .map_or(Sums::default(), |bridge| sums[bridge.index()]);
            let control = controls[node.index()];
            sums[node.index()] = Sums {
                redirecting: above.redirecting.plus(Count::of(redirects(control))),
                blocking: above.blocking.plus(Count::of(blocks(control))),
            };
        }
        Self { controls, sums }
    }

    pub(super) fn control(&self, node: NodeId) -> Control {
        self.controls[node.index()]
    }

    pub(super) fn up_from(&self, node: NodeId) -> Sums {
        self.sums[node.index()]
    }
}

/// Does mainline count the function as redirecting? It does not look whether reading failed: what it
/// then finds in the register is left to chance.
pub(super) fn redirects(control: Control) -> Tri {
    match control {
        Control::Flags(flags) if flags.intersects(REDIRECT) => Tri::Yes,
        Control::Flags(_) => Tri::No,
        Control::FlagsOrNone(flags, _) if !flags.intersects(REDIRECT) => Tri::No,
        Control::FlagsOrNone(..) | Control::Unreadable | Control::Unknown(_) => Tri::Unknown,
    }
}

/// Does the rewrite count the function as blocking translated requests? An unreadable one it does.
fn blocks(control: Control) -> Tri {
    match control {
        Control::Flags(flags) if flags.contains(AcsFlags::TRANSLATION_BLOCKING) => Tri::Yes,
        Control::Flags(_) => Tri::No,
        Control::FlagsOrNone(flags, _) if !flags.contains(AcsFlags::TRANSLATION_BLOCKING) => Tri::No,
        Control::Unreadable => Tri::Yes,
        Control::FlagsOrNone(..) | Control::Unknown(_) => Tri::Unknown,
    }
}
