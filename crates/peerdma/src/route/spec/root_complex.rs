//! The root complex: IOMMU, the machine's memory map, and what is forwarded between root ports.

use super::facts::Bus;
use super::request::Arrival;
use super::walk::{Entry, Goal, Leg, Packet, Stop, Target, Walk};
use super::{Deed, Form, Missing, Refusal, Way};
use crate::addr::{Address, BusAddr, PhysAddr};
use crate::fact::Fact;
use crate::pci::AcsFlags;
use crate::route::Access;
use crate::snapshot::{Forwarding, IommuMode};
use crate::topology::{NodeId, RootId};

/// Writes to these are interrupts on x86.
pub(super) const INTERRUPTS: core::ops::RangeInclusive<u64> = 0xfee0_0000..=0xfeef_ffff;

impl Walk<'_, '_> {
    /// The address that the client puts into its request.
    pub(super) fn first_target(&mut self) -> Leg<Target> {
        if self.goal == Goal::Ram {
            return Ok(Target::OutsideWindows);
        }
        if self.class.is_translated() || self.form == Form::BusAddress {
            return Ok(Target::At(self.bus_address));
        }
        if self.iommu()? == IommuMode::Translating {
            if self.phys.is_none() {
                self.has_host_address()?;
            }
            return Ok(Target::OutsideWindows);
        }
        let machine = self.machine;
        let unknown = |node, missing| Ok(Target::Unknown(machine.bdf(node), missing));
        let Some(root) = self.machine.topology.root(self.client) else {
            return unknown(self.client, Missing::Place);
        };
        let head = self.machine.topology.roots()[root.index()].first;
        let Some(phys) = self.phys else {
            self.has_host_address()?;
            return unknown(self.provider, Missing::HostAddress);
        };
        let Fact::Known(offset) = self.machine.root(root).inbound_offset else {
            // With some offsets there is no such address.
            if !self.ask(Fact::NOT_IN_SOURCE, true, head, Missing::InboundOffset, head)? {
                return self.refuse(self.client, Refusal::NoHostAddress);
            }
            return unknown(head, Missing::InboundOffset);
        };
        match u64::try_from(i128::from(phys) - i128::from(offset)) {
            Ok(address) => Ok(Target::At(address)),
            Err(_) => self.refuse(self.client, Refusal::NoHostAddress),
        }
    }

    /// Nobody knows where the CPU sees the memory: perhaps it does not.
    fn has_host_address(&mut self) -> Leg<()> {
        let provider = self.provider;
        if self.is_outside_host_windows()
            || !self.ask(
                Fact::NOT_IN_SOURCE,
                true,
                provider,
                Missing::HostAddress,
                provider,
            )?
        {
            return self.refuse(provider, Refusal::NoHostAddress);
        }
        Ok(())
    }

    /// Is it known that the CPU does not see the memory?
    fn is_outside_host_windows(&self) -> bool {
        let root = self.machine.topology.root(self.provider);
        root.is_some_and(|root| self.machine.root(root).windows.is_known())
    }

    /// What the IOMMU does, this time.
    pub(super) fn iommu(&mut self) -> Leg<IommuMode> {
        match self.machine.topology.snapshot().host.iommu {
            Fact::Known(mode) => Ok(mode),
            Fact::Unknown(_) => {
                // One fact of the whole machine: asked about one function, whoever it is, all the same.
                let client = self.client;
                Ok(match self.pick(client, Missing::IommuMode, client, 3)? {
                    0 => IommuMode::Off,
                    1 => IommuMode::Passthrough,
                    _ => IommuMode::Translating,
                })
            }
        }
    }

    /// A request comes up to the root complex from `from`, a function on `root`.
    pub(super) fn through_root_complex(
        &mut self,
        root: RootId,
        from: NodeId,
        entry: Entry,
        mut packet: Packet,
    ) -> Leg<Arrival> {
        if self.goal == Goal::Ram {
            return self.ram(root, from, packet);
        }
        if from == self.client && self.is_of_one_device(from, self.provider) {
            return self.unknown(from, Missing::InsideDevice);
        }
        self.way = Way::ThroughRootComplex;
        self.note(from, Deed::EntersRootComplex);
        let phys = self.translate(root, from, &packet)?;
        let may_interrupt = self.access == Access::Write
            && !self.class.is_translated()
            && packet.target != Target::OutsideWindows;
        if may_interrupt && INTERRUPTS.contains(&phys) {
            return self.refuse(from, Refusal::InterruptWindow);
        }
        let ram = self.machine.topology.snapshot().host.ram.as_ref().known();
        if ram.is_some_and(|ram| ram.iter().any(|span| span.contains(PhysAddr::from_u64(phys)))) {
            return self.refuse(from, Refusal::HostMemory);
        }
        // It is not taken to lie at the BAR; elsewhere it may.
        let is_elsewhere = self.phys.is_some_and(|of_bar| of_bar != phys);
        if ram.is_none()
            && is_elsewhere
            && self.ask(Fact::NOT_IN_SOURCE, false, from, Missing::HostMemory, from)?
        {
            return self.refuse(from, Refusal::HostMemory);
        }
        let (egress_root, address) = self.leave_memory_map(from, phys)?;
        if !self.forwards(root, egress_root, self.access)? {
            return self.refuse(from, Refusal::NotForwarded);
        }
        packet.target = Target::At(address);
        let bus = Bus::Root(egress_root);
        let claim = self.claimant(bus, None, packet.target)?;
        let off = match claim {
            Some(_) => None,
            None => self.silent(bus, packet.target)?,
        };
        if entry != Entry::OnBus
            && let Some(egress) = claim.map(|claim| claim.node).or(off)
        {
            self.check_egress(from, egress)?;
        }
        match (claim, off) {
            (Some(claim), _) => self.descend(claim, packet)?,
            (None, Some(off)) => return self.refuse(off, Refusal::MemoryDisabled),
            (None, None) => return self.refuse(from, Refusal::Unclaimed),
        }
        Ok(packet.arrived(Way::ThroughRootComplex))
    }

    /// Two functions of one device on a root bus?
    fn is_of_one_device(&self, a: NodeId, b: NodeId) -> bool {
        let is_root = |node| matches!(self.machine.bus_of(node), Some(Bus::Root(_)));
        let (at, other) = (self.bdf(a), self.bdf(b));
        is_root(a)
            && self.machine.bus_of(a) == self.machine.bus_of(b)
            && (at.bus(), at.device()) == (other.bus(), other.device())
    }

    /// From the address in the request to the machine's memory map.
    fn translate(&mut self, root: RootId, from: NodeId, packet: &Packet) -> Leg<u64> {
        let mode = self.iommu()?;
        if self.class.is_translated() {
            self.pass_translated(mode, from, packet)?;
        } else if mode == IommuMode::Translating {
            return match (self.form, self.phys) {
                // Interrupts are told apart before anything is translated.
                (Form::BusAddress, _)
                    if self.access == Access::Write && INTERRUPTS.contains(&self.bus_address) =>
                {
                    self.refuse(from, Refusal::InterruptWindow)
                }
                (Form::BusAddress, _) => self.refuse(from, Refusal::IommuFault),
                (Form::HostAddress, Some(phys)) => Ok(phys),
                (Form::HostAddress, None) => self.unknown(self.provider, Missing::HostAddress),
            };
        }
        let address = match packet.target {
            Target::At(address) => address,
            Target::OutsideWindows => return self.refuse(from, Refusal::Unclaimed),
            Target::Unknown(at, missing) => return Err(Stop::Unknown(at, missing)),
        };
        let Fact::Known(offset) = self.machine.root(root).inbound_offset else {
            return self.unknown(from, Missing::InboundOffset);
        };
        match u64::try_from(i128::from(address) + i128::from(offset)) {
            Ok(phys) => Ok(phys),
            Err(_) => self.refuse(from, Refusal::Unclaimed),
        }
    }

    /// A translated request comes to the IOMMU.
    pub(super) fn pass_translated(&mut self, mode: IommuMode, from: NodeId, packet: &Packet) -> Leg<()> {
        let passes = match mode {
            IommuMode::Off => {
                let missing = Missing::TranslatedWithoutIommu;
                self.ask(Fact::NOT_IN_SOURCE, true, from, missing, from)?
            }
            IommuMode::Passthrough | IommuMode::Translating => {
                packet.requester == self.client && self.has_ats()?
            }
        };
        let why = match mode {
            IommuMode::Off => Refusal::Unclaimed,
            IommuMode::Passthrough | IommuMode::Translating => Refusal::IommuFault,
        };
        match passes {
            true => Ok(()),
            false => self.refuse(from, why),
        }
    }

    fn has_ats(&mut self) -> Leg<bool> {
        let ats = self.machine.topology.function(self.client).config.ats;
        let fact = ats.map(|ats| ats.is_some_and(|ats| ats.enabled));
        self.ask(fact, true, self.client, Missing::Ats, self.client)
    }

    /// The root bus to which a physical address leads, and the address there.
    fn leave_memory_map(&mut self, from: NodeId, phys: u64) -> Leg<(RootId, u64)> {
        let machine = self.machine;
        let address = PhysAddr::from_u64(phys);
        let in_windows = |root: RootId| {
            let windows = machine.root(root).windows.known()?;
            let found = windows.iter().find_map(|window| window.bus_address(address));
            found.map(|address: BusAddr| (root, address.to_u64()))
        };
        let home = machine.topology.root(self.provider);
        if let Some(found) = home.and_then(in_windows) {
            return Ok(found);
        }
        if let Some(found) = machine.topology.root_ids().find_map(in_windows) {
            return Ok(found);
        }
        // The windows are unknown, but where this one byte of it lies is not.
        if let Some(home) = home
            && !machine.root(home).windows.is_known()
            && Some(phys) == self.phys
        {
            return Ok((home, self.bus_address));
        }
        let mut roots = machine.topology.root_ids();
        match roots.find(|&root| !machine.root(root).windows.is_known()) {
            Some(root) => {
                let head = machine.topology.roots()[root.index()].first;
                self.unknown(head, Missing::HostWindows)
            }
            None => self.refuse(from, Refusal::Unclaimed),
        }
    }

    /// Does the root complex forward such requests from below one host bridge to below another?
    pub(super) fn forwards(&mut self, from: RootId, to: RootId, access: Access) -> Leg<bool> {
        Ok(self.lets_pass(from, from == to, access)? && self.lets_pass(to, from == to, access)?)
    }

    fn lets_pass(&mut self, root: RootId, is_same: bool, access: Access) -> Leg<bool> {
        let forwarding = match self.machine.root(root).forwarding {
            Fact::Known(forwarding) => forwarding,
            Fact::Unknown(_) => {
                let head = self.machine.topology.roots()[root.index()].first;
                match self.pick(head, Missing::Forwarding, head, 4)? {
                    0 => Forwarding::Everything,
                    1 => Forwarding::Nothing,
                    2 => Forwarding::StoresOnly,
                    _ => Forwarding::SameBridge,
                }
            }
        };
        Ok(match forwarding {
            Forwarding::Everything => true,
            Forwarding::Nothing => false,
            Forwarding::StoresOnly => access == Access::Write,
            Forwarding::SameBridge => is_same,
        })
    }

    /// Egress control of the root port through which a request came in (6.12.3). Request redirect only has the
    /// root complex look at the request, which it does anyway.
    fn check_egress(&mut self, ingress: NodeId, egress: NodeId) -> Leg<()> {
        let skips = self.class.is_translated() && self.acs(ingress, AcsFlags::DIRECT_TRANSLATED)?;
        if !skips
            && self.acs(ingress, AcsFlags::EGRESS_CONTROL)?
            && self.vector_forbids(ingress, egress, self.port_number(egress))?
            && !self.acs(ingress, AcsFlags::REQUEST_REDIRECT)?
        {
            return self.violates(ingress, AcsFlags::EGRESS_CONTROL);
        }
        Ok(())
    }
}
