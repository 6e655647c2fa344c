//! The way of a request: up to where it turns around, and down to the provider.

use super::facts::{Bus, BusKind};
use super::port::Turn;
use super::walk::{Entry, Leg, Packet, Target, Walk};
use super::{Deed, Missing, Refusal, Way};
use crate::topology::NodeId;

/// A request that has arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) way: Way,
    /// To whom completions go: the client, or a bridge that asked in its place.
    pub(super) requester: NodeId,
    pub(super) reply: Reply,
}

/// How data comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// As completions.
    Completions,
    /// Within the transaction on a conventional bus.
    SameTransaction,
}

impl Walk<'_, '_> {
    /// From the client to the provider.
    pub(super) fn request(&mut self) -> Leg<Arrival> {
        // Where there is no address, nothing can be asked for.
        let mut packet = Packet {
            target: self.first_target()?,
            requester: self.client,
            sender: self.client,
        };
        self.note(self.client, Deed::Issues);
        if !self.is_bus_master(self.client)? {
            return self.refuse(self.client, Refusal::MasterDisabled);
        }
        if self.is_for_below(self.client, packet.target)? {
            return self.unknown(self.client, Missing::OwnPackets);
        }
        let mut from = self.client;
        let mut entry = Entry::OnBus;
        loop {
            let above = match self.machine.bus_of(from) {
                None => return self.unknown(from, Missing::Place),
                Some(Bus::Root(root)) => return self.through_root_complex(root, from, entry, packet),
                Some(Bus::Below(above)) => above,
            };
            let bus = Bus::Below(above);
            match self.machine.function(above).below {
                BusKind::Unknown => return self.unknown(above, Missing::PortType),
                BusKind::Link => {
                    if entry != Entry::Redirected
                        && let Some(claim) = self.claimant(bus, Some(from), packet.target)?
                        && self.turn_inside(from, claim.node)? == Turn::Direct
                    {
                        self.descend(claim, packet)?;
                        return Ok(packet.arrived(Way::Direct));
                    }
                    entry = self.enter(above, &packet)?;
                }
                BusKind::Internal => {
                    if entry != Entry::Redirected
                        && let Some(claim) = self.claimant(bus, Some(from), packet.target)?
                    {
                        let turn = match entry {
                            Entry::OnBus => Turn::Direct,
                            Entry::FromPort | Entry::Redirected => self.turn(from, claim.node)?,
                        };
                        if turn == Turn::Direct {
                            self.descend(claim, packet)?;
                            return Ok(packet.arrived(Way::Direct));
                        }
                        entry = Entry::Redirected;
                    }
                    self.leave_switch(above, entry, &packet)?;
                    // What is to go up does not turn to a function beside the upstream port either.
                    if entry != Entry::Redirected {
                        entry = Entry::OnBus;
                    }
                }
                BusKind::Conventional => {
                    if let Some(claim) = self.claimant(bus, Some(from), packet.target)? {
                        self.descend(claim, packet)?;
                        return Ok(Arrival {
                            reply: Reply::SameTransaction,
                            ..packet.arrived(Way::Direct)
                        });
                    }
                    if self.holds(above, packet.target)? {
                        return self.refuse(above, Refusal::Unclaimed);
                    }
                    if !self.is_bus_master(above)? {
                        return self.refuse(above, Refusal::PortMasterDisabled);
                    }
                    self.is_not_for(above, packet.target)?;
                    self.note(above, Deed::PassesUpAsItsOwn);
                    packet.requester = above;
                    packet.sender = above;
                    entry = Entry::OnBus;
                }
            }
            from = above;
        }
    }

    /// Would the client have to send the request down to what is below itself, or be sent it from above for there?
    fn is_for_below(&mut self, client: NodeId, target: Target) -> Leg<bool> {
        let mut above = self.machine.topology.climb(self.provider).skip(1);
        if above.any(|node| node == client) {
            return Ok(true);
        }
        match target {
            Target::At(_) => self.holds(client, target),
            Target::OutsideWindows | Target::Unknown(..) => Ok(false),
        }
    }

    /// Up through the upstream port of a switch.
    fn leave_switch(&mut self, upstream: NodeId, entry: Entry, packet: &Packet) -> Leg<()> {
        if entry != Entry::Redirected && self.holds(upstream, packet.target)? {
            return self.refuse(upstream, Refusal::Unclaimed);
        }
        if !self.is_bus_master(upstream)? {
            return self.refuse(upstream, Refusal::PortMasterDisabled);
        }
        if entry != Entry::Redirected {
            self.is_not_for(upstream, packet.target)?;
        }
        self.note(upstream, Deed::PassesUp);
        Ok(())
    }
}

impl Packet {
    pub(super) const fn arrived(&self, way: Way) -> Arrival {
        Arrival {
            way,
            requester: self.requester,
            reply: Reply::Completions,
        }
    }
}
