//! A bus: who sits on it, what they claim, and what leads away from it.

use super::FunctionId;
use super::decode::{Claim, Decode};
use super::node::{Facing, Node};

/// A bus.
#[derive(Debug)]
pub(super) struct Bus {
    pub(super) place: BusPlace,
    /// The functions on it, in the snapshot's order.
    pub(super) functions: Vec<FunctionId>,
    /// Those of them that are bridges.
    pub(super) bridges: Vec<FunctionId>,
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

/// What claims an address on a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A memory BAR, with its first address.
    Bar {
        function: FunctionId,
        bar: u8,
        first: u64,
    },
    /// A window of a bridge.
    Window { bridge: FunctionId },
}

impl Target {
    pub(super) const fn function(self) -> FunctionId {
        match self {
            Self::Bar { function, .. } => function,
            Self::Window { bridge } => bridge,
        }
    }
}

impl Bus {
    pub(super) fn new(place: BusPlace) -> Self {
        Self {
            place,
            functions: Vec::new(),
            bridges: Vec::new(),
            decode: Decode::default(),
        }
    }

    /// Builds the table of claims anew.
    pub(super) fn decode_again(&mut self, nodes: &[Node]) {
        let mut claims = Vec::new();
        for &function in &self.functions {
            claims_of(function, &nodes[function.index()], &mut claims);
        }
        self.decode = Decode::new(claims);
    }

    /// The first bridge on it, in the order of functions, that leads to bus `number`.
    pub(super) fn bridge_to(&self, nodes: &[Node], number: u8) -> Option<FunctionId> {
        self.bridges.iter().copied().find(|bridge| {
            let node = &nodes[bridge.index()];
            !node.is_gone && node.leads_to(number)
        })
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
                by: Target::Bar {
                    function,
                    bar,
                    first: opening.first,
                },
            });
        }
    }
    if node.below.is_some() {
        for opening in [node.memory, node.prefetchable] {
            if opening.is_open() {
                claims.push(Claim {
                    first: opening.first,
                    last: opening.last,
                    by: Target::Window { bridge: function },
                });
            }
        }
    }
}
