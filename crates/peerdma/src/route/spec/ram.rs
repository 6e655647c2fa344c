//! The root complex as the end of a request, and the start of its completions: host RAM.

use super::facts::{Bus, BusKind};
use super::request::Arrival;
use super::walk::{Leg, Packet, Walk};
use super::{Deed, Missing, Way};
use crate::snapshot::IommuMode;
use crate::topology::{NodeId, RootId};

impl Walk<'_, '_> {
    /// A request for RAM comes up to the root complex from `from`, a function on `root`.
    pub(super) fn ram(&mut self, root: RootId, from: NodeId, packet: Packet) -> Leg<Arrival> {
        self.way = Way::ThroughRootComplex;
        self.note(from, Deed::EntersRootComplex);
        let mode = self.iommu()?;
        if self.class.is_translated() {
            self.pass_translated(mode, from, &packet)?;
        }
        // Where an IOMMU translates, it maps the address of an untranslated request, and told the address of a translated one.
        if mode != IommuMode::Translating && !self.machine.root(root).inbound_offset.is_known() {
            return self.unknown(from, Missing::InboundOffset);
        }
        Ok(packet.arrived(Way::ThroughRootComplex))
    }

    /// From the root complex back to the requester.
    pub(super) fn completion_from_ram(&mut self, requester: NodeId) -> Leg<Way> {
        let topology = self.machine.topology;
        let root = topology.root(requester);
        let first = root.and_then(|root| self.machine.towards(Bus::Root(root), requester));
        let Some(first) = first else {
            return self.unknown(requester, Missing::Place);
        };
        // Packets are made for the first link: they carry what its port is set to.
        let ports = topology
            .climb(requester)
            .skip(1)
            .filter(|&node| self.machine.function(node).below == BusKind::Link);
        let sender = ports.last().unwrap_or(first);
        self.complete_down(first, sender, requester)?;
        Ok(Way::ThroughRootComplex)
    }
}
