//! The way of the completions of a read, from the provider back to the requester: by bus number, not by address
//! (2.2.9, 6.12.1.1).

use super::facts::{Bus, BusKind};
use super::request::{Arrival, Reply};
use super::walk::{Entry, Goal, Leg, Walk};
use super::{Deed, Missing, Refusal, Way};
use crate::fact::Fact;
use crate::pci::AcsFlags;
use crate::route::Access;
use crate::topology::{NodeId, RootId};

impl Walk<'_, '_> {
    /// Back to where the request came from.
    pub(super) fn completion(&mut self, arrival: &Arrival) -> Leg<Way> {
        if arrival.reply == Reply::SameTransaction {
            return Ok(Way::Direct);
        }
        if self.goal == Goal::Ram {
            return self.completion_from_ram(arrival.requester);
        }
        let completer = self.completer();
        let requester = arrival.requester;
        let mut above = self.machine.topology.climb(requester).skip(1);
        if completer == self.provider && above.any(|node| node == completer) {
            return self.unknown(completer, Missing::OwnPackets);
        }
        self.note(completer, Deed::Issues);
        let mut from = completer;
        let mut entry = Entry::OnBus;
        loop {
            let above = match self.machine.bus_of(from) {
                None => return self.unknown(from, Missing::Place),
                Some(Bus::Root(root)) => return self.complete_through_root(root, from, completer, arrival),
                Some(Bus::Below(above)) => above,
            };
            let bus = Bus::Below(above);
            let sibling = self.machine.towards(bus, requester).filter(|&node| node != from);
            match self.machine.function(above).below {
                BusKind::Unknown => return self.unknown(above, Missing::PortType),
                BusKind::Link => {
                    if entry != Entry::Redirected
                        && let Some(sibling) = sibling
                        && self.completes_inside(from)?
                    {
                        self.complete_down(sibling, completer, requester)?;
                        return Ok(Way::Direct);
                    }
                    self.check_completion(completer, requester, above)?;
                    if above == requester {
                        self.note(above, Deed::Receives);
                        return Ok(Way::Direct);
                    }
                    entry = self.enter_with_completion(above, requester)?;
                }
                BusKind::Internal => {
                    if entry != Entry::Redirected
                        && let Some(sibling) = sibling
                    {
                        let redirected = entry == Entry::FromPort
                            && !self.class.is_relaxed()
                            && self.acs(from, AcsFlags::COMPLETION_REDIRECT)?;
                        if !redirected {
                            self.complete_down(sibling, completer, requester)?;
                            return Ok(Way::Direct);
                        }
                        self.note(from, Deed::Redirects(AcsFlags::COMPLETION_REDIRECT));
                        entry = Entry::Redirected;
                    }
                    self.note(above, Deed::PassesUp);
                    if entry != Entry::Redirected {
                        entry = Entry::OnBus;
                    }
                }
                BusKind::Conventional => {
                    self.note(above, Deed::PassesUp);
                    entry = Entry::OnBus;
                }
            }
            if above == requester {
                return Ok(Way::Direct);
            }
            from = above;
        }
    }

    /// Who sends the completions: the provider, or the bridge to the highest conventional bus above it.
    fn completer(&self) -> NodeId {
        let machine = self.machine;
        let above = machine.topology.climb(self.provider).skip(1);
        let bridges = above.filter(|&node| machine.function(node).below == BusKind::Conventional);
        bridges.last().unwrap_or(self.provider)
    }

    /// Do completions of `from` stay inside its device?
    fn completes_inside(&mut self, from: NodeId) -> Leg<bool> {
        let Fact::Known(Some(acs)) = self.machine.acs(from) else {
            return self.unknown(from, Missing::InsideDevice);
        };
        let redirects = acs.control.contains(AcsFlags::COMPLETION_REDIRECT)
            || !acs.capable.contains(AcsFlags::COMPLETION_REDIRECT);
        if redirects && !self.class.is_relaxed() {
            self.note(from, Deed::Redirects(AcsFlags::COMPLETION_REDIRECT));
            return Ok(false);
        }
        Ok(true)
    }

    /// A completion enters `port` from the link below it.
    fn enter_with_completion(&mut self, port: NodeId, requester: NodeId) -> Leg<Entry> {
        let is_above = self
            .machine
            .topology
            .climb(requester)
            .skip(1)
            .any(|node| node == port);
        if !is_above {
            self.note(port, Deed::PassesUp);
            return Ok(Entry::FromPort);
        }
        if !self.acs(port, AcsFlags::UPSTREAM_FORWARDING)? {
            return self.refuse(port, Refusal::UnexpectedCompletion);
        }
        self.note(port, Deed::ForwardsUpstream);
        Ok(Entry::Redirected)
    }

    /// A completion comes up to the root complex. One that answers a forwarded request goes back the same way;
    /// one that was redirected although its request was not has to be forwarded as a read would be.
    fn complete_through_root(
        &mut self,
        root: RootId,
        from: NodeId,
        completer: NodeId,
        arrival: &Arrival,
    ) -> Leg<Way> {
        self.note(from, Deed::EntersRootComplex);
        let Some(home) = self.machine.topology.root(arrival.requester) else {
            return self.unknown(arrival.requester, Missing::Place);
        };
        if arrival.way == Way::Direct && !self.forwards(root, home, Access::Read)? {
            return self.refuse(from, Refusal::CompletionNotForwarded);
        }
        let Some(first) = self.machine.towards(Bus::Root(home), arrival.requester) else {
            return self.unknown(arrival.requester, Missing::Place);
        };
        self.complete_down(first, completer, arrival.requester)?;
        Ok(Way::ThroughRootComplex)
    }

    /// Down to the requester: by bus number, whether bridges decode memory or not.
    pub(super) fn complete_down(&mut self, first: NodeId, completer: NodeId, requester: NodeId) -> Leg<()> {
        let mut node = first;
        while node != requester {
            self.note(node, Deed::PassesDown);
            let bus = Bus::Below(node);
            let Some(next) = self.machine.towards(bus, requester) else {
                return self.unknown(requester, Missing::Place);
            };
            match self.machine.function(node).below {
                BusKind::Link => self.check_completion(completer, requester, next)?,
                BusKind::Internal | BusKind::Conventional => {}
                BusKind::Unknown => return self.unknown(node, Missing::PortType),
            }
            node = next;
        }
        self.note(node, Deed::Receives);
        Ok(())
    }
}
