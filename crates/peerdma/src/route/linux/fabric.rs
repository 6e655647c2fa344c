//! Small machines for tests of the judge: functions that are told their bridge and their ACS.

use crate::addr::Bdf;
use crate::fact::Fact;
use crate::pci::{Acs, AcsFlags, Express, Id, PortType};
use crate::snapshot::{Function, Host, Snapshot, Warnings};
use crate::topology::{NodeId, Topology};
use alloc::vec::Vec;

pub(super) fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

/// What makes a function one of this type, the rest unknown.
pub(super) fn express(port_type: PortType) -> Express {
    Express {
        port_type,
        link: Fact::NOT_IN_SOURCE,
        port_number: Fact::NOT_IN_SOURCE,
        payload: Fact::NOT_IN_SOURCE,
    }
}

/// A port of a switch below `above`, or on a root bus, with an ACS control register of these bits.
pub(super) fn function(at: &str, above: Option<&str>, acs: u16) -> Function {
    let mut function = Function::new(bdf(at));
    function.upstream = Fact::Known(above.map(bdf));
    function.config.id = Fact::Known(Id {
        vendor: 0x8086,
        device: 0x1234,
    });
    function.config.express = Fact::Known(Some(express(PortType::DOWNSTREAM)));
    function.config.acs = Fact::Known(Some(Acs::without_vector(
        AcsFlags::from_register(0x7f),
        AcsFlags::from_register(acs),
    )));
    function
}

/// A root port, a switch, and a device below each of its downstream ports 02:00.0 and 02:01.0, whose
/// control registers are given.
pub(super) fn switch(first_port: u16, second_port: u16) -> Vec<Function> {
    [
        function("00:01.0", None, 0),
        function("01:00.0", Some("00:01.0"), 0),
        function("02:00.0", Some("01:00.0"), first_port),
        function("02:01.0", Some("01:00.0"), second_port),
        function("03:00.0", Some("02:00.0"), 0),
        function("04:00.0", Some("02:01.0"), 0),
    ]
    .into()
}

/// The functions on a machine whose processor does not open the root complex.
pub(super) fn topology(functions: Vec<Function>) -> Topology {
    let mut warnings = Warnings::default();
    let host = Host {
        cpu: Fact::Known("GenuineIntel:6".parse().unwrap()),
        ..Host::default()
    };
    let snapshot = Snapshot::new(host, functions, &mut warnings);
    let topology = Topology::new(snapshot, &mut warnings);
    assert_eq!(warnings, Warnings::default());
    topology
}

pub(super) fn node(topology: &Topology, at: &str) -> NodeId {
    topology.find(bdf(at)).unwrap()
}
