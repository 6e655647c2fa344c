//! Processor, IOMMU, RAM and host bridges of a captured machine.

use super::bars::placements;
use super::from_snapshot::Tree;
use crate::file::{self, MOST_DELAY_PS, MOST_TIMEOUT_PS};
use peerdma::addr::{Address, BusAddr, PhysAddr, Span};
use peerdma::fact::Fact;
use peerdma::snapshot::{
    Forwarding, Function, Host, HostBridge, HostWindow, IommuMode, Nature, Snapshot, Warnings,
};
use std::collections::{BTreeSet, HashMap};

const MACHINE: &str = "the machine";

/// What the specification leaves to the implementation: as told, if that can be.
pub(super) fn nature(snapshot: &Snapshot, warnings: &mut Warnings) -> Nature {
    let Some(told) = &snapshot.host.nature else {
        warnings.push(
            MACHINE,
            "no capture tells latencies, the completion timeout, or what devices do inside: they are as in a machine \
             file that does not name them",
        );
        return Nature::default();
    };
    let delays = [told.jitter_ps, told.switch_ps, told.root_complex_ps];
    let is_possible = matches!(told.read_completion_boundary_bytes, 64 | 128)
        && (1..=MOST_TIMEOUT_PS).contains(&told.completion_timeout_ps)
        && delays.iter().all(|&delay_ps| delay_ps <= MOST_DELAY_PS);
    match is_possible {
        true => told.clone(),
        false => {
            warnings.push(
                MACHINE,
                "latencies above one second, no completion timeout or one above 64 seconds, or a read completion boundary \
                 that is neither 64 nor 128 bytes: none of its nature is taken",
            );
            Nature::default()
        }
    }
}

/// The host with everything filled in.
pub(super) fn fill(
    snapshot: &Snapshot,
    functions: &[Function],
    tree: &Tree,
    warnings: &mut Warnings,
) -> Host {
    let mut host = snapshot.host.clone();
    let usual = file::Host::default();
    if !host.cpu.is_known() {
        warnings.push(
            MACHINE,
            format_args!("its processor is not told; taken: {}", usual.cpu),
        );
        host.cpu = Fact::Known(usual.cpu);
    }
    if !host.kernel.is_known() {
        warnings.push(
            MACHINE,
            format_args!("its Linux release is not told; taken: {}", usual.kernel),
        );
        host.kernel = Fact::Known(usual.kernel);
    }
    if !host.iommu.is_known() {
        let mode = likely_iommu(functions);
        warnings.push(
            MACHINE,
            format_args!("what its IOMMU does is not told; taken: {mode}"),
        );
        host.iommu = Fact::Known(mode);
    }
    let was_told = host.bridges.is_known();
    let mut bridges = std::mem::take(&mut host.bridges).known().unwrap_or_default();
    keep_possible(&mut bridges, warnings);
    fill_bridges(&mut bridges, functions, tree, warnings);
    if !was_told {
        let what = "host bridges are not told; taken: windows that hold its BARs, no inbound offset, everything forwarded";
        warnings.push(MACHINE, what);
    }
    if !host.ram.is_known() {
        let ram = ram(&bridges);
        let taken = match ram.first().and_then(|span| span.len_bytes()) {
            Some(bytes) => format!("{bytes:#x} bytes from address 0"),
            None => "none, since a window begins at address 0".into(),
        };
        warnings.push(MACHINE, format_args!("its RAM is not told; taken: {taken}"));
        host.ram = Fact::Known(ram);
    }
    host.bridges = Fact::Known(bridges);
    host
}

/// What the domains of the IOMMU groups say.
fn likely_iommu(functions: &[Function]) -> IommuMode {
    let groups = functions
        .iter()
        .filter_map(|function| function.os.iommu_group.as_ref().known()?.as_ref());
    let mut mode = IommuMode::Off;
    for group in groups {
        match group.domain_type.as_ref().known().map(String::as_str) {
            Some("identity") => mode = IommuMode::Passthrough,
            _ => return IommuMode::Translating,
        }
    }
    mode
}

/// Drops what no machine can have: a second host bridge of one root bus, and windows that leave the address space.
fn keep_possible(bridges: &mut Vec<HostBridge>, warnings: &mut Warnings) {
    let mut there = BTreeSet::new();
    bridges.retain_mut(|bridge| {
        let at = format!("host bridge {:04x}:{:02x}", bridge.domain, bridge.bus);
        if !there.insert((bridge.domain, bridge.bus)) {
            warnings.push(at, "it is described twice; what is said first is taken");
            return false;
        }
        if let Fact::Known(windows) = &mut bridge.windows {
            windows.retain(|window| {
                let is_possible = window.phys.checked_add(window.bus.len_minus_one()).is_some();
                if !is_possible {
                    let (first, phys) = (window.bus.first().to_u64(), window.phys.to_u64());
                    warnings.push(
                        &at,
                        format_args!(
                            "its window from bus address {first:#x} on leaves the physical address space, in which it starts \
                             at {phys:#x}; it is left out"
                        ),
                    );
                }
                is_possible
            });
        }
        true
    });
}

fn fill_bridges(bridges: &mut Vec<HostBridge>, functions: &[Function], tree: &Tree, warnings: &mut Warnings) {
    let roots: BTreeSet<(u32, u8)> = tree.roots.iter().copied().collect();
    let there: BTreeSet<(u32, u8)> = bridges.iter().map(|bridge| (bridge.domain, bridge.bus)).collect();
    bridges.extend(roots.difference(&there).map(|&(domain, bus)| HostBridge {
        domain,
        bus,
        windows: Fact::NOT_IN_SOURCE,
        inbound_offset: Fact::NOT_IN_SOURCE,
        forwarding: Fact::NOT_IN_SOURCE,
    }));
    if bridges.iter().all(|bridge| {
        bridge.windows.is_known() && bridge.inbound_offset.is_known() && bridge.forwarding.is_known()
    }) {
        return;
    }
    let mut windows = windows(functions, tree);
    for bridge in bridges {
        let mut told = Vec::new();
        if !bridge.windows.is_known() {
            let found = windows.remove(&(bridge.domain, bridge.bus)).unwrap_or_default();
            told.push(format!("{} windows that hold its BARs", found.len()));
            bridge.windows = Fact::Known(found);
        }
        if !bridge.inbound_offset.is_known() {
            told.push("no inbound offset".into());
            bridge.inbound_offset = Fact::Known(0);
        }
        if !bridge.forwarding.is_known() {
            told.push("everything forwarded".into());
            bridge.forwarding = Fact::Known(Forwarding::Everything);
        }
        if !told.is_empty() {
            let at = format!("host bridge {:04x}:{:02x}", bridge.domain, bridge.bus);
            warnings.push(
                at,
                format_args!("not told, and taken for it: {}", told.join(", ")),
            );
        }
    }
}

/// Windows that hold the BARs below each root bus: neighbours in the memory map that belong to the same one and have the
/// same offset lie in one window.
fn windows(functions: &[Function], tree: &Tree) -> HashMap<(u32, u8), Vec<HostWindow>> {
    let mut all: Vec<(u64, u64, i128, (u32, u8))> = Vec::new();
    for (function, root) in functions.iter().zip(&tree.roots) {
        all.extend(placements(function).map(|placement| {
            let span = placement.phys;
            (
                span.first().to_u64(),
                span.last().to_u64(),
                placement.offset,
                *root,
            )
        }));
    }
    all.sort_unstable();
    let mut merged: Vec<(u64, u64, i128, (u32, u8))> = Vec::new();
    for next in all {
        match merged.last_mut() {
            Some(last) if (last.2, last.3) == (next.2, next.3) => last.1 = last.1.max(next.1),
            _ => merged.push(next),
        }
    }
    let mut windows: HashMap<_, Vec<HostWindow>> = HashMap::new();
    for (first, last, offset, root) in merged {
        let bus = |phys: u64| {
            u64::try_from(i128::from(phys) - offset)
                .ok()
                .map(BusAddr::from_u64)
        };
        let (Some(bus_first), Some(bus_last)) = (bus(first), bus(last)) else {
            continue;
        };
        if let Ok(bus) = Span::new(bus_first, bus_last) {
            let phys = PhysAddr::from_u64(first);
            windows.entry(root).or_default().push(HostWindow { bus, phys });
        }
    }
    windows
}

/// Up to 2 GiB from address 0, as far as no window begins.
fn ram(bridges: &[HostBridge]) -> Vec<Span<PhysAddr>> {
    let windows = bridges
        .iter()
        .filter_map(|bridge| bridge.windows.as_ref().known())
        .flatten();
    let end = windows.map(|window| window.phys.to_u64()).fold(2 << 30, u64::min);
    let last = end.checked_sub(1).map(PhysAddr::from_u64);
    let span = last.and_then(|last| Span::new(PhysAddr::from_u64(0), last).ok());
    span.into_iter().collect()
}
