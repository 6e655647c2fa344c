//! Addresses of the machine: host bridges' windows, what must stay free of other meanings, and who issues what.

use super::Computer;
use peerdma::addr::{Address, Bdf, BusAddr, Iova, PhysAddr, Span};
use peerdma::dma::Initiator;
use peerdma::fact::Fact;
use peerdma::route::TlpClass;
use peerdma::snapshot::{HostBridge, HostWindow, IommuMode};

/// Where the processors of x86 take writes for interrupts (Intel SDM 3A 11.11.1).
const INTERRUPTS: (u64, u64) = (0xfee0_0000, 0xfeef_ffff);

impl Computer {
    /// All addresses that mean something else than memory that is mapped: what any bridge claims, BARs that lie outside of
    /// all windows, and where interrupts are written. In ascending order; none overlaps another.
    pub fn reserved(&self) -> Vec<Span<Iova>> {
        let mut ranges: Vec<(u64, u64)> = vec![INTERRUPTS];
        for bridge in self.bridges() {
            for window in windows(bridge) {
                ranges.push((window.bus.first().to_u64(), window.bus.last().to_u64()));
            }
            // What an address from below becomes counts, where no IOMMU translates.
            let offset = bridge.inbound_offset.known().unwrap_or(0);
            let below = |address: u64| u64::try_from(i128::from(address) - i128::from(offset)).ok();
            if let (Some(first), Some(last)) = (below(INTERRUPTS.0), below(INTERRUPTS.1)) {
                ranges.push((first, last));
            }
        }
        for function in self.shared.topology.snapshot().functions() {
            if let Some(bridge) = function.bridge()
                && let Fact::Known(windows) = &bridge.windows
            {
                let both = [windows.memory, windows.prefetchable];
                ranges.extend(
                    both.into_iter()
                        .flatten()
                        .map(|span| (span.first().to_u64(), span.last().to_u64())),
                );
            }
            for bar in 0..6 {
                if let Some((first, last)) = self.bus_range(function.bdf, bar) {
                    ranges.push((first, last));
                }
            }
        }
        merged(ranges)
    }

    /// What an address space must know of a function that issues requests. Every model can issue all 64 bits.
    pub fn initiator(&self, bdf: Bdf) -> Option<Initiator> {
        let bridge = self.bridge_above(bdf)?;
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

    pub(super) fn bridges(&self) -> &[HostBridge] {
        match &self.shared.topology.snapshot().host.bridges {
            Fact::Known(bridges) => bridges,
            Fact::Unknown(_) => &[],
        }
    }

    /// The host bridge above a function.
    pub(super) fn bridge_above(&self, bdf: Bdf) -> Option<&HostBridge> {
        let topology = &self.shared.topology;
        let root = topology.root(topology.find(bdf)?)?;
        let root = topology.roots().get(root.index())?;
        (self.bridges().iter()).find(|bridge| (bridge.domain, bridge.bus) == (root.domain, root.bus))
    }

    /// Where the CPU sees bus addresses of a function's bus, if all lie in one window and no RAM is there.
    pub(super) fn seen(&self, bdf: Bdf, (first, last): (u64, u64)) -> Option<Span<PhysAddr>> {
        let at = |window: &HostWindow, bus: u64| window.phys_address(BusAddr::from_u64(bus));
        let found = windows(self.bridge_above(bdf)?)
            .iter()
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
        let mut all = self.bridges().iter().flat_map(windows);
        all.any(|window| window.bus_address(at).is_some())
    }
}

pub(super) fn windows(bridge: &HostBridge) -> &[HostWindow] {
    match &bridge.windows {
        Fact::Known(windows) => windows,
        Fact::Unknown(_) => &[],
    }
}

fn merged(mut ranges: Vec<(u64, u64)>) -> Vec<Span<Iova>> {
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if before.1.saturating_add(1) >= first => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    let span = |(first, last)| Span::new(Iova::from_u64(first), Iova::from_u64(last)).ok();
    merged.into_iter().filter_map(span).collect()
}
