//! The machines that checks run on, as data.
//!
//! Called by [`super::checks`]. What QEMU can emulate of the shapes in which the kernel's rule has its corners.

use super::machine::Topology;

/// All of them.
pub(crate) fn all() -> Vec<Topology> {
    vec![
        switch(),
        nested_switches(),
        host_bridges(),
        functions(),
        conventional(),
        without_iommu(),
        wide(),
    ]
}

/// Two controllers below one switch, one below another root port, one below another host bridge, and plain memory.
pub(crate) fn switch() -> Topology {
    switch_with("switch", "")
}

/// The same; the first controller takes the longest transfers that QEMU's can: 2 MiB.
pub(crate) fn long_transfers() -> Topology {
    switch_with("long-transfers", ",mdts=9")
}

fn switch_with(name: &'static str, first_controller: &str) -> Topology {
    let mut machine = Topology::new(name);
    let first = machine.root_port(&Topology::root());
    let switch = machine.switch(&first);
    for options in [first_controller, ""] {
        let port = machine.downstream(&switch);
        machine.nvme_with(&port, 16, options);
    }
    let second = machine.root_port(&Topology::root());
    machine.nvme(&second, 16);
    let third = machine.root_port(&Topology::root());
    machine.memory(&third, 16, "");
    let other = machine.host_bridge(64);
    let fourth = machine.root_port(&other);
    machine.nvme(&fourth, 16);
    machine
}

/// Two controllers below one switch; others without memory, with little, and two that are functions of
/// one device: for copies that go wrong.
pub(crate) fn going_wrong() -> Topology {
    let mut machine = Topology::new("six");
    let port = machine.root_port(&Topology::root());
    let switch = machine.switch(&port);
    for _ in 0..2 {
        let port = machine.downstream(&switch);
        machine.nvme(&port, 16);
    }
    for cmb_mib in [0, 1] {
        let port = machine.root_port(&Topology::root());
        machine.nvme(&port, cmb_mib);
    }
    let port = machine.root_port(&Topology::root());
    machine.nvme_functions(&port, 2, 0);
    machine
}

/// A switch below a switch below a switch, with devices at every level.
fn nested_switches() -> Topology {
    let mut machine = Topology::new("nested-switches");
    let mut above = machine.root_port(&Topology::root());
    for _ in 0..3 {
        let switch = machine.switch(&above);
        let port = machine.downstream(&switch);
        machine.nvme(&port, 2);
        above = machine.downstream(&switch);
    }
    machine.nvme(&above, 2);
    let other = machine.root_port(&Topology::root());
    let switch = machine.switch(&other);
    for _ in 0..2 {
        let port = machine.downstream(&switch);
        machine.nvme(&port, 2);
    }
    machine
}

/// Three host bridges, each with a root port; one has a switch.
pub(crate) fn host_bridges() -> Topology {
    let mut machine = Topology::new("host-bridges");
    let near = machine.root_port(&Topology::root());
    machine.nvme(&near, 2);
    for number in [64, 128] {
        let bridge = machine.host_bridge(number);
        let port = machine.root_port(&bridge);
        let switch = machine.switch(&port);
        for _ in 0..2 {
            let port = machine.downstream(&switch);
            machine.nvme(&port, 2);
        }
        let port = machine.root_port(&bridge);
        machine.nvme(&port, 2);
    }
    machine
}

/// Devices with several functions, below a root port and below a switch.
fn functions() -> Topology {
    let mut machine = Topology::new("functions");
    let port = machine.root_port(&Topology::root());
    machine.nvme_functions(&port, 4, 2);
    let port = machine.root_port(&Topology::root());
    let switch = machine.switch(&port);
    for functions in [2, 3] {
        let port = machine.downstream(&switch);
        machine.nvme_functions(&port, functions, 2);
    }
    machine
}

/// Bridges to conventional PCI, and one below another, beside PCI Express; devices of the root complex itself.
fn conventional() -> Topology {
    let mut machine = Topology::new("conventional");
    let port = machine.root_port(&Topology::root());
    let bridge = machine.conventional(&port);
    machine.memory(&bridge, 1, ",addr=1.0");
    machine.edu(&bridge, ",addr=2.0");
    let below = machine.conventional_bridge(&bridge, 3);
    machine.memory(&below, 1, ",addr=1.0");
    machine.edu(&below, ",addr=2.0");
    let port = machine.root_port(&Topology::root());
    machine.nvme(&port, 2);
    machine.edu(&Topology::root(), ",addr=1d.0");
    machine
}

/// A host bridge whose devices no IOMMU stands before, beside one that has it.
fn without_iommu() -> Topology {
    let mut machine = Topology::new("bypass");
    let port = machine.root_port(&Topology::root());
    machine.nvme(&port, 2);
    let bridge = machine.host_bridge_without_iommu(64);
    for _ in 0..2 {
        let port = machine.root_port(&bridge);
        machine.nvme(&port, 2);
    }
    let bridge = machine.host_bridge(128);
    let port = machine.root_port(&bridge);
    machine.nvme(&port, 2);
    machine
}

/// Many root ports and a switch of many ports: more pairs, and more settings of ACS.
fn wide() -> Topology {
    let mut machine = Topology::new("wide");
    for _ in 0..6 {
        let port = machine.root_port(&Topology::root());
        machine.nvme(&port, 0);
    }
    let port = machine.root_port(&Topology::root());
    let switch = machine.switch(&port);
    for _ in 0..6 {
        let port = machine.downstream(&switch);
        machine.nvme(&port, 2);
    }
    machine
}
