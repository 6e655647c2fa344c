//! Firmware: gives a machine that a person described its bus numbers, addresses, windows and payload sizes.
//!
//! ```text
//! file::Machine -> plan (who sits where) -> room (BARs and windows) -> window (host bridges) -> describe -> Blueprint
//! ```
//!
//! Bus numbers go depth first. A bus is packed by alignment, the largest BAR first: 64-bit prefetchable BARs above
//! 4 GiB, all others below (all 64-bit ones above where there is no room below). What firmware leaves behind is a
//! snapshot in which every fact is known.

mod describe;
mod enumeration;
pub(crate) mod groups;
mod plan;
mod room;
mod siblings;
mod slots;
mod window;

use crate::blueprint::Blueprint;
use crate::file::{At, Machine, MachineError, Wrong};
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::snapshot::{Host, HostBridge, Snapshot, Warnings};
use plan::Plan;
use room::{LowPool, Rooms};
use std::collections::BTreeMap;

/// The most functions that a machine may have.
pub const MOST_FUNCTIONS: usize = 65_536;
/// The most host bridges that a machine may have.
pub const MOST_HOST_BRIDGES: usize = 256;
/// The most RAM ranges that a machine may have, and windows that one host bridge may have.
pub const MOST_RANGES: usize = 64;

/// Where the file describes the function at each address, for errors that only show when the machine is switched on.
///
/// # Errors
/// As [`boot`], where functions cannot be numbered.
pub fn places(machine: &Machine) -> Result<BTreeMap<Bdf, At>, MachineError> {
    let plan = Plan::new(machine)?;
    let places = plan.nodes.iter().map(|node| {
        let host = machine.bridges.get(node.host).map(|bridge| bridge.at);
        let at = node.role.common().map(|common| common.at);
        (node.bdf, at.or(host).unwrap_or_default())
    });
    Ok(places.collect())
}

/// Numbers a machine and assigns its addresses.
///
/// # Errors
/// [`MachineError`] where bus numbers, slots or addresses do not suffice, or where parts of the machine contradict each
/// other.
pub fn boot(machine: &Machine) -> Result<Blueprint, MachineError> {
    let mut plan = Plan::new(machine)?;
    let mut rooms = Rooms::new(&plan, LowPool::AllButWidePrefetchable);
    let mut windows = window::choose(machine, &rooms);
    if let Err(error) = &windows
        && matches!(error.wrong, Wrong::NoRoom { .. })
    {
        // PCI Express lets BARs of 64 bits lie in prefetchable windows whatever they are (PCIe Base 7.5.1.2.1).
        rooms = Rooms::new(&plan, LowPool::NarrowOnly);
        windows = window::choose(machine, &rooms);
    }
    let windows = windows?;
    rooms.assign(&mut plan, &windows);
    let windows = window::without_hidden(windows, &plan);
    let mut functions = describe::functions(machine, &plan, &windows)?;
    functions.sort_by_key(|function| function.bdf);
    groups::assign(&mut functions, machine.host.iommu);
    let bridges = machine.bridges.iter().zip(plan.buses()).zip(windows);
    let bridges = bridges.map(|((bridge, bus), chosen)| HostBridge {
        domain: bridge.domain,
        bus,
        windows: Fact::Known(chosen.windows),
        inbound_offset: Fact::Known(bridge.inbound_offset),
        forwarding: Fact::Known(bridge.forwarding),
    });
    let host = Host {
        cpu: Fact::Known(machine.host.cpu.clone()),
        kernel: Fact::Known(machine.host.kernel),
        iommu: Fact::Known(machine.host.iommu),
        bridges: Fact::Known(bridges.collect()),
        ram: Fact::Known(machine.host.ram.clone()),
        nature: Some(machine.nature.clone()),
    };
    Ok(Blueprint {
        devices: plan.devices(),
        snapshot: Snapshot::new(host, functions, &mut Warnings::default()),
        nature: machine.nature.clone(),
    })
}
