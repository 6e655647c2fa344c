//! The root complex: IOMMU, memory map, forwarding between devices, and the processor's own loads and stores.

use super::acs::Turn;
use super::bus::Target;
use super::decode::Found;
use super::host::{Physical, Root};
use super::iommu::FaultReason;
use super::note::Decision;
use super::request::{Arrival, RequestWalk};
use super::route::{End, Ended, Leg, Loss, Packet, Route, Where, Why};
use super::{Fabric, FunctionId};
use crate::tlp::{Access, AddressType, Ordering, Request};
use peerdma::addr::Bdf;
use peerdma::snapshot::{Forwarding, IommuMode};

/// Where the processors of x86 take writes for interrupts (Intel SDM 3A 11.11.1).
const INTERRUPTS: (u64, u64) = (0xfee0_0000, 0xfeef_ffff);

impl RequestWalk<'_> {
    /// A request has come up to the root with this index.
    pub(super) fn root_complex(&mut self, root: u32, arrival: Arrival) -> Ended {
        self.route.legs.push(Leg::RootComplex);
        let fabric = self.fabric;
        let Some(from) = fabric.host.roots.get(root as usize) else {
            return self.lost(Where::Nowhere, Why::UnsupportedRequest);
        };
        let phys = match self.physical(from) {
            Ok(phys) => phys,
            Err(end) => return end,
        };
        let Found { by, holds_bytes } = fabric.host.map.find(phys);
        self.hold(holds_bytes);
        match by {
            None => {
                self.note(from.place(), || Decision::NobodyAtPhysical { phys });
                self.lost(from.place(), Why::UnsupportedRequest)
            }
            Some(Physical::Ram) => {
                self.note(from.place(), || Decision::Ram { phys });
                self.route.ends(End::Ram { phys })
            }
            Some(Physical::Window {
                root: to,
                phys: first,
                bus,
            }) => {
                self.address = bus + (phys - first);
                self.forward(root, to, phys, arrival)
            }
        }
    }

    /// The physical address that a request is for: through the IOMMU, or by the inbound offset.
    fn physical(&mut self, from: &Root) -> Result<u64, Ended> {
        let mode = self.fabric.host.iommu;
        if self.is_translated() {
            return self.physical_of_translated(from, mode);
        }
        if mode != IommuMode::Translating {
            let phys = self.add_inbound_offset(from)?;
            self.note(from.place(), || Decision::Physical { phys });
            self.check_interrupt(from, phys)?;
            return Ok(phys);
        }
        let iova = self.address;
        self.check_interrupt(from, iova)?;
        let (requester, access) = (self.route.requester, self.request.access);
        match self.fabric.iommu.look_up(requester, iova) {
            Ok(found) if found.rights.allow(access) => {
                let phys = found.phys;
                self.note(Where::Iommu, || Decision::Translated { iova, phys });
                self.hold(found.holds_bytes);
                Ok(phys)
            }
            Ok(_) => Err(self.fault(FaultReason::Rights)),
            Err(why) => Err(self.fault(why)),
        }
    }

    fn physical_of_translated(&mut self, from: &Root, mode: IommuMode) -> Result<u64, Ended> {
        if mode == IommuMode::Off {
            self.note(from.place(), || Decision::TranslatedWithoutIommu);
            return Err(self.lost(from.place(), Why::UnsupportedRequest));
        }
        let requester = self.route.requester;
        let function = self.fabric.find(requester).filter(|_| !self.is_aliased);
        let is_enabled = function.is_some_and(|function| self.fabric.node(function).ats_enabled);
        if !is_enabled || !self.fabric.iommu.lets_translate(requester) {
            return Err(self.fault(FaultReason::TranslatedByStranger));
        }
        let phys = self.add_inbound_offset(from)?;
        self.note(Where::Iommu, || Decision::PassedTranslated { phys });
        Ok(phys)
    }

    fn fault(&mut self, why: FaultReason) -> Ended {
        let iova = self.address;
        self.note(Where::Iommu, || Decision::Fault { why, iova });
        // Beyond the page others may be refused for other reasons, or not at all.
        self.hold(4096 - iova % 4096);
        self.lost(Where::Iommu, Why::IommuFault)
    }

    fn add_inbound_offset(&mut self, from: &Root) -> Result<u64, Ended> {
        match self.address.checked_add_signed(from.inbound_offset) {
            Some(phys) => {
                self.hold((u64::MAX - phys).saturating_add(1));
                Ok(phys)
            }
            None => {
                self.note(from.place(), || Decision::LeavesAddressSpace);
                // A negative offset that leaves the space does so up to its own size.
                if from.inbound_offset < 0 {
                    self.hold(from.inbound_offset.unsigned_abs() - self.address);
                }
                Err(self.lost(from.place(), Why::UnsupportedRequest))
            }
        }
    }

    fn check_interrupt(&mut self, from: &Root, address: u64) -> Result<(), Ended> {
        let (first, last) = INTERRUPTS;
        if self.request.access == Access::Read {
            return Ok(());
        }
        if address < first {
            self.hold(first - address);
        } else if address <= last {
            self.hold(last - address + 1);
            self.note(from.place(), || Decision::Interrupt);
            return Err(self.route.ends(End::Interrupt));
        }
        Ok(())
    }

    /// From device to device, if the root complex does that.
    fn forward(&mut self, root: u32, to: u32, phys: u64, arrival: Arrival) -> Ended {
        let roots = &self.fabric.host.roots;
        let (from, beyond) = (&roots[root as usize], &roots[to as usize]);
        let bus_address = self.address;
        self.note(from.place(), || Decision::HostWindow {
            phys,
            bus_address,
            domain: beyond.domain,
            bus: beyond.number,
        });
        if let Err((at, policy)) = forwards(from, beyond, self.request.access) {
            self.note(at, || Decision::NotForwarded { policy });
            return self.lost(at, Why::NotForwarded);
        }
        let policy = from.forwarding;
        self.note(from.place(), || Decision::Forwarded { policy });
        let target = self.on_root_bus(beyond);
        // Egress control knows the port by its place, whether it decodes memory or not.
        let egress = match (&target, beyond.bus) {
            _ if !arrival.ingress => None,
            (Ok(target), _) => Some(target.function),
            (Err(_), Some(bus)) => self.silent_on(bus),
            (Err(_), None) => None,
        };
        if let Some(egress) = egress
            && self.leaves_root_port(arrival.function, egress) == Turn::Violation
        {
            return self.lost(Where::Function(arrival.function), Why::AcsViolation);
        }
        match target {
            Ok(target) => self.take(target),
            Err(end) => end,
        }
    }

    #[inline]
    fn on_root_bus(&mut self, root: &Root) -> Result<Target, Ended> {
        let target = root.bus.and_then(|bus| self.claimed(bus));
        target.ok_or_else(|| {
            let address = self.address;
            self.note(root.place(), || Decision::NobodyClaims { address });
            self.lost(root.place(), Why::UnsupportedRequest)
        })
    }
}

/// May a request go from below one host bridge to below another? Else: which of them says no, by which policy.
pub(super) fn forwards(from: &Root, to: &Root, access: Access) -> Result<(), (Where, Forwarding)> {
    let is_same = (from.domain, from.number) == (to.domain, to.number);
    for root in [from, to] {
        let allowed = match root.forwarding {
            Forwarding::Nothing => false,
            Forwarding::StoresOnly => access == Access::Write,
            Forwarding::SameBridge => is_same,
            Forwarding::Everything => true,
        };
        if !allowed {
            return Err((root.place(), root.forwarding));
        }
    }
    Ok(())
}

impl Fabric {
    /// The bus address that leads `function`'s writes to where the processors take interrupts; nothing where its host
    /// bridge lets none lead there.
    pub(crate) fn interrupt_address(&self, function: FunctionId) -> Option<u64> {
        let (first, _) = INTERRUPTS;
        // An IOMMU that translates looks for interrupts before any offset counts.
        if self.host.iommu == IommuMode::Translating {
            return Some(first);
        }
        let root = self.host.roots.get(self.root_of(function) as usize)?;
        u64::try_from(i128::from(first) - i128::from(root.inbound_offset)).ok()
    }

    /// The way of a processor's load or store.
    pub fn route_cpu(&self, access: Access, phys: u64, len_bytes: u32, route: &mut Route) {
        let mut request = Request {
            requester: Bdf::from_devfn(0, 0, 0),
            access,
            address: phys,
            len_bytes,
            address_type: AddressType::Untranslated,
            ordering: Ordering::Strict,
        };
        route.begin(request.requester, None);
        let Found { by, holds_bytes } = self.host.map.find(phys);
        route.holds_bytes = holds_bytes;
        route.legs.push(Leg::RootComplex);
        let (root, bus_address) = match by {
            Some(Physical::Ram) => {
                route.end = End::Ram { phys };
                return;
            }
            Some(Physical::Window {
                root,
                phys: first,
                bus,
            }) => (&self.host.roots[root as usize], bus + (phys - first)),
            None => {
                route.end = End::Lost(Loss {
                    at: Where::Nowhere,
                    why: Why::UnsupportedRequest,
                    packet: Packet::Request,
                });
                return;
            }
        };
        // The root complex's own requester ID.
        request.requester = Bdf::from_devfn(root.domain, root.number, 0);
        route.requester = request.requester;
        let mut walk = RequestWalk {
            fabric: self,
            request: &request,
            route,
            address: bus_address,
            payload_bytes: 0,
            is_aliased: false,
        };
        let Ended = match walk.on_root_bus(root) {
            Ok(target) => {
                walk.payload_bytes = walk.sender_payload_bytes(self.node(target.function));
                walk.take(target)
            }
            Err(end) => end,
        };
    }
}
