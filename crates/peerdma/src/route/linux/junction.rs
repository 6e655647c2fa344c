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

/// The junctions of one provider with every client, by one descent from its root bus. Clients that
/// share no bridge with the provider are never visited: on a large machine those are nearly all.
#[derive(Debug, Clone, Default)]
pub(super) struct Junctions {
    of_client: Vec<Option<Junction>>,
    /// The clients that have a junction: what the next descent has to clear.
    met: Vec<NodeId>,
}

impl Junctions {
    /// Computes the junctions of `provider`; memory is kept from one provider to the next.
    pub(super) fn descend(&mut self, topology: &Topology, provider: NodeId) {
        for node in self.met.drain(..) {
            if let Some(junction) = self.of_client.get_mut(node.index()) {
                *junction = None;
            }
        }
        self.of_client.resize(topology.nodes().len(), None);
        let mut provider_child = None;
        for node in topology.climb(provider) {
            self.meet(
                node,
                Junction {
                    common: node,
                    provider_child,
                    client_child: None,
                },
            );
            provider_child = Some(node);
        }
        let mut next = 0;
        while let Some(&above) = self.met.get(next) {
            next += 1;
            let Some(junction) = self.of_client[above.index()] else {
                continue;
            };
            for &node in topology.children(above) {
                if self.of_client[node.index()].is_none() {
                    let client_child = junction.client_child.or(Some(node));
                    self.meet(
                        node,
                        Junction {
                            client_child,
                            ..junction
                        },
                    );
                }
            }
        }
    }

    pub(super) fn with(&self, client: NodeId) -> Option<Junction> {
        self.of_client[client.index()]
    }

    fn meet(&mut self, client: NodeId, junction: Junction) {
        self.of_client[client.index()] = Some(junction);
        self.met.push(client);
    }
}
