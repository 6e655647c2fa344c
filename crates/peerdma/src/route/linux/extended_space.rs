//! Whose extended configuration space Linux reads, where ACS lies (drivers/pci/probe.c).
//!
//! Linux decides it by bus, when it finds the bridge above it (`pci_bridge_child_ext_cfg_accessible`): root ports and the
//! ports of switches lead there, every other bridge only with PCI-X of the second generation, and nothing does
//! below a bus that is out of reach. Of a function on such a bus Linux reads 256 bytes, whatever it holds
//! beyond (`pci_cfg_space_size`), so it finds no ACS. What the function itself must be like is told in
//! [`Config::parse`](crate::pci::Config::parse). [`AcsSums`](super::acs::AcsSums) asks; hardware obeys registers that Linux
//! never finds, so that the specification's judge does not.

#[cfg(test)]
mod tests;

use crate::fact::Fact;
use crate::pci::PortType;
use crate::snapshot::Function;
use crate::topology::{NodeId, Topology};
use alloc::vec;
use alloc::vec::Vec;

/// Does Linux look for an extended space in functions where this one is? In the order of the functions; unknown where a
/// function has no place.
pub(super) fn is_in_reach(topology: &Topology) -> Vec<Fact<bool>> {
    let mut reach = vec![Fact::NOT_IN_SOURCE; topology.nodes().len()];
    for &node in topology.top_down() {
        reach[node.index()] = match topology.upstream(node) {
            // Linux made it from what it had read in its physical function's extended space.
            _ if is_virtual(topology.function(node)) => Fact::Known(true),
            None => Fact::Known(true),
            Some(bridge) => both(reach[bridge.index()], leads_on(topology, node, bridge)),
        };
    }
    reach
}

/// Is the extended space of functions below `bridge` in reach, where its own is?
fn leads_on(topology: &Topology, node: NodeId, bridge: NodeId) -> Fact<bool> {
    let bridge = topology.function(bridge);
    let by_pci_x = bridge.config.pci_x_mode_2;
    let by_kind = match bridge.port_type() {
        Fact::Known(Some(PortType::ROOT_PORT | PortType::UPSTREAM | PortType::DOWNSTREAM)) => {
            Fact::Known(true)
        }
        Fact::Known(_) => by_pci_x,
        Fact::Unknown(_) if by_pci_x == Fact::Known(true) => by_pci_x,
        Fact::Unknown(why) => Fact::Unknown(why),
    };
    match topology.has_gap_above(node) {
        true => both(by_kind, Fact::NOT_IN_SOURCE),
        false => by_kind,
    }
}

fn is_virtual(function: &Function) -> bool {
    matches!(function.os.physical_function, Fact::Known(Some(_)))
}

fn both(one: Fact<bool>, other: Fact<bool>) -> Fact<bool> {
    match (one, other) {
        (Fact::Known(false), _) | (_, Fact::Known(false)) => Fact::Known(false),
        (Fact::Known(true), other) => other,
        (unknown, _) => unknown,
    }
}
