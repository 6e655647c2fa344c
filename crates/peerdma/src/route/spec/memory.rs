//! Where a function's memory lies: on its bus, and where the CPU sees it.

use super::facts::{RootFacts, Translation};
use crate::addr::{Address, BusAddr};
use crate::fact::Fact;
use crate::snapshot::BarFacts;
use crate::topology::{NodeId, Topology};
use alloc::vec::Vec;

/// One memory BAR; an address is left out where nobody knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BarPlace {
    pub(super) index: u8,
    /// 0 where none was assigned.
    pub(super) bus: Option<u64>,
    pub(super) phys: Option<u64>,
    pub(super) size_bytes: Option<u64>,
}

/// The memory that a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    At {
        bar: u8,
        bus: u64,
        phys: Option<u64>,
        size_bytes: Option<u64>,
    },
    None,
    Unknown,
}

impl Memory {
    pub(super) fn of(bar: BarPlace) -> Self {
        match bar.bus {
            Some(0) => Self::None,
            Some(bus) => Self::At {
                bar: bar.index,
                bus,
                phys: bar.phys,
                size_bytes: bar.size_bytes,
            },
            None => Self::Unknown,
        }
    }

    /// The largest BAR with an address; one of unknown size counts as smaller than all others.
    pub(super) fn largest(bars: &[BarPlace]) -> Self {
        let placed = bars.iter().filter(|bar| bar.bus.is_some_and(|bus| bus != 0));
        // Of several, `max_by_key` takes the last: the lowest number is to win.
        let largest = placed.rev().max_by_key(|bar| bar.size_bytes.unwrap_or(0));
        match largest {
            Some(bar) => Self::of(*bar),
            None if bars.iter().any(|bar| bar.bus.is_none()) => Self::Unknown,
            None => Self::None,
        }
    }
}

impl BarPlace {
    /// Appends the memory BARs of a function, in the order of their numbers.
    pub(super) fn all(
        topology: &Topology,
        node: NodeId,
        root: Option<&RootFacts<'_>>,
        bars: &mut Vec<Self>,
    ) -> Fact<()> {
        let function = topology.function(node);
        let told = match function.bars() {
            Fact::Known(told) => told,
            Fact::Unknown(why) => return Fact::Unknown(why),
        };
        let windows = root.and_then(|root| root.windows.known()).unwrap_or_default();
        let is_unchanged = root.is_some_and(|root| root.translation == Translation::None);
        for bar in told.iter().filter(|bar| bar.kind.is_memory()) {
            let register = bar.bus_address.known();
            let seen = bar.phys.known().map(|span| span.first());
            let bus = register.map(Address::to_u64).or_else(|| {
                let in_window = windows.iter().find_map(|window| window.bus_address(seen?));
                let by_physical = || Some(seen?.to_u64().wrapping_sub(physical_offset(topology, node)?));
                let unchanged = || seen.filter(|_| is_unchanged).map(Address::to_u64);
                in_window
                    .map(Address::to_u64)
                    .or_else(by_physical)
                    .or_else(unchanged)
            });
            let phys = seen.map(Address::to_u64).or_else(|| {
                let on_bus = BusAddr::from_u64(bus?);
                let seen = windows.iter().find_map(|window| window.phys_address(on_bus));
                seen.map(Address::to_u64)
                    .or_else(|| bus.filter(|&bus| is_unchanged && bus != 0))
            });
            bars.push(Self {
                index: bar.index,
                bus,
                phys,
                size_bytes: bar.size_bytes.known(),
            });
        }
        Fact::Known(())
    }

    /// First and last address that the function takes; only the first is sure where the size is unknown.
    pub(super) fn span(self) -> Option<(u64, u64)> {
        let first = self.bus.filter(|&bus| bus != 0)?;
        let more = self.size_bytes.unwrap_or(1).saturating_sub(1);
        Some((first, first.checked_add(more)?))
    }
}

/// What a virtual function's addresses differ by between CPU and bus: as much as its physical function's, whose
/// registers tell.
fn physical_offset(topology: &Topology, node: NodeId) -> Option<u64> {
    let physical = topology.function(node).os.physical_function.known()??;
    let bars = topology.function(topology.find(physical)?).bars().known()?;
    let offset = |bar: &BarFacts| {
        let seen = bar.phys.known()?.first().to_u64();
        let on_bus = bar.bus_address.known()?.to_u64();
        (bar.kind.is_memory() && on_bus != 0).then(|| seen.wrapping_sub(on_bus))
    };
    bars.iter().find_map(offset)
}
