//! Who answers to which address, and under which names requests travel: what every host must know before it gives addresses away.

use super::{NodeId, Topology};
use crate::addr::{Address, Bdf, Iova, Span};
use crate::fact::Fact;
use crate::iova::joined;
use crate::pci::PortType;
use crate::snapshot::{Function, HostBridge, HostWindow};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Where the processors of x86 take writes for interrupts (Intel SDM 3A 11.11.1).
const INTERRUPTS: (u64, u64) = (0xfee0_0000, 0xfeef_ffff);

impl Topology {
    /// The host bridges that the source describes.
    pub fn host_bridges(&self) -> &[HostBridge] {
        match &self.snapshot.host.bridges {
            Fact::Known(bridges) => bridges,
            Fact::Unknown(_) => &[],
        }
    }

    /// The host bridge above a function, if the source describes it.
    pub fn host_bridge(&self, of: Bdf) -> Option<&HostBridge> {
        let root = self.root(self.find(of)?)?;
        let root = self.roots.get(root.index())?;
        (self.host_bridges().iter()).find(|bridge| (bridge.domain, bridge.bus) == (root.domain, root.bus))
    }

    /// Addresses that mean something else than memory which an IOMMU, or nobody, translates: the windows of host bridges and of bridges,
    /// where interrupts are written, and `bars`, the memory of BARs as the caller knows it (those outside of all windows count, too). In
    /// ascending order; none overlaps another.
    pub fn claimed(&self, bars: impl IntoIterator<Item = Span<Iova>>) -> Vec<Span<Iova>> {
        let span = |first, last| Span::new(Iova::from_u64(first), Iova::from_u64(last)).ok();
        let mut claimed: Vec<Span<Iova>> = bars.into_iter().collect();
        claimed.extend(span(INTERRUPTS.0, INTERRUPTS.1));
        for bridge in self.host_bridges() {
            let windows = bridge.windows().iter().map(|window| window.bus);
            claimed.extend(windows.filter_map(|bus| span(bus.first().to_u64(), bus.last().to_u64())));
            // What an address from below becomes counts, where no IOMMU translates.
            let offset = bridge.inbound_offset.known().unwrap_or(0);
            let below = |address: u64| u64::try_from(i128::from(address) - i128::from(offset)).ok();
            if let (Some(first), Some(last)) = (below(INTERRUPTS.0), below(INTERRUPTS.1)) {
                claimed.extend(span(first, last));
            }
        }
        for function in self.snapshot.functions() {
            if let Some(bridge) = function.bridge()
                && let Fact::Known(windows) = &bridge.windows
            {
                let both = [windows.memory, windows.prefetchable].into_iter().flatten();
                claimed.extend(both.filter_map(|bus| span(bus.first().to_u64(), bus.last().to_u64())));
            }
        }
        joined(claimed.into_iter())
    }

    /// All names that requests of a function's IOMMU group carry: its members, and the bridges to conventional buses above them, which take
    /// over requests from below. Nothing where there is no such function.
    pub fn requesters(&self, of: Bdf) -> Option<BTreeSet<Bdf>> {
        let node = self.find(of)?;
        let group = |function: &Function| match &function.os.iommu_group {
            Fact::Known(Some(group)) => Some(group.number),
            Fact::Known(None) | Fact::Unknown(_) => None,
        };
        let wanted = group(self.function(node));
        let is_member =
            |other: NodeId| other == node || wanted.is_some() && group(self.function(other)) == wanted;
        let mut requesters = BTreeSet::new();
        for member in self.nodes().filter(|other| is_member(*other)) {
            requesters.insert(self.function(member).bdf);
            for above in self.climb(member) {
                requesters.extend(alias(self.function(above)));
            }
        }
        Some(requesters)
    }
}

impl HostBridge {
    /// Its windows, as far as they are known.
    pub fn windows(&self) -> &[HostWindow] {
        match &self.windows {
            Fact::Known(windows) => windows,
            Fact::Unknown(_) => &[],
        }
    }
}

/// The name under which requests from below pass a bridge to a conventional bus.
fn alias(function: &Function) -> Option<Bdf> {
    let bridge = function.bridge()?;
    let is_taking_over = matches!(
        function.port_type(),
        Fact::Known(None | Some(PortType::TO_CONVENTIONAL))
    );
    is_taking_over.then(|| Bdf::from_devfn(function.bdf.domain(), bridge.secondary, 0))
}
