//! Who takes an address: the windows and BARs of the functions on each bus, sorted.

use super::facts::{Bus, FunctionFacts};
use super::memory::BarPlace;
use crate::topology::{NodeId, Place, Topology};
use alloc::vec;
use alloc::vec::Vec;

/// A range of addresses that a function takes on the bus that it sits on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    first: u64,
    last: u64,
    /// The highest `last` among this claim and those before it on the bus.
    reach: u64,
    pub(super) node: NodeId,
    pub(super) by: ClaimBy,
}

/// What takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClaimBy {
    /// The function itself.
    Bar,
    /// A bridge, for what lies below it.
    Window,
}

impl Claim {
    /// The claim of a bridge whose window is taken to hold this address.
    pub(super) const fn of_unknown_window(node: NodeId, address: u64) -> Self {
        Self {
            first: address,
            last: address,
            reach: address,
            node,
            by: ClaimBy::Window,
        }
    }
}

/// The claims of a machine, bus by bus.
#[derive(Debug, Clone)]
pub(super) struct Claims {
    /// Sorted by bus, then by first address.
    claims: Vec<Claim>,
    /// Where each bus starts: those below functions, then the root buses.
    starts: Vec<u32>,
    /// The buses with a bridge whose windows nobody knows.
    doubtful: Vec<bool>,
    functions: usize,
}

impl Claims {
    pub(super) fn new(topology: &Topology, functions: &[FunctionFacts], bars: &[BarPlace]) -> Self {
        let buses = functions.len() + topology.roots().len();
        let mut doubtful = vec![false; buses];
        let mut found: Vec<(u32, Claim)> = Vec::new();
        for (node, facts) in topology.nodes().zip(functions) {
            let bus = match topology.place(node) {
                Place::Below(bridge) => bridge.index(),
                Place::OnRoot(root) => functions.len() + root.index(),
                Place::Unknown => continue,
            };
            let spans = facts.bars(bars).iter().filter_map(|bar| bar.span());
            let own = spans.map(|span| (span, ClaimBy::Bar));
            let windows = facts.windows.known().unwrap_or_default();
            let passed = windows.into_iter().flatten().map(|span| (span, ClaimBy::Window));
            for ((first, last), by) in own.chain(passed) {
                let claim = Claim {
                    first,
                    last,
                    reach: last,
                    node,
                    by,
                };
                found.push((bus as u32, claim));
            }
            if let Some(doubtful) = doubtful.get_mut(bus) {
                *doubtful |= !facts.windows.is_known();
            }
        }
        found.sort_by_key(|(bus, claim)| (*bus, claim.first, claim.node));
        let mut starts = vec![0u32; buses + 1];
        for (bus, _) in &found {
            starts[*bus as usize + 1] += 1;
        }
        for bus in 1..starts.len() {
            starts[bus] += starts[bus - 1];
        }
        let mut claims: Vec<Claim> = Vec::with_capacity(found.len());
        let mut before: Option<(u32, u64)> = None;
        for (bus, mut claim) in found {
            if let Some((same, reach)) = before
                && same == bus
            {
                claim.reach = reach.max(claim.last);
            }
            before = Some((bus, claim.reach));
            claims.push(claim);
        }
        Self {
            claims,
            starts,
            doubtful,
            functions: functions.len(),
        }
    }

    /// The claims on `bus` that hold `address`, highest start first.
    pub(super) fn of(&self, bus: Bus, address: u64) -> impl Iterator<Item = Claim> + '_ {
        let bus = self.number(bus);
        let start = self.starts.get(bus).copied().unwrap_or(0) as usize;
        let end = self.starts.get(bus + 1).copied().unwrap_or(0) as usize;
        let claims = self.claims.get(start..end).unwrap_or_default();
        let upto = claims.partition_point(|claim| claim.first <= address);
        claims
            .get(..upto)
            .unwrap_or_default()
            .iter()
            .rev()
            .take_while(move |claim| claim.reach >= address)
            .filter(move |claim| claim.last >= address)
            .copied()
    }

    /// First and last address of each claim, whoever makes it.
    pub(super) fn spans(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.claims.iter().map(|claim| (claim.first, claim.last))
    }

    /// Are there bridges on `bus` whose windows nobody knows?
    pub(super) fn are_doubtful(&self, bus: Bus) -> bool {
        self.doubtful.get(self.number(bus)).copied().unwrap_or(false)
    }

    fn number(&self, bus: Bus) -> usize {
        match bus {
            Bus::Below(bridge) => bridge.index(),
            Bus::Root(root) => self.functions + root.index(),
        }
    }
}
