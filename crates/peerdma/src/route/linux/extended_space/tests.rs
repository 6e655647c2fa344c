//! Behind which bridges Linux finds ACS, from what drivers/pci/probe.c does there.

use crate::fact::{Fact, Unread};
use crate::pci::PortType;
use crate::route::linux::fabric::{bdf, express, function, node, topology};
use crate::route::linux::{Judge, Kernel};
use crate::route::{Access, Answer, MapType, TlpClass};
use crate::snapshot::Function;
use alloc::vec::Vec;

const RR: u16 = 0x04;
const DIRECT: Answer = Answer::known(MapType::BusAddr);
/// The root complex is trusted by nobody here.
const REDIRECTED: Answer = Answer::known(MapType::NotSupported);
const KIND: &str = "01:00.0";

/// A root port, a bridge of a kind below it, a switch below that, with a redirecting port.
fn machine(port_type: Fact<Option<PortType>>, pci_x_mode_2: Fact<bool>) -> Vec<Function> {
    let mut functions: Vec<Function> = [
        function("00:01.0", None, 0),
        function(KIND, Some("00:01.0"), 0),
        function("02:00.0", Some(KIND), 0),
        function("03:00.0", Some("02:00.0"), RR),
        function("03:01.0", Some("02:00.0"), 0),
        function("04:00.0", Some("03:00.0"), 0),
        function("05:00.0", Some("03:01.0"), 0),
    ]
    .into();
    functions[1].config.express = port_type.map(|port_type| port_type.map(express));
    functions[1].config.pci_x_mode_2 = pci_x_mode_2;
    functions
}

fn answer(functions: Vec<Function>, kernel: Kernel) -> Answer {
    let topology = topology(functions);
    let judge = Judge::new(&topology, kernel);
    judge
        .verdict(node(&topology, "05:00.0"), node(&topology, "04:00.0"))
        .answer(Access::Read, TlpClass::Strict)
}

fn kernels() -> [Kernel; 2] {
    [Kernel::Release(Kernel::OLDEST), Kernel::Next]
}

#[test]
fn ports_lead_to_acs_and_other_bridges_only_with_pci_x_of_the_second_generation() {
    let known = |port_type| Fact::Known(Some(port_type));
    let unknown = Fact::Unknown(Unread::AccessDenied);
    for (port_type, pci_x_mode_2, expected) in [
        (known(PortType::ROOT_PORT), Fact::Known(false), REDIRECTED),
        (known(PortType::UPSTREAM), Fact::Known(false), REDIRECTED),
        (known(PortType::DOWNSTREAM), Fact::NOT_IN_SOURCE, REDIRECTED),
        (known(PortType::TO_CONVENTIONAL), Fact::Known(false), DIRECT),
        (known(PortType::TO_CONVENTIONAL), Fact::Known(true), REDIRECTED),
        (known(PortType::FROM_CONVENTIONAL), Fact::Known(false), DIRECT),
        (known(PortType::FROM_CONVENTIONAL), Fact::Known(true), REDIRECTED),
        (known(PortType::ENDPOINT), Fact::Known(false), DIRECT),
        (Fact::Known(None), Fact::Known(false), DIRECT),
        (Fact::Known(None), Fact::Known(true), REDIRECTED),
        (unknown, Fact::Known(true), REDIRECTED),
        (unknown, Fact::Known(false), DIRECT.or(REDIRECTED)),
        (Fact::Known(None), Fact::NOT_IN_SOURCE, DIRECT.or(REDIRECTED)),
    ] {
        for kernel in kernels() {
            let answer = answer(machine(port_type, pci_x_mode_2), kernel);
            assert_eq!(answer, expected, "{port_type:?} {pci_x_mode_2:?} {kernel}");
        }
    }
}

#[test]
fn nothing_leads_to_acs_below_a_bus_that_is_out_of_reach() {
    let mut functions = machine(Fact::Known(None), Fact::Known(false));
    // All below are ports, and of PCI-X of the second generation at that.
    for function in &mut functions[2..] {
        function.config.pci_x_mode_2 = Fact::Known(true);
    }
    for kernel in kernels() {
        assert_eq!(answer(functions.clone(), kernel), DIRECT, "{kernel}");
    }
}

#[test]
fn a_bridge_is_in_reach_itself() {
    let mut functions = machine(Fact::Known(None), Fact::Known(false));
    functions[1].config.acs = function(KIND, None, RR).config.acs;
    let mainline = Kernel::Release(Kernel::OLDEST);
    assert_eq!(answer(functions.clone(), mainline), DIRECT);
    let topology = topology(functions);
    let judge = Judge::new(&topology, mainline);
    let (bridge, below) = (node(&topology, KIND), node(&topology, "04:00.0"));
    let answer = judge
        .verdict(bridge, below)
        .answer(Access::Read, TlpClass::Strict);
    assert_eq!(answer, REDIRECTED);
}

#[test]
fn what_linux_does_not_look_for_is_not_unknown_where_a_source_lacks_it() {
    for (mode_2, expected) in [(false, DIRECT), (true, DIRECT.or(REDIRECTED))] {
        let mut functions = machine(Fact::Known(None), Fact::Known(mode_2));
        for function in &mut functions[3..5] {
            function.config.acs = Fact::Unknown(Unread::ConfigCut { bytes: 256 });
        }
        for kernel in kernels() {
            assert_eq!(answer(functions.clone(), kernel), expected, "{mode_2} {kernel}");
        }
    }
}

#[test]
fn acs_that_linux_could_not_get_at_is_absent_to_it() {
    let mut functions = machine(Fact::Known(Some(PortType::UPSTREAM)), Fact::Known(false));
    functions[3].config.acs = Fact::Unknown(Unread::OutOfReach);
    for kernel in kernels() {
        assert_eq!(answer(functions.clone(), kernel), DIRECT, "{kernel}");
    }
}

#[test]
fn a_virtual_function_is_read_as_linux_made_it() {
    let mut functions = machine(Fact::Known(None), Fact::Known(false));
    let mut virtual_function = function("06:00.1", Some("03:00.0"), RR);
    virtual_function.os.physical_function = Fact::Known(Some(bdf("04:00.0")));
    functions.push(virtual_function);
    let topology = topology(functions);
    let judge = Judge::new(&topology, Kernel::Release(Kernel::OLDEST));
    let answer = judge
        .verdict(node(&topology, "06:00.1"), node(&topology, "05:00.0"))
        .answer(Access::Read, TlpClass::Strict);
    assert_eq!(answer, REDIRECTED);
}
