//! Addresses of the machine: host bridges' windows, what must stay free of other meanings, and who issues what.

use super::Computer;
use peerdma::addr::{Address, Bdf, BusAddr, Iova, PhysAddr, Span};
use peerdma::dma::Initiator;
use peerdma::fact::Fact;
use peerdma::route::TlpClass;
use peerdma::snapshot::{HostBridge, HostWindow, IommuMode};

impl Computer {
    /// All addresses that mean something else than memory that is mapped: what any bridge claims, BARs that lie outside of
    /// all windows, and where interrupts are written. In ascending order; none overlaps another.
    pub fn reserved(&self) -> Vec<Span<Iova>> {
        let functions = self.shared.topology.snapshot().functions();
        let ranges = functions
            .iter()
            .flat_map(|function| (0..6).filter_map(|bar| self.bus_range(function.bdf, bar)));
        let span = |(first, last)| Span::new(Iova::from_u64(first), Iova::from_u64(last)).ok();
        self.shared.topology.claimed(ranges.filter_map(span))
    }

    /// What an address space must know of a function that issues requests. Every model can issue all 64 bits.
    pub fn initiator(&self, bdf: Bdf) -> Option<Initiator> {
        let bridge = self.shared.topology.host_bridge(bdf)?;
        Some(Initiator {
            bdf,
            address_mask: u64::MAX,
            class: TlpClass::Strict,
            inbound_offset: bridge.inbound_offset.known().unwrap_or(0).cast_unsigned(),
        })
    }

    /// What the IOMMU does with addresses.
    pub fn iommu_mode(&self) -> IommuMode {
        self.shared.machine.borrow().fabric().iommu().mode()
    }

    /// Where the CPU sees bus addresses of a function's bus, if all lie in one window and no RAM is there.
    pub(super) fn seen(&self, bdf: Bdf, (first, last): (u64, u64)) -> Option<Span<PhysAddr>> {
        let at = |window: &HostWindow, bus: u64| window.phys_address(BusAddr::from_u64(bus));
        let bridge = self.shared.topology.host_bridge(bdf)?;
        let found = (bridge.windows().iter())
            .find_map(|window| Span::new(at(window, first)?, at(window, last)?).ok())?;
        let is_hidden = self.ram_spans().iter().any(|ram| ram.overlaps(found));
        (!is_hidden).then_some(found)
    }

    pub(super) fn ram_spans(&self) -> &[Span<PhysAddr>] {
        match &self.shared.topology.snapshot().host.ram {
            Fact::Known(spans) => spans,
            Fact::Unknown(_) => &[],
        }
    }

    /// Does a host bridge take what the CPU does at this address?
    pub(super) fn is_in_window(&self, at: PhysAddr) -> bool {
        let bridges = self.shared.topology.host_bridges();
        let mut all = bridges.iter().flat_map(HostBridge::windows);
        all.any(|window| window.bus_address(at).is_some())
    }
}
