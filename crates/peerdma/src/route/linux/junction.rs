//! Where the ways of a provider and a client meet.

use crate::topology::{NodeId, Topology};
use alloc::vec::Vec;

/// The nearest common ancestor of a provider and a client, and the function below it on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Junction {
    /// The common ancestor, which may be one of the two.
    pub(super) common: NodeId,
    /// Its child on the provider's side; nothing where the provider is the ancestor itself.
    pub(super) provider_child: Option<NodeId>,
    /// Its child on the client's side; nothing where the client is the ancestor itself.
    pub(super) client_child: Option<NodeId>,
}

impl Junction {
    /// The junction of one pair, by climbing.
    pub(super) fn of_pair(topology: &Topology, provider: NodeId, client: NodeId) -> Option<Self> {
        let common = topology.common_ancestor(provider, client)?;
        let child_towards = |end| topology.climb(end).take_while(|&node| node != common).last();
        Some(Self {
            common,
            provider_child: child_towards(provider),
            client_child: child_towards(client),
        })
    }
}

/// The junctions of one provider with every client, by one descent.
#[derive(Debug, Clone, Default)]
pub(super) struct Junctions {
    of_client: Vec<Option<Junction>>,
}

impl Junctions {
    /// Computes the junctions of `provider`; memory is kept from one provider to the next.
    pub(super) fn descend(&mut self, topology: &Topology, provider: NodeId) {
        self.of_client.clear();
        self.of_client.resize(topology.nodes().len(), None);
        let mut provider_child = None;
        for node in topology.climb(provider) {
            self.of_client[node.index()] = Some(Junction {
                common: node,
                provider_child,
                client_child: None,
            });
            provider_child = Some(node);
        }
        for &node in topology.top_down() {
            if self.of_client[node.index()].is_some() {
                continue;
            }
            let Some(above) = topology
                .upstream(node)
                .and_then(|bridge| self.of_client[bridge.index()])
            else {
                continue;
            };
            self.of_client[node.index()] = Some(Junction {
                client_child: above.client_child.or(Some(node)),
                ..above
            });
        }
    }

    pub(super) fn with(&self, client: NodeId) -> Option<Junction> {
        self.of_client[client.index()]
    }
}
