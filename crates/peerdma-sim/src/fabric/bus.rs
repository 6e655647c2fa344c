//! A bus: who sits on it, what they claim, and what leads away from it.

use super::FunctionId;
use super::decode::{Claim, Decode};
use super::node::{Facing, Node};
use std::ops::RangeInclusive;

/// A bus.
#[derive(Debug)]
pub(super) struct Bus {
    pub(super) place: BusPlace,
    /// The root that it is below, by its index.
    pub(super) root: u32,
    /// The functions on it, in the snapshot's order.
    pub(super) functions: Vec<FunctionId>,
    /// Those of them that are bridges.
    pub(super) bridges: Vec<FunctionId>,
    /// The bridges that are there, and the numbers of the buses that they lead to: side by side, since each completion asks
    /// at each hop.
    leads: Vec<(FunctionId, RangeInclusive<u8>)>,
    /// Addresses that they claim.
    pub(super) decode: Decode<Target>,
}

/// Where a bus is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BusPlace {
    /// At the top: the root with this index.
    Root(u32),
    /// Below a bridge.
    Below { bridge: FunctionId, facing: Facing },
}

/// What claims an address on a bus. Plain words rather than an enum: it is copied for every hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) function: FunctionId,
    bar: u32,
    /// First address of the BAR; 0 for a window.
    pub(super) first: u64,
}

impl Target {
    const WINDOW: u32 = u32::MAX;

    /// A memory BAR, with its first address.
    pub(super) const fn bar(function: FunctionId, bar: u8, first: u64) -> Self {
        let bar = bar as u32;
        Self { function, bar, first }
    }

    /// A window of a bridge.
    pub(super) const fn window(function: FunctionId) -> Self {
        Self {
            function,
            bar: Self::WINDOW,
            first: 0,
        }
    }

    /// Number of the BAR; nothing for a window.
    pub(super) const fn bar_number(self) -> Option<u8> {
        match self.bar {
            Self::WINDOW => None,
            bar => Some(bar as u8),
        }
    }
}

impl Bus {
    pub(super) fn new(place: BusPlace) -> Self {
        Self {
            place,
            root: 0,
            functions: Vec::new(),
            bridges: Vec::new(),
            leads: Vec::new(),
            decode: Decode::default(),
        }
    }

    /// Builds the tables of claims and of bus numbers anew.
    pub(super) fn decode_again(&mut self, nodes: &[Node]) {
        let mut claims = Vec::new();
        self.leads.clear();
        for &function in &self.functions {
            let node = &nodes[function.index()];
            claims_of(function, node, &mut claims);
            if node.below.is_some() && !node.is_gone {
                self.leads.push((function, node.secondary..=node.subordinate));
            }
        }
        self.decode = Decode::new(claims);
    }

    /// The first bridge on it, in the order of functions, that leads to bus `number`.
    pub(super) fn bridge_to(&self, number: u8) -> Option<FunctionId> {
        let leads = |(_, below): &&(_, RangeInclusive<u8>)| below.contains(&number);
        self.leads.iter().find(leads).map(|(bridge, _)| *bridge)
    }
}

/// What a function claims: its BARs and, for a bridge, its windows, while memory enable is set.
fn claims_of(function: FunctionId, node: &Node, claims: &mut Vec<Claim<Target>>) {
    if node.is_gone || !node.memory_enabled {
        return;
    }
    for (bar, opening) in (0u8..).zip(node.bars) {
        if opening.is_open() {
            claims.push(Claim {
                first: opening.first,
                last: opening.last,
                by: Target::bar(function, bar, opening.first),
            });
        }
    }
    if node.below.is_some() {
        for opening in [node.memory, node.prefetchable] {
            if opening.is_open() {
                claims.push(Claim {
                    first: opening.first,
                    last: opening.last,
                    by: Target::window(function),
                });
            }
        }
    }
}
