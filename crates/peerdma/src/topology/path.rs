//! The way from one function to another.

use super::{NodeId, Topology};
use alloc::vec::Vec;

/// The functions that a request passes on its way up from its client, and down to its provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The client and every bridge above it, bottom up, up to and without the common ancestor.
    pub up: Vec<NodeId>,
    /// The nearest function that is above both (or one of them); nothing where the way leads through
    /// the root complex.
    pub turn: Option<NodeId>,
    /// Every bridge below the common ancestor on the provider's side and the provider, top down.
    pub down: Vec<NodeId>,
}

impl Path {
    /// The way from `client` to `provider`.
    pub fn new(topology: &Topology, client: NodeId, provider: NodeId) -> Self {
        let turn = topology.common_ancestor(client, provider);
        let side = |end| {
            topology
                .climb(end)
                .take_while(|&node| Some(node) != turn)
                .collect::<Vec<_>>()
        };
        let mut down = side(provider);
        down.reverse();
        Self {
            up: side(client),
            turn,
            down,
        }
    }

    /// All functions on the way, in the order in which a request meets them.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        let down = self.down.iter();
        self.up.iter().chain(self.turn.iter()).chain(down).copied()
    }
}
