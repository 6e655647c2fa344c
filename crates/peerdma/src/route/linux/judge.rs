//! The judge: one topology, one kernel, any pair.

use super::acs::AcsSums;
use super::gate::Gates;
use super::junction::{Junction, Junctions};
use super::{Kernel, mainline, next};
use crate::route::{Answer, Verdict};
use crate::topology::{NodeId, RootId, Topology};
use alloc::vec::Vec;

/// Answers for the functions of one topology as one Linux would.
///
/// # Panics
/// Where a [`NodeId`] is not one of its topology, as there.
#[derive(Debug, Clone)]
pub struct Judge<'t> {
    topology: &'t Topology,
    kernel: Kernel,
    acs: AcsSums,
    gates: Gates,
}

/// The verdicts of one provider with every client; memory is kept from one provider to the next.
#[derive(Debug, Clone, Default)]
pub struct Row {
    junctions: Junctions,
    /// The answer of the root complex for clients below each root bus.
    through_host_bridge: Vec<Answer>,
    verdicts: Vec<Verdict>,
}

impl Row {
    /// The verdicts, in the order of the topology's functions.
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }
}

impl<'t> Judge<'t> {
    /// Sums up what the walks will ask for; time and memory linear in the number of functions.
    pub fn new(topology: &'t Topology, kernel: Kernel) -> Self {
        Self {
            topology,
            kernel,
            acs: AcsSums::new(topology),
            gates: Gates::new(topology, kernel),
        }
    }

    /// The topology.
    pub fn topology(&self) -> &'t Topology {
        self.topology
    }

    /// The kernel that is asked.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// May `client` read and write memory of `provider`?
    pub fn verdict(&self, provider: NodeId, client: NodeId) -> Verdict {
        let junction = Junction::of_pair(self.topology, provider, client);
        self.decide(provider, client, junction, |provider, client| {
            self.gates.answer(provider, client)
        })
    }

    /// The same for every client of one provider, in constant time for each.
    pub fn row(&self, provider: NodeId, row: &mut Row) {
        row.junctions.descend(self.topology, provider);
        row.through_host_bridge.clear();
        if let Some(root) = self.topology.root(provider) {
            let clients = self.topology.root_ids();
            let answers = clients.map(|client| self.gates.answer(root, client));
            row.through_host_bridge.extend(answers);
        }
        row.verdicts.clear();
        let verdicts = self.topology.nodes().map(|client| {
            self.decide(provider, client, row.junctions.with(client), |_, client| {
                row.through_host_bridge[client.index()]
            })
        });
        row.verdicts.extend(verdicts);
    }

    pub(super) fn acs(&self) -> &AcsSums {
        &self.acs
    }

    pub(super) fn gates(&self) -> &Gates {
        &self.gates
    }

    #[inline]
    fn decide(
        &self,
        provider: NodeId,
        client: NodeId,
        junction: Option<Junction>,
        through_host_bridge: impl FnOnce(RootId, RootId) -> Answer,
    ) -> Verdict {
        let (Some(provider_root), Some(client_root)) =
            (self.topology.root(provider), self.topology.root(client))
        else {
            return Verdict::per_class([Answer::ANY; 4], None);
        };
        let through_host_bridge = through_host_bridge(provider_root, client_root);
        let answers = match self.kernel {
            Kernel::Release(_) | Kernel::Unknown => {
                [mainline::answer(&self.acs, provider, client, junction, through_host_bridge); 4]
            }
            Kernel::Next => next::answers(self.topology, &self.acs, client, junction, through_host_bridge),
        };
        let above = junction.map_or(0, |junction| 2 * self.topology.depth(junction.common));
        let distance = self.topology.depth(provider) + self.topology.depth(client) - above;
        Verdict::per_class(answers, Some(distance))
    }
}
