//! What a port that faces down does with a request from below (6.12.1.1), and functions of one device with each
//! other's (6.12.1.2).

use super::walk::{Entry, Leg, Packet, Target, Walk};
use super::{Deed, Missing, Refusal};
use crate::fact::Fact;
use crate::pci::AcsFlags;
use crate::route::Access;
use crate::topology::NodeId;

/// What happens to a request where it could turn around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Direct,
    Redirected,
}

impl Walk<'_, '_> {
    /// A request enters `port` from the link below it.
    pub(super) fn enter(&mut self, port: NodeId, packet: &Packet) -> Leg<Entry> {
        if self.access == Access::Write {
            self.check_payload(packet.sender, port)?;
        }
        if !self.is_from_below(port, packet.requester) && self.acs(port, AcsFlags::SOURCE_VALIDATION)? {
            return self.violates(port, AcsFlags::SOURCE_VALIDATION);
        }
        if self.class.is_translated() && self.acs(port, AcsFlags::TRANSLATION_BLOCKING)? {
            return self.violates(port, AcsFlags::TRANSLATION_BLOCKING);
        }
        if !self.is_bus_master(port)? {
            return self.refuse(port, Refusal::PortMasterDisabled);
        }
        self.is_not_for(port, packet.target)?;
        if !self.holds(port, packet.target)? {
            self.note(port, Deed::PassesUp);
            return Ok(Entry::FromPort);
        }
        if !self.acs(port, AcsFlags::UPSTREAM_FORWARDING)? {
            return self.refuse(port, Refusal::NotForwardedUpstream);
        }
        self.note(port, Deed::ForwardsUpstream);
        Ok(Entry::Redirected)
    }

    /// What a bridge does with a request from below for a BAR of its own is left to it.
    pub(super) fn is_not_for(&self, bridge: NodeId, target: Target) -> Leg<()> {
        match target {
            Target::At(address) if self.machine.is_in_bar(bridge, address) => {
                self.unknown(bridge, Missing::OwnBar)
            }
            _ => Ok(()),
        }
    }

    /// Is the requester's bus number one of those below the port?
    fn is_from_below(&self, port: NodeId, requester: NodeId) -> bool {
        let bus = self.machine.requester_bus(requester, self.client);
        self.machine
            .topology
            .function(port)
            .bridge()
            .is_none_or(|bridge| (bridge.secondary..=bridge.subordinate).contains(&bus))
    }

    pub(super) fn violates<T>(&self, node: NodeId, bit: AcsFlags) -> Leg<T> {
        self.refuse(node, Refusal::AcsViolation(bit))
    }

    /// A request that came through `ingress` could turn around to `egress` (6.12.3).
    pub(super) fn turn(&mut self, ingress: NodeId, egress: NodeId) -> Leg<Turn> {
        if self.class.is_translated() && self.acs(ingress, AcsFlags::DIRECT_TRANSLATED)? {
            return Ok(Turn::Direct);
        }
        if self.acs(ingress, AcsFlags::EGRESS_CONTROL)? {
            if !self.vector_forbids(ingress, egress, self.port_number(egress))? {
                return Ok(Turn::Direct);
            }
            if !self.acs(ingress, AcsFlags::REQUEST_REDIRECT)? {
                return self.violates(ingress, AcsFlags::EGRESS_CONTROL);
            }
        } else if !self.acs(ingress, AcsFlags::REQUEST_REDIRECT)? {
            return Ok(Turn::Direct);
        }
        self.note(ingress, Deed::Redirects(AcsFlags::REQUEST_REDIRECT));
        Ok(Turn::Redirected)
    }

    /// The number by which vectors name a port; nothing where it has none, or nobody knows it.
    pub(super) fn port_number(&self, port: NodeId) -> Option<u8> {
        let express = self.machine.topology.function(port).config.express.known()??;
        express.port_number.known()?
    }

    /// Is the bit of `number` set in the egress control vector of `ingress`?
    pub(super) fn vector_forbids(
        &mut self,
        ingress: NodeId,
        egress: NodeId,
        number: Option<u8>,
    ) -> Leg<bool> {
        let bit = || {
            let acs = self.machine.acs(ingress).as_ref().known()?.as_ref()?;
            acs.egress.known()??.forbids(number?)
        };
        let fact = bit().map_or(Fact::NOT_IN_SOURCE, Fact::Known);
        self.ask(fact, false, ingress, Missing::EgressVector, egress)
    }

    /// A request of function `from`, or one that it passes up, is for function `to` of the same device.
    pub(super) fn turn_inside(&mut self, from: NodeId, to: NodeId) -> Leg<Turn> {
        let Fact::Known(Some(acs)) = self.machine.acs(from) else {
            return self.unknown(from, Missing::InsideDevice);
        };
        if self.class.is_translated() && acs.control.contains(AcsFlags::DIRECT_TRANSLATED) {
            return Ok(Turn::Direct);
        }
        // One that cannot redirect does not talk to its siblings by itself.
        let redirects = acs.control.contains(AcsFlags::REQUEST_REDIRECT)
            || !acs.capable.contains(AcsFlags::REQUEST_REDIRECT);
        if acs.control.contains(AcsFlags::EGRESS_CONTROL) {
            let same_bus = self.bdf(from).bus() == self.bdf(to).bus();
            let number = same_bus.then(|| self.bdf(to).devfn());
            if !self.vector_forbids(from, to, number)? {
                return Ok(Turn::Direct);
            }
            if !redirects {
                return self.violates(from, AcsFlags::EGRESS_CONTROL);
            }
        } else if !redirects {
            return Ok(Turn::Direct);
        }
        self.note(from, Deed::Redirects(AcsFlags::REQUEST_REDIRECT));
        Ok(Turn::Redirected)
    }
}
