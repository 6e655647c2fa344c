//! Sources that contradict themselves, or were cut: nothing is guessed, everything is said.

use super::{NodeId, Place, Topology};
use crate::addr::Bdf;
use crate::fact::Fact;
use crate::pci::{Bridge, BridgeKind, ClassCode, Express, PortType, Sriov};
use crate::snapshot::{Function, Host, Snapshot, Warnings};
use alloc::string::ToString;
use alloc::vec::Vec;

fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

fn endpoint(at: &str) -> Function {
    let mut function = Function::new(bdf(at));
    function.config.bridge = Fact::Known(None);
    function
}

fn bridge(at: &str, secondary: u8, subordinate: u8) -> Function {
    let mut function = Function::new(bdf(at));
    function.config.bridge = Fact::Known(Some(Bridge {
        kind: BridgeKind::Pci,
        primary: function.bdf.bus(),
        secondary,
        subordinate,
        windows: Fact::NOT_IN_SOURCE,
    }));
    function
}

fn told(at: &str, above: Option<&str>) -> Function {
    let mut function = Function::new(bdf(at));
    function.upstream = Fact::Known(above.map(bdf));
    function
}

fn build(functions: impl Into<Vec<Function>>) -> (Topology, Warnings) {
    let mut warnings = Warnings::default();
    let snapshot = Snapshot::new(Host::default(), functions.into(), &mut warnings);
    (Topology::new(snapshot, &mut warnings), warnings)
}

impl Topology {
    fn at(&self, text: &str) -> NodeId {
        self.find(bdf(text)).unwrap()
    }

    fn above(&self, text: &str) -> Option<Bdf> {
        self.upstream(self.at(text)).map(|node| self.function(node).bdf)
    }
}

fn says(warnings: &Warnings, at: &str, what: &str) -> bool {
    let mut list = warnings.list().iter();
    list.any(|warning| warning.at == bdf(at).to_string() && warning.what.contains(what))
}

#[test]
fn nested_bridges_and_virtual_functions_on_extra_buses_find_their_bridge() {
    let mut physical = endpoint("03:00.0");
    physical.config.sriov = Fact::Known(Some(Sriov {
        enabled: true,
        total: 4,
        count: 4,
        first_offset: 0xff,
        stride: 1,
        device: 0x1018,
    }));
    let (topology, warnings) = build([
        bridge("00:01.0", 1, 5),
        bridge("01:00.0", 2, 5),
        bridge("02:00.0", 3, 4),
        physical,
        endpoint("03:1f.7"),
        endpoint("04:00.2"),
    ]);
    assert_eq!(warnings, Warnings::default());
    assert_eq!(topology.above("03:00.0"), Some(bdf("02:00.0")));
    assert_eq!(topology.above("04:00.2"), Some(bdf("02:00.0")));
    assert_eq!(topology.depth(topology.at("04:00.2")), 4);
    assert!(topology.root(topology.at("04:00.2")).is_some());
    assert_eq!(topology.roots().len(), 1);
}

#[test]
fn a_bus_inside_a_bridges_range_to_which_no_bridge_leads_shows_a_missing_bridge() {
    let (topology, warnings) = build([
        bridge("00:01.0", 1, 5),
        bridge("02:00.0", 3, 3),
        endpoint("03:00.0"),
    ]);
    assert!(says(&warnings, "02:00.0", "leads to bus 02"));
    assert_eq!(topology.above("02:00.0"), Some(bdf("00:01.0")));
    assert_eq!(topology.root(topology.at("03:00.0")), None);
}

#[test]
fn a_bridge_below_itself_claims_nothing_and_what_it_names_has_no_place() {
    let (topology, warnings) = build([bridge("00:01.0", 0, 3), endpoint("02:00.0"), endpoint("00:02.0")]);
    assert!(says(&warnings, "00:01.0", "cannot be"));
    assert_eq!(topology.place(topology.at("02:00.0")), Place::Unknown);
    assert!(matches!(topology.place(topology.at("00:02.0")), Place::OnRoot(_)));
}

#[test]
fn an_unconfigured_bridge_is_sound_and_claims_nothing() {
    let (topology, warnings) = build([bridge("00:01.0", 0, 0), endpoint("00:02.0")]);
    assert_eq!(warnings, Warnings::default());
    assert!(topology.children(topology.at("00:01.0")).is_empty());
}

#[test]
fn buses_that_two_bridges_claim_have_no_known_bridge() {
    let (topology, warnings) = build([
        bridge("00:01.0", 1, 4),
        bridge("00:02.0", 3, 6),
        endpoint("01:00.0"),
        endpoint("03:00.0"),
        endpoint("05:00.0"),
    ]);
    assert!(says(&warnings, "00:02.0", "both claim the buses 03 to 04"));
    assert_eq!(topology.above("01:00.0"), Some(bdf("00:01.0")));
    assert_eq!(topology.place(topology.at("03:00.0")), Place::Unknown);
    assert_eq!(topology.above("05:00.0"), Some(bdf("00:02.0")));
}

#[test]
fn two_bridges_with_one_secondary_bus_are_in_doubt() {
    let (topology, warnings) = build([
        bridge("00:01.0", 1, 1),
        bridge("00:02.0", 1, 1),
        endpoint("01:00.0"),
    ]);
    assert!(says(&warnings, "00:02.0", "both claim"));
    assert_eq!(topology.place(topology.at("01:00.0")), Place::Unknown);
}

#[test]
fn a_loop_of_told_bridges_has_no_place_and_does_not_hang() {
    let (topology, warnings) = build([
        told("01:00.0", Some("02:00.0")),
        told("02:00.0", Some("01:00.0")),
        told("03:00.0", Some("02:00.0")),
        told("04:00.0", Some("04:00.0")),
        told("00:00.0", None),
    ]);
    assert_eq!(warnings.list().len(), 4);
    assert_eq!(topology.place(topology.at("03:00.0")), Place::Unknown);
    assert_eq!(topology.top_down().len(), 1);
}

#[test]
fn a_told_bridge_that_is_missing_leaves_the_place_unknown() {
    let (topology, warnings) = build([told("01:00.0", Some("00:1c.0"))]);
    assert!(says(&warnings, "01:00.0", "missing from the source"));
    assert_eq!(topology.place(topology.at("01:00.0")), Place::Unknown);
}

#[test]
fn a_function_told_to_be_below_what_does_not_lead_there_has_no_place() {
    let mut port = bridge("00:01.0", 1, 3);
    port.upstream = Fact::Known(None);
    let mut disk = endpoint("00:02.0");
    disk.upstream = Fact::Known(None);
    let (topology, warnings) = build([
        port,
        disk,
        told("02:00.0", Some("00:01.0")),
        told("04:00.0", Some("00:01.0")),
        told("05:00.0", Some("00:02.0")),
        told("0001:02:00.0", Some("00:01.0")),
    ]);
    assert!(topology.root(topology.at("02:00.0")).is_some());
    for elsewhere in ["04:00.0", "05:00.0", "0001:02:00.0"] {
        assert!(says(&warnings, elsewhere, "leads to no such bus"), "{elsewhere}");
        assert_eq!(topology.place(topology.at(elsewhere)), Place::Unknown);
    }
}

#[test]
fn an_endless_chain_of_bridges_is_cut_off() {
    let mut chain = Vec::from([told("00:00.0", None)]);
    let mut above = chain[0].bdf;
    for number in 1..=2000u32 {
        let bdf = Bdf::from_devfn(0, (number >> 8) as u8, number as u8);
        let mut function = Function::new(bdf);
        function.upstream = Fact::Known(Some(above));
        chain.push(function);
        above = bdf;
    }
    let (topology, warnings) = build(chain);
    assert!(
        topology
            .nodes()
            .all(|node| topology.depth(node) <= Topology::MOST_DEPTH + 1)
    );
    assert_eq!(topology.place(topology.find(above).unwrap()), Place::Unknown);
    assert!(!warnings.list().is_empty());
}

#[test]
fn below_a_missing_bridge_the_next_one_up_is_shown_and_no_verdict_given() {
    let mut port = bridge("00:01.0", 1, 3);
    port.upstream = Fact::Known(None);
    let (topology, warnings) = build([
        port,
        told("02:00.0", Some("01:00.0")),
        told("03:00.0", Some("02:00.0")),
    ]);
    assert!(says(&warnings, "02:00.0", "missing from the source"));
    assert_eq!(topology.above("02:00.0"), Some(bdf("00:01.0")));
    assert_eq!(topology.root(topology.at("02:00.0")), None);
    assert_eq!(topology.root(topology.at("03:00.0")), None);
    assert!(topology.root(topology.at("00:01.0")).is_some());
}

fn with_type(at: &str, port_type: PortType) -> Function {
    let mut function = endpoint(at);
    function.config.express = Fact::Known(Some(Express {
        port_type,
        link: Fact::NOT_IN_SOURCE,
        port_number: Fact::NOT_IN_SOURCE,
        payload: Fact::NOT_IN_SOURCE,
    }));
    function
}

fn with_class(at: &str, class: u16) -> Function {
    let mut function = endpoint(at);
    function.config.class = Fact::Known(ClassCode::new(u32::from(class) << 8));
    function
}

#[test]
fn an_endpoint_to_whose_bus_nothing_leads_shows_that_the_listing_was_cut() {
    let (topology, warnings) = build([
        with_type("00:04.0", PortType::ENDPOINT),
        with_class("3b:00.0", 0x0300),
        with_type("3b:00.1", PortType::ENDPOINT),
        with_type("7f:08.0", PortType::INTEGRATED_ENDPOINT),
    ]);
    assert!(says(&warnings, "3b:00.0", "the listing was cut"));
    assert_eq!(topology.place(topology.at("3b:00.0")), Place::Unknown);
    // Virtual machines put endpoints on bus 0, and root buses hold integrated ones.
    assert!(matches!(topology.place(topology.at("00:04.0")), Place::OnRoot(_)));
    assert!(matches!(topology.place(topology.at("7f:08.0")), Place::OnRoot(_)));
}

#[test]
fn a_bus_that_nothing_leads_to_has_to_show_that_it_is_a_root_bus() {
    // Two devices of a listing that was filtered, or taken without privilege: they may share a switch.
    let (topology, warnings) = build([with_class("3b:00.0", 0x0108), with_class("3c:00.0", 0x0108)]);
    assert_eq!(warnings.list().len(), 2);
    assert!(topology.roots().is_empty());
    // A whole listing of a machine whose further root buses have no host bridge function.
    let (topology, warnings) = build([
        with_class("00:00.0", ClassCode::HOST_BRIDGE),
        with_class("7f:08.0", 0x0880),
    ]);
    assert_eq!(warnings, Warnings::default());
    assert_eq!(topology.roots().len(), 2);
    // A host bridge function on the bus itself.
    let (topology, _) = build([
        with_class("40:00.0", ClassCode::HOST_BRIDGE),
        with_class("40:01.0", 0x0108),
    ]);
    assert_eq!(topology.roots().len(), 1);
}

#[test]
fn two_functions_at_one_address_are_both_distrusted() {
    let (topology, warnings) = build([
        bridge("00:01.0", 1, 1),
        bridge("00:01.0", 2, 2),
        endpoint("01:00.0"),
    ]);
    assert!(says(&warnings, "00:01.0", "two functions"));
    assert_eq!(topology.place(topology.at("00:01.0")), Place::Unknown);
    assert!(says(&warnings, "00:01.0", "bus numbers are unknown"));
    assert_eq!(topology.place(topology.at("01:00.0")), Place::Unknown);
}

#[test]
fn a_virtual_function_belongs_to_the_root_bus_of_its_physical_one() {
    let mut vf = told("01:00.0", None);
    vf.os.physical_function = Fact::Known(Some(bdf("00:02.0")));
    let (topology, warnings) = build([told("00:02.0", None), vf.clone()]);
    assert_eq!(warnings, Warnings::default());
    assert_eq!(topology.roots().len(), 1);
    // Without the physical function nobody can tell.
    let (topology, warnings) = build([told("03:00.0", None), vf]);
    assert!(says(&warnings, "01:00.0", "physical function"));
    assert_eq!(topology.place(topology.at("01:00.0")), Place::Unknown);
    let root = topology.root(topology.at("03:00.0")).unwrap();
    assert_eq!(topology.roots()[root.index()].bus, 3);
}
