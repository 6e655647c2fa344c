//! Which address an initiator is given for a place: the one in the provider's register, or the one that the root complex
//! turns into the place's physical address, which the IOMMU may have to be told first.

use super::Form;
use super::error::Wrong;
use super::names::Side;
use crate::fabric::{Explain, IoasId, Rights, Route};
use crate::machine::Machine;
use crate::tlp::{Access, AddressType, Ordering, Request};
use peerdma::addr::{Address, Bdf, BusAddr};
use peerdma::fact::Fact;
use peerdma::snapshot::{HostBridge, IommuMode, Snapshot, Warnings};
use peerdma::topology::Topology;
use std::collections::BTreeMap;

const PAGE_BYTES: u64 = 4096;

/// Gives addresses, and keeps what was mapped for them.
#[derive(Debug)]
pub(super) struct Addresses {
    topology: Topology,
    mode: IommuMode,
    /// Address spaces, by requester ID as it arrives at the root complex.
    spaces: BTreeMap<Bdf, IoasId>,
    /// Nothing where none is left.
    next_iova: Option<u64>,
}

impl Addresses {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        let topology = Topology::new(snapshot, &mut Warnings::default());
        let mode = topology.snapshot().host.iommu.known().unwrap_or(IommuMode::Off);
        Self {
            next_iova: first_iova(&topology),
            topology,
            mode,
            spaces: BTreeMap::new(),
        }
    }

    /// The form that is used where a script names none.
    pub(super) fn usual(&self) -> Form {
        match self.mode {
            IommuMode::Translating => Form::Host,
            IommuMode::Off | IommuMode::Passthrough => Form::Bus,
        }
    }

    /// The address in requests of `initiator` for `len_bytes` of a place. RAM has no address on a bus: it is reached in host form.
    pub(super) fn give(
        &mut self,
        machine: &mut Machine,
        initiator: Bdf,
        side: &Side,
        form: Form,
        len_bytes: u64,
    ) -> Result<u64, Wrong> {
        let bus = self.bus_address(machine, side);
        if let (Form::Bus, Some(bus)) = (form, bus) {
            return Ok(bus);
        }
        let phys = match (side.owner, bus) {
            (None, _) => side.offset,
            (Some((owner, _)), Some(bus)) => self.phys(owner, bus)?,
            (Some(_), None) => return Err(Wrong::NoAddress("the BAR has no address")),
        };
        if self.mode == IommuMode::Translating {
            return self.map(machine, initiator, phys, len_bytes);
        }
        let inbound = self
            .bridge(initiator)
            .and_then(|bridge| bridge.inbound_offset.known());
        let address = phys.checked_add_signed(inbound.unwrap_or(0).wrapping_neg());
        address.ok_or(Wrong::NoAddress(
            "the host bridge's inbound offset leads out of the address space",
        ))
    }

    /// The place's address on its bus.
    fn bus_address(&self, machine: &Machine, side: &Side) -> Option<u64> {
        let (owner, bar) = side.owner?;
        let function = machine.fabric().find(owner)?;
        let (address, _) = machine.fabric().bar(function, bar)?;
        address.checked_add(side.offset)
    }

    fn phys(&self, owner: Bdf, bus: u64) -> Result<u64, Wrong> {
        const HIDDEN: &str = "it lies in no window of its host bridge, so that no physical address leads to it; write address = \"bus\"";
        let windows = self.bridge(owner).map(|bridge| &bridge.windows);
        let Some(Fact::Known(windows)) = windows else {
            return Err(Wrong::NoAddress(HIDDEN));
        };
        let found = windows
            .iter()
            .find_map(|window| window.phys_address(BusAddr::from_u64(bus)));
        found.map(Address::to_u64).ok_or(Wrong::NoAddress(HIDDEN))
    }

    /// The host bridge above a function.
    fn bridge(&self, bdf: Bdf) -> Option<&HostBridge> {
        let root = self.topology.root(self.topology.find(bdf)?)?;
        let root = self.topology.roots().get(root.index())?;
        match &self.topology.snapshot().host.bridges {
            Fact::Known(bridges) => {
                (bridges.iter()).find(|bridge| (bridge.domain, bridge.bus) == (root.domain, root.bus))
            }
            Fact::Unknown(_) => None,
        }
    }

    fn map(
        &mut self,
        machine: &mut Machine,
        initiator: Bdf,
        phys: u64,
        len_bytes: u64,
    ) -> Result<u64, Wrong> {
        const NONE_LEFT: &str = "host bridges and BARs take all addresses, so that no I/O virtual address is left; write \
            address = \"bus\", or shorten the windows of the host bridges";
        let within = phys % PAGE_BYTES;
        let pages = (within + len_bytes).next_multiple_of(PAGE_BYTES);
        let iova = self.next_iova.ok_or(Wrong::NoAddress(NONE_LEFT))?;
        let next = iova.checked_add(pages).ok_or(Wrong::NoAddress(NONE_LEFT))?;
        let space = self.space(machine, initiator, iova)?;
        self.next_iova = Some(next);
        let iommu = machine.fabric_mut().iommu_mut();
        iommu
            .map(space, iova, phys - within, pages, Rights::ReadWrite)
            .map_err(Wrong::Iommu)?;
        Ok(iova + within)
    }

    /// The address space of a function, which it shares with all that arrive under the same requester ID.
    fn space(&mut self, machine: &mut Machine, initiator: Bdf, iova: u64) -> Result<IoasId, Wrong> {
        let request = Request {
            requester: initiator,
            access: Access::Read,
            address: iova,
            len_bytes: 4,
            address_type: AddressType::Untranslated,
            ordering: Ordering::Strict,
        };
        let mut route = Route::new(Explain::Nothing);
        machine.fabric().route_request(&request, &mut route);
        let arrives_as = route.requester;
        if let Some(space) = self.spaces.get(&arrives_as) {
            return Ok(*space);
        }
        let iommu = machine.fabric_mut().iommu_mut();
        let space = iommu.create().map_err(Wrong::Iommu)?;
        iommu.attach(arrives_as, space).map_err(Wrong::Iommu)?;
        self.spaces.insert(arrives_as, space);
        Ok(space)
    }
}

/// An address above everything that a bridge or RAM has: no window takes it on its way up. Nothing where there is none.
fn first_iova(topology: &Topology) -> Option<u64> {
    const LEAST: u64 = 1 << 40;
    let host = &topology.snapshot().host;
    let mut last = LEAST;
    if let Fact::Known(bridges) = &host.bridges {
        for bridge in bridges {
            if let Fact::Known(windows) = &bridge.windows {
                last = windows
                    .iter()
                    .fold(last, |last, window| last.max(window.bus.last().to_u64()));
            }
        }
    }
    for function in topology.snapshot().functions() {
        if let Fact::Known(bars) = function.bars() {
            for bar in bars {
                let size_bytes = bar.size_bytes.known().unwrap_or(0);
                let address = bar.bus_address.known().map_or(0, Address::to_u64);
                last = last.max(address.saturating_add(size_bytes));
            }
        }
    }
    // The next multiple of 1 TiB, if there is one: easy to tell from other addresses in a trace.
    last.checked_add(1)
        .and_then(|next| next.checked_next_multiple_of(LEAST))
}
