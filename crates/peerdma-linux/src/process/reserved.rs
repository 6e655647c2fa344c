//! Addresses that devices may not issue for memory: what the machine claims, and what the kernel reserves for each IOMMU group.

use crate::sysfs::reserved_regions;
use peerdma::addr::{Address, Iova, Span};
use peerdma::fact::Fact;
use peerdma::iova::joined;
use peerdma::topology::Topology;
use std::collections::BTreeSet;
use std::path::Path;

/// All addresses that mean something else than memory that is mapped. In ascending order; none overlaps another.
pub(super) fn reserved(topology: &Topology, groups: &Path) -> Vec<Span<Iova>> {
    let claimed = topology.claimed(bars(topology));
    joined(claimed.into_iter().chain(of_groups(topology, groups)))
}

/// Where the CPU sees what is behind host bridges: windows, and BARs that lie outside of them.
pub(super) fn seen_by_cpu(topology: &Topology) -> Vec<Span<Iova>> {
    let mut seen: Vec<Span<Iova>> = bars(topology).collect();
    let windows = topology.host_bridges().iter().flat_map(|bridge| bridge.windows());
    seen.extend(windows.filter_map(|window| {
        let first = window.phys.to_u64();
        span(first, first.checked_add(window.bus.len_minus_one())?)
    }));
    seen
}

/// The memory of all BARs, by both of its addresses: the one that is not the bus's is left free, too.
fn bars(topology: &Topology) -> impl Iterator<Item = Span<Iova>> + '_ {
    let functions = topology.snapshot().functions().iter();
    let bars = functions.flat_map(|function| function.bars().known().unwrap_or_default());
    bars.filter(|bar| bar.kind.is_memory()).flat_map(|bar| {
        let phys = match bar.phys {
            Fact::Known(phys) => span(phys.first().to_u64(), phys.last().to_u64()),
            Fact::Unknown(_) => None,
        };
        let on_bus = match (bar.bus_address, bar.size_bytes) {
            (Fact::Known(first), Fact::Known(size_bytes)) if first.to_u64() != 0 => {
                let first = first.to_u64();
                let last = size_bytes.checked_sub(1).and_then(|less| first.checked_add(less));
                last.and_then(|last| span(first, last))
            }
            _ => None,
        };
        [phys, on_bus].into_iter().flatten()
    })
}

/// What the kernel reserves for the groups of the machine's functions.
fn of_groups(topology: &Topology, groups: &Path) -> Vec<Span<Iova>> {
    let functions = topology.snapshot().functions().iter();
    let numbers: BTreeSet<u32> = functions
        .filter_map(|function| match &function.os.iommu_group {
            Fact::Known(Some(group)) => Some(group.number),
            Fact::Known(None) | Fact::Unknown(_) => None,
        })
        .collect();
    // What cannot be read is no more than missing here: the apertures of the groups that are opened leave such regions out, too.
    let regions = |number| reserved_regions(groups, number).unwrap_or_default();
    numbers.into_iter().flat_map(regions).collect()
}

fn span(first: u64, last: u64) -> Option<Span<Iova>> {
    Span::new(Iova::from_u64(first), Iova::from_u64(last)).ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use peerdma::addr::{BusAddr, PhysAddr};
    use peerdma::pci::{Bar, BarKind, Bridge, Windows};
    use peerdma::snapshot::{
        Function, Host, HostBridge, HostWindow, IommuGroup, Resource, Snapshot, Warnings,
    };

    fn bus(first: u64, last: u64) -> Span<BusAddr> {
        Span::new(BusAddr::from_u64(first), BusAddr::from_u64(last)).unwrap()
    }

    /// A bridge with two windows, and a function with a BAR that lies elsewhere on the bus than for the CPU.
    fn topology() -> Topology {
        let mut port = Function::new("0000:00:01.0".parse().unwrap());
        port.config.bridge = Fact::Known(Some(Bridge {
            kind: Default::default(),
            primary: 0,
            secondary: 1,
            subordinate: 1,
            windows: Fact::Known(Windows {
                io: None,
                memory: Some(bus(0xe000_0000, 0xe0ff_ffff)),
                prefetchable: Some(bus(0x8_0000_0000, 0x8_0fff_ffff)),
            }),
        }));
        let mut device = Function::new("0000:01:00.0".parse().unwrap());
        device.config.bars = Fact::Known(vec![Bar {
            index: 0,
            kind: BarKind::Memory64,
            prefetchable: true,
            address: BusAddr::from_u64(0x7_0000_0000),
        }]);
        let cpu = Span::new(
            PhysAddr::from_u64(0x9_0000_0000),
            PhysAddr::from_u64(0x9_0000_ffff),
        )
        .unwrap();
        device.os.resources = Fact::Known(vec![Resource {
            index: 0,
            kind: BarKind::Memory64,
            prefetchable: true,
            span: Fact::Known(cpu),
            size_bytes: Fact::Known(0x1_0000),
        }]);
        device.os.iommu_group = Fact::Known(Some(IommuGroup {
            number: 7,
            domain_type: Fact::NOT_IN_SOURCE,
        }));
        let host = Host {
            bridges: Fact::Known(vec![HostBridge {
                domain: 0,
                bus: 0,
                windows: Fact::Known(vec![HostWindow {
                    bus: bus(0xd000_0000, 0xefff_ffff),
                    phys: PhysAddr::from_u64(0x20_d000_0000),
                }]),
                inbound_offset: Fact::Known(0),
                forwarding: Fact::NOT_IN_SOURCE,
            }]),
            ..Host::default()
        };
        let warnings = &mut Warnings::default();
        Topology::new(Snapshot::new(host, vec![port, device], warnings), warnings)
    }

    #[test]
    fn windows_bars_interrupts_and_what_the_kernel_reserves_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("7")).unwrap();
        std::fs::write(folder.path().join("7/reserved_regions"), "0x1000 0x1fff direct\n").unwrap();
        let topology = topology();
        let found = reserved(&topology, folder.path());
        let numbers: Vec<_> = (found.iter())
            .map(|span| (span.first().to_u64(), span.last().to_u64()))
            .collect();
        assert_eq!(
            numbers,
            [
                (0x1000, 0x1fff),
                (0xd000_0000, 0xefff_ffff),
                (0xfee0_0000, 0xfeef_ffff),
                (0x7_0000_0000, 0x7_0000_ffff),
                (0x8_0000_0000, 0x8_0fff_ffff),
                (0x9_0000_0000, 0x9_0000_ffff),
            ]
        );
        let window = span(0x20_d000_0000, 0x20_efff_ffff).unwrap();
        assert!(seen_by_cpu(&topology).contains(&window));
    }
}
