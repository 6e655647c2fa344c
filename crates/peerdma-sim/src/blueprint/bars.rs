//! BARs of a captured function: registers and the operating system's view, each completed from the other.

use super::from_snapshot::Tree;
use peerdma::addr::{Address, BusAddr, PhysAddr, Span};
use peerdma::fact::Fact;
use peerdma::pci::{Bar, BarKind};
use peerdma::snapshot::{Function, HostWindow, Resource, Snapshot};
use std::collections::HashMap;

/// What a BAR has where nobody tells its size: as much as its address is aligned to, between these.
const LEAST_BYTES: u64 = 4 << 10;
const MOST_BYTES: u64 = 1 << 20;

/// Between bus addresses and the CPU's, for each root bus.
#[derive(Debug)]
pub(super) struct Addresses {
    windows: HashMap<(u32, u8), Vec<HostWindow>>,
    /// Of the first BAR below a root bus of which both are known: CPU address less bus address.
    offsets: HashMap<(u32, u8), i128>,
}

impl Addresses {
    pub(super) fn new(snapshot: &Snapshot, functions: &[Function], tree: &Tree) -> Self {
        let mut windows = HashMap::new();
        if let Fact::Known(bridges) = &snapshot.host.bridges {
            for bridge in bridges {
                if let Fact::Known(known) = &bridge.windows {
                    // Of two for one root bus the first stays.
                    let at = windows.entry((bridge.domain, bridge.bus));
                    at.or_insert_with(|| known.clone());
                }
            }
        }
        let mut offsets = HashMap::new();
        for (function, root) in functions.iter().zip(&tree.roots) {
            if let Some(offset) = placements(function).next().map(|placement| placement.offset) {
                offsets.entry(*root).or_insert(offset);
            }
        }
        Self { windows, offsets }
    }

    fn phys(&self, root: (u32, u8), address: BusAddr) -> Option<u64> {
        if let Some(windows) = self.windows.get(&root) {
            let found = windows.iter().find_map(|window| window.phys_address(address));
            return found.map(Address::to_u64);
        }
        let offset = self.offsets.get(&root).copied().unwrap_or(0);
        u64::try_from(i128::from(address.to_u64()) + offset).ok()
    }

    fn bus(&self, root: (u32, u8), phys: PhysAddr) -> Option<u64> {
        if let Some(windows) = self.windows.get(&root) {
            let found = windows.iter().find_map(|window| window.bus_address(phys));
            return found.map(Address::to_u64);
        }
        let offset = self.offsets.get(&root).copied().unwrap_or(0);
        u64::try_from(i128::from(phys.to_u64()) - offset).ok()
    }
}

/// A memory BAR that has an address on the bus and one that the CPU sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placement {
    pub(super) phys: Span<PhysAddr>,
    /// CPU address less bus address.
    pub(super) offset: i128,
}

/// The memory BARs of which both addresses are known.
pub(super) fn placements(function: &Function) -> impl Iterator<Item = Placement> + '_ {
    let registers = function
        .config
        .bars
        .as_ref()
        .known()
        .map_or(&[][..], Vec::as_slice);
    let resources = function
        .os
        .resources
        .as_ref()
        .known()
        .map_or(&[][..], Vec::as_slice);
    resources.iter().filter_map(|resource| {
        let phys = resource.span.known().filter(|_| resource.kind.is_memory())?;
        let register = registers
            .iter()
            .find(|register| register.index == resource.index)?;
        let bus = register.address.to_u64();
        let offset = i128::from(phys.first().to_u64()) - i128::from(bus);
        (bus != 0).then_some(Placement { phys, offset })
    })
}

/// Completes the BARs of a function; says in `told` what was made up.
pub(super) fn fill(function: &mut Function, root: (u32, u8), addresses: &Addresses, told: &mut Vec<String>) {
    if !function.config.bars.is_known() && !function.os.resources.is_known() {
        told.push("no BARs".into());
    }
    let mut registers = std::mem::take(&mut function.config.bars)
        .known()
        .unwrap_or_default();
    let mut resources = std::mem::take(&mut function.os.resources)
        .known()
        .unwrap_or_default();
    let rebar = function
        .config
        .rebar
        .as_ref()
        .known()
        .map_or(&[][..], Vec::as_slice);
    for register in registers.iter().filter(|register| register.kind.is_memory()) {
        if resources.iter().all(|resource| resource.index != register.index) {
            resources.push(Resource {
                index: register.index,
                kind: register.kind,
                prefetchable: register.prefetchable,
                span: Fact::NOT_IN_SOURCE,
                size_bytes: Fact::NOT_IN_SOURCE,
            });
        }
    }
    resources.sort_by_key(|resource| resource.index);
    for resource in resources.iter_mut().filter(|resource| resource.kind.is_memory()) {
        let register = registers.iter().find(|register| register.index == resource.index);
        let address = register
            .map(|register| register.address)
            .filter(|address| address.to_u64() != 0);
        let was_told = resource.size_bytes.is_known() || resource.span.is_known();
        if !resource.size_bytes.is_known() {
            let by_span = resource.span.known().and_then(Span::len_bytes);
            let by_rebar = rebar.iter().find(|rebar| rebar.bar == resource.index);
            let size = by_span.or_else(|| by_rebar.and_then(|rebar| rebar.current_bytes()));
            let size = size.unwrap_or_else(|| {
                let usual = usual_size_bytes(address);
                told.push(format!("{usual:#x} bytes in BAR {}", resource.index));
                usual
            });
            resource.size_bytes = Fact::Known(size);
        }
        // One of which the operating system told the size and no address has none that the CPU sees.
        if !was_told && let Some(address) = address {
            let size = resource.size_bytes.known().unwrap_or(LEAST_BYTES);
            let first = addresses.phys(root, address);
            let span = first.and_then(|first| {
                let last = first.checked_add(size.checked_sub(1)?)?;
                Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).ok()
            });
            resource.span = span.map_or(Fact::NOT_IN_SOURCE, Fact::Known);
        }
    }
    for resource in resources.iter_mut().filter(|resource| resource.kind.is_memory()) {
        if registers.iter().any(|register| register.index == resource.index) {
            continue;
        }
        let span = resource.span.known();
        let address = span
            .and_then(|span| addresses.bus(root, span.first()))
            .unwrap_or(0);
        let is_writable = |address: &u64| {
            address.is_multiple_of(16) && (resource.kind == BarKind::Memory64 || *address <= u32::MAX.into())
        };
        let address = Some(address).filter(is_writable).unwrap_or(0);
        if address == 0 && span.is_some() {
            told.push(format!(
                "no CPU address for BAR {}, since no bus address leads there",
                resource.index
            ));
            resource.span = Fact::NOT_IN_SOURCE;
        }
        // A register of zeros is none.
        if address != 0 || resource.prefetchable || resource.kind == BarKind::Memory64 {
            told.push(format!(
                "address {address:#x} on the bus for BAR {}",
                resource.index
            ));
            registers.push(Bar {
                index: resource.index,
                kind: resource.kind,
                prefetchable: resource.prefetchable,
                address: BusAddr::from_u64(address),
            });
        }
    }
    registers.sort_by_key(|register| register.index);
    function.config.bars = Fact::Known(registers);
    function.os.resources = Fact::Known(resources);
}

fn usual_size_bytes(address: Option<BusAddr>) -> u64 {
    let Some(address) = address else {
        return LEAST_BYTES;
    };
    let zeros = address.to_u64().trailing_zeros().min(63);
    (1u64 << zeros).clamp(LEAST_BYTES, MOST_BYTES)
}
