//! One walk: a question, the values that unknown facts have this time, and what has been passed.

use super::claims::{Claim, ClaimBy};
use super::doubts::{Doubt, Doubts};
use super::facts::{Bus, BusKind, Machine};
use super::{Deed, Form, Missing, Refusal, Step, Way};
use crate::addr::Bdf;
use crate::fact::Fact;
use crate::pci::AcsFlags;
use crate::route::{Access, TlpClass};
use crate::topology::{NodeId, RootId};
use alloc::vec::Vec;

/// Why a walk ends before its goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Refused(Bdf, Refusal),
    Unknown(Bdf, Missing),
}

/// The rest of a walk, or its end.
pub(super) type Leg<T> = Result<T, Stop>;

/// The address in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    At(u64),
    /// An address that only the IOMMU knows, outside every window.
    OutsideWindows,
    /// The host bridge of this function decides it, and nobody knows how.
    Unknown(Bdf, Missing),
}

/// A request on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet {
    pub(super) target: Target,
    /// Whose requester ID it carries: the client's, or that of a bridge from a conventional bus.
    pub(super) requester: NodeId,
    /// Who made the packet that is on the link now: its payload size counts.
    pub(super) sender: NodeId,
}

/// How a packet came onto a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// From a function on the bus, not through a port that faces down.
    OnBus,
    /// From below, through a port.
    FromPort,
    /// The same, and it must not turn around on this bus.
    Redirected,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Memory behind a BAR of the provider.
    Bar,
    /// Host RAM, by an address that lies in no window and no BAR.
    Ram,
}

/// Are steps wanted?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recording {
    Off,
    On,
}

/// One walk.
pub(super) struct Walk<'w, 't> {
    pub(super) machine: &'w Machine<'t>,
    pub(super) doubts: &'w mut Doubts,
    pub(super) goal: Goal,
    /// Whose memory it is; the client itself where it is RAM, whose addresses lead to no function.
    pub(super) provider: NodeId,
    pub(super) client: NodeId,
    /// Where the memory lies on the provider's bus.
    pub(super) bus_address: u64,
    /// Where the CPU sees it.
    pub(super) phys: Option<u64>,
    /// How large it is.
    pub(super) size_bytes: Option<u64>,
    pub(super) access: Access,
    pub(super) class: TlpClass,
    pub(super) form: Form,
    /// Has the request come to the root complex?
    pub(super) way: Way,
    pub(super) recording: Recording,
    pub(super) steps: Vec<Step>,
}

impl Walk<'_, '_> {
    /// The whole way, there and back; the steps of the request are left in `request`.
    pub(super) fn run(&mut self, request: &mut Vec<Step>) -> Leg<(Way, Way)> {
        let arrival = self.request();
        request.append(&mut self.steps);
        let arrival = arrival?;
        match self.access {
            Access::Write => Ok((arrival.way, arrival.way)),
            Access::Read => Ok((arrival.way, self.completion(&arrival)?)),
        }
    }

    pub(super) fn bdf(&self, node: NodeId) -> Bdf {
        self.machine.bdf(node)
    }

    pub(super) fn note(&mut self, node: NodeId, deed: Deed) {
        if self.recording == Recording::On {
            let at = self.bdf(node);
            self.steps.push(Step { at, deed });
        }
    }

    pub(super) fn refuse<T>(&self, node: NodeId, why: Refusal) -> Leg<T> {
        Err(Stop::Refused(self.bdf(node), why))
    }

    pub(super) fn unknown<T>(&self, node: NodeId, missing: Missing) -> Leg<T> {
        Err(Stop::Unknown(self.bdf(node), missing))
    }

    /// Is the fact so? Where nobody knows: first `usual`, in another run the opposite.
    pub(super) fn ask(
        &mut self,
        fact: Fact<bool>,
        usual: bool,
        node: NodeId,
        missing: Missing,
        other: NodeId,
    ) -> Leg<bool> {
        match fact {
            Fact::Known(value) => Ok(value),
            Fact::Unknown(_) => {
                let option = self.pick(node, missing, other, 2)?;
                Ok((option == 0) == usual)
            }
        }
    }

    pub(super) fn pick(&mut self, node: NodeId, missing: Missing, other: NodeId, options: u8) -> Leg<u8> {
        let doubt = Doubt {
            at: self.bdf(node),
            missing,
            other: self.bdf(other),
        };
        self.doubts.pick(doubt, options)
    }

    /// Is this ACS control bit set? Without the capability none is.
    pub(super) fn acs(&mut self, node: NodeId, bit: AcsFlags) -> Leg<bool> {
        let fact = self
            .machine
            .acs(node)
            .as_ref()
            .map(|acs| acs.as_ref().is_some_and(|acs| acs.control.contains(bit)));
        self.ask(
            fact,
            bit == AcsFlags::UPSTREAM_FORWARDING,
            node,
            Missing::Acs(bit),
            node,
        )
    }

    pub(super) fn is_bus_master(&mut self, node: NodeId) -> Leg<bool> {
        let fact = self.machine.function(node).bus_master;
        self.ask(fact, true, node, Missing::BusMaster, node)
    }

    fn is_memory_enabled(&mut self, node: NodeId) -> Leg<bool> {
        let fact = self.machine.function(node).memory_enabled;
        self.ask(fact, true, node, Missing::MemoryEnable, node)
    }

    /// Does the address lie in one of the bridge's windows? Whether it decodes memory does not matter.
    pub(super) fn holds(&mut self, bridge: NodeId, target: Target) -> Leg<bool> {
        let address = match target {
            Target::At(address) => address,
            Target::OutsideWindows => return Ok(false),
            Target::Unknown(at, missing) => return Err(Stop::Unknown(at, missing)),
        };
        match self.machine.function(bridge).windows {
            Fact::Known(windows) => Ok(windows
                .iter()
                .flatten()
                .any(|&(first, last)| first <= address && address <= last)),
            Fact::Unknown(_) if address != self.bus_address => self.unknown(bridge, Missing::Windows),
            Fact::Unknown(_) => self.unknown_window_holds(bridge),
        }
    }

    /// Does a bridge of unknown windows take the provider's address? Only if it leads there, or is below another host
    /// bridge: below one of them addresses are given out once.
    fn unknown_window_holds(&mut self, bridge: NodeId) -> Leg<bool> {
        let provider = self.provider;
        let mut above = self.machine.topology.climb(provider).skip(1);
        if !above.any(|node| node == bridge) && !self.may_be_given_again(self.machine.topology.root(bridge)) {
            return Ok(false);
        }
        Ok(self.pick(bridge, Missing::Windows, provider, 2)? == 0)
    }

    /// May the provider's bus address have been given out once more below the host bridge `root`? Below another than
    /// its own it may, also where the CPU sees nothing.
    fn may_be_given_again(&self, root: Option<RootId>) -> bool {
        root.is_some() && root != self.machine.topology.root(self.provider)
    }

    /// The function on `bus`, other than `except`, that takes the address.
    pub(super) fn claimant(
        &mut self,
        bus: Bus,
        except: Option<NodeId>,
        target: Target,
    ) -> Leg<Option<Claim>> {
        let address = match target {
            Target::At(address) => address,
            Target::OutsideWindows => return Ok(None),
            Target::Unknown(..) if self.is_alone(bus, except) => return Ok(None),
            Target::Unknown(at, missing) => return Err(Stop::Unknown(at, missing)),
        };
        let machine = self.machine;
        let mut taken: Option<Claim> = None;
        for claim in machine.claims.of(bus, address) {
            // A bridge whose two windows overlap is one claimant.
            let is_same = |taken: Claim| {
                taken.node == claim.node && (taken.by, claim.by) == (ClaimBy::Window, ClaimBy::Window)
            };
            if Some(claim.node) == except || taken.is_some_and(is_same) {
                continue;
            }
            if self.is_memory_enabled(claim.node)? {
                if taken.is_some() {
                    return self.unknown(claim.node, Missing::TwoClaims);
                }
                taken = Some(claim);
            }
        }
        if taken.is_some() || !machine.claims.are_doubtful(bus) {
            return Ok(taken);
        }
        let leads = machine.towards(bus, self.provider).filter(|&node| {
            Some(node) != except && node != self.provider && !machine.function(node).windows.is_known()
        });
        if address != self.bus_address {
            let first = leads
                .or(machine.towards(bus, self.provider))
                .unwrap_or(self.provider);
            return self.unknown(first, Missing::Windows);
        }
        let root = match bus {
            Bus::Below(bridge) => machine.topology.root(bridge),
            Bus::Root(root) => Some(root),
        };
        let Some(bridge) = leads else {
            return match self.may_be_given_again(root) {
                true => self.unknown(self.provider, Missing::Windows),
                false => Ok(None),
            };
        };
        if self.unknown_window_holds(bridge)? && self.is_memory_enabled(bridge)? {
            return Ok(Some(Claim::of_unknown_window(bridge, address)));
        }
        Ok(None)
    }

    /// Is `node` the only function on the bus?
    fn is_alone(&self, bus: Bus, node: Option<NodeId>) -> bool {
        match (bus, node) {
            (Bus::Below(bridge), Some(node)) => self.machine.topology.children(bridge) == [node],
            _ => false,
        }
    }

    /// Down from the function that takes the request to the provider.
    pub(super) fn descend(&mut self, claim: Claim, mut packet: Packet) -> Leg<()> {
        let mut claim = claim;
        while claim.by == ClaimBy::Window {
            self.note(claim.node, Deed::PassesDown);
            let bus = Bus::Below(claim.node);
            let Some(next) = self.claimant(bus, None, packet.target)? else {
                return self.nobody_below(claim.node, &packet);
            };
            self.receive_below(claim.node, next.node, &mut packet.sender)?;
            claim = next;
        }
        if claim.node != self.provider {
            return self.refuse(claim.node, Refusal::WrongFunction);
        }
        self.note(claim.node, Deed::Receives);
        Ok(())
    }

    /// Nobody below the bridge takes the address: is that because someone does not decode memory? At the end of a
    /// link there is a device that has received the packet all the same, and gives up on it.
    fn nobody_below<T>(&mut self, bridge: NodeId, packet: &Packet) -> Leg<T> {
        let mut last = bridge;
        if self.machine.function(bridge).below == BusKind::Link
            && let Some(&device) = self.machine.topology.children(bridge).first()
        {
            if self.access == Access::Write {
                self.check_payload(packet.sender, device)?;
            }
            last = device;
        }
        match self.silent(Bus::Below(bridge), packet.target)? {
            Some(node) => self.refuse(node, Refusal::MemoryDisabled),
            None => self.refuse(last, Refusal::Unclaimed),
        }
    }

    /// Where nobody on `bus` takes the address: who would, if it decoded memory.
    pub(super) fn silent(&mut self, bus: Bus, target: Target) -> Leg<Option<NodeId>> {
        let Target::At(address) = target else {
            return Ok(None);
        };
        let machine = self.machine;
        if let Some(claim) = machine.claims.of(bus, address).next() {
            return Ok(Some(claim.node));
        }
        let leads = machine
            .towards(bus, self.provider)
            .filter(|&node| node != self.provider && !machine.function(node).windows.is_known());
        match leads {
            Some(bridge) if address == self.bus_address && self.unknown_window_holds(bridge)? => {
                Ok(Some(bridge))
            }
            _ => Ok(None),
        }
    }
}
