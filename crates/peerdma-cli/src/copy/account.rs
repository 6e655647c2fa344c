//! What became of a copy that was begun.

use crate::ground::Traffic;
use peerdma::addr::Bdf;
use peerdma::dma::Space;
use peerdma::engine::{Check, Counts, Failure, SlotMappings};
use peerdma::plan::CopyPlan;
use std::time::Duration;

/// A copy that was begun, and how it ended.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) plan: CopyPlan,
    /// What each of the two devices is told of the first slot.
    pub(super) addresses: [Option<SlotAddress>; 2],
    pub(super) counts: Counts,
    pub(super) ended: Ended,
    /// The destination read back: nothing where nobody asked, or it was interrupted.
    pub(super) check: Option<Check>,
    /// Controllers that somebody else reset meanwhile, or that do not answer.
    pub(super) disturbed: Vec<Bdf>,
    pub(super) traffic: Traffic,
    /// By the machine's clock.
    pub(super) took: Duration,
    /// By ours.
    pub(super) host: Duration,
    /// CPU time of this process while it moved, all threads; of a simulated machine it is the simulator's.
    pub(super) cpu: Duration,
}

impl Account {
    /// So many bytes from the start on need not be copied again.
    pub(super) fn kept_bytes(&self) -> u64 {
        kept_bytes(self.counts, self.check.as_ref(), &self.disturbed)
    }
}

fn kept_bytes(counts: Counts, check: Option<&Check>, disturbed: &[Bdf]) -> u64 {
    match check {
        // What went through memory that did not answer may be anything.
        _ if !disturbed.is_empty() => 0,
        // What was read back and found wrong is copied again.
        Some(Check::Differs(mismatch)) => counts.durable_bytes.min(mismatch.offset_bytes),
        _ => counts.durable_bytes,
    }
}

/// An address as a device is told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotAddress {
    pub(super) addr: u64,
    pub(super) space: Space,
}

impl SlotAddress {
    pub(super) fn of(slot: &SlotMappings) -> [Option<Self>; 2] {
        [&slot.source, &slot.destination].map(|mapping| {
            let first = mapping.list().segments().first();
            first.map(|segment| Self {
                addr: segment.addr,
                space: segment.space,
            })
        })
    }

    /// What kind of address it is, in output.
    pub(super) const fn space_name(self) -> &'static str {
        match self.space {
            Space::Iova => "host",
            Space::Bus => "bus",
            Space::Own => "own",
        }
    }
}

/// How a copy ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ended {
    Whole,
    Interrupted,
    Failed(Failure),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_of_a_copy_that_was_disturbed() {
        let counts = Counts {
            durable_bytes: 8192,
            ..Counts::default()
        };
        assert_eq!(kept_bytes(counts, None, &[]), 8192);
        assert_eq!(kept_bytes(counts, Some(&Check::Cancelled), &[]), 8192);
        for check in [None, Some(&Check::Cancelled)] {
            assert_eq!(kept_bytes(counts, check, &["3:0.0".parse().unwrap()]), 0);
        }
    }
}
