//! The state of a link comes from its upper end, and its health from both.

use super::*;
use crate::fact::Unread;
use crate::pci::{Bridge, BridgeKind, Express, LinkRate};
use crate::snapshot::{Host, Snapshot, Warnings};

const fn state(rate: u8, width: u8) -> LinkState {
    LinkState {
        rate: LinkRate(rate),
        width,
    }
}

fn port(at: &str, port_type: PortType, max: LinkState, now: LinkState) -> Function {
    let mut function = Function::new(at.parse().unwrap());
    function.config.bridge = Fact::Known(None);
    function.config.express = Fact::Known(Some(Express {
        port_type,
        link: Fact::Known(Some(Link { max, now })),
        port_number: Fact::NOT_IN_SOURCE,
        payload: Fact::NOT_IN_SOURCE,
    }));
    function
}

/// A root port to buses 1 to 4, and the device at `at` below.
fn pair(upper: [LinkState; 2], at: &str, lower: [LinkState; 2]) -> [Function; 2] {
    let mut root_port = port("00:01.0", PortType::ROOT_PORT, upper[0], upper[1]);
    root_port.config.bridge = Fact::Known(Some(Bridge {
        kind: BridgeKind::Pci,
        primary: 0,
        secondary: 1,
        subordinate: 4,
        windows: Fact::NOT_IN_SOURCE,
    }));
    [root_port, port(at, PortType::ENDPOINT, lower[0], lower[1])]
}

/// The link above the second function.
fn link(functions: [Function; 2]) -> Option<Fact<LinkEnds>> {
    let lower = functions[1].bdf;
    let mut warnings = Warnings::default();
    let snapshot = Snapshot::new(Host::default(), functions.into(), &mut warnings);
    let topology = Topology::new(snapshot, &mut warnings);
    above(&topology, topology.find(lower).unwrap())
}

fn known(functions: [Function; 2]) -> LinkEnds {
    match link(functions) {
        Some(Fact::Known(link)) => link,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_links_health_follows_from_what_both_ends_can_do() {
    let (full, slow, half, wide) = (state(4, 8), state(1, 8), state(4, 4), state(4, 16));
    for (upper_max, lower_max, now, best, health) in [
        (full, full, full, full, LinkHealth::Full),
        (wide, full, full, full, LinkHealth::LimitedByOneEnd),
        (full, wide, full, full, LinkHealth::LimitedByOneEnd),
        (full, state(5, 8), full, full, LinkHealth::LimitedByOneEnd),
        (full, full, slow, full, LinkHealth::Downtrained),
        (wide, full, slow, full, LinkHealth::Downtrained),
        (full, full, half, full, LinkHealth::Narrowed),
        // A contact that is bad matters more than saved power.
        (full, full, state(1, 4), full, LinkHealth::Narrowed),
        (full, full, state(1, 0), full, LinkHealth::Down),
        (full, full, wide, full, LinkHealth::Unknown),
        (full, full, state(5, 8), full, LinkHealth::Unknown),
    ] {
        let link = known(pair([upper_max, now], "01:00.0", [lower_max, now]));
        assert_eq!(link.best, Fact::Known(best), "{upper_max} {lower_max}");
        assert_eq!(link.health, health, "{upper_max} {lower_max} {now}");
        assert_eq!(link.now, now);
        assert_eq!(link.below, "01:00.0".parse().unwrap());
        assert_eq!(link.above, Some("00:01.0".parse().unwrap()));
    }
}

#[test]
fn the_upper_end_tells_what_the_link_does_now() {
    let full = state(4, 8);
    for lower_now in [state(3, 4), state(1, 1), state(0, 0)] {
        let link = known(pair([full, full], "01:00.0", [full, lower_now]));
        assert_eq!((link.now, link.health), (full, LinkHealth::Full), "{lower_now}");
    }
    // Of an end that reports nonsense nothing is believed, what it can do included.
    let nonsense = known(pair([full, full], "01:00.0", [full, state(15, 63)]));
    assert_eq!((nonsense.now, nonsense.health), (full, LinkHealth::Unknown));
    let down = known(pair([full, state(1, 0)], "01:00.0", [full, full]));
    assert_eq!(down.health, LinkHealth::Down);
}

#[test]
fn where_the_upper_end_is_silent_the_lower_one_tells_and_health_is_unknown() {
    let full = state(4, 8);
    let mut functions = pair([full, full], "01:00.0", [full, state(3, 8)]);
    functions[0].config.express = Fact::Unknown(Unread::AccessDenied);
    let link = known(functions.clone());
    assert_eq!(link.now, state(3, 8));
    assert_eq!(
        (link.best, link.health),
        (Fact::Unknown(Unread::NotInSource), LinkHealth::Unknown)
    );
    // A function that shows no lane need not mean the link.
    functions[1] = port("01:00.0", PortType::ENDPOINT, full, state(1, 0));
    assert!(matches!(self::link(functions), Some(Fact::Unknown(_))));
}

#[test]
fn above_a_gap_the_port_that_is_named_is_not_the_other_end() {
    let full = state(4, 8);
    let link = known(pair([state(5, 16), full], "03:00.0", [full, state(3, 4)]));
    assert_eq!(link.now, state(3, 4));
    assert_eq!((link.above, link.health), (None, LinkHealth::Unknown));
}

#[test]
fn a_virtual_function_shows_the_link_of_the_port_above() {
    let full = state(4, 8);
    let zero = state(0, 0);
    let mut functions = pair([full, full], "01:00.1", [zero, zero]);
    functions[1].os.physical_function = Fact::Known(Some("01:00.0".parse().unwrap()));
    let link = known(functions);
    assert_eq!(link.now, full);
    assert_eq!((link.best.is_known(), link.health), (false, LinkHealth::Unknown));
}

#[test]
fn inside_a_switch_and_on_a_root_bus_there_is_no_link() {
    let full = state(4, 8);
    for (upper, lower) in [
        (PortType::UPSTREAM, PortType::DOWNSTREAM),
        (PortType::TO_CONVENTIONAL, PortType::ENDPOINT),
    ] {
        let mut functions = pair([full, full], "01:00.0", [full, full]);
        functions[0] = Function {
            config: crate::pci::Config {
                bridge: functions[0].config.bridge,
                ..port("00:01.0", upper, full, full).config
            },
            ..functions[0].clone()
        };
        functions[1] = port("01:00.0", lower, full, full);
        assert_eq!(link(functions), None, "{upper} {lower}");
    }
    assert_eq!(link(pair([full, full], "00:02.0", [full, full])), None);
}

#[test]
fn the_slowest_link_on_the_way_is_named_and_silent_ones_are_counted() {
    let full = state(4, 8);
    let mut other = pair([full, full], "05:00.0", [full, full]);
    other[0] = port("00:02.0", PortType::ROOT_PORT, full, state(1, 4));
    other[0].config.bridge = Fact::Known(Some(Bridge {
        kind: BridgeKind::Pci,
        primary: 0,
        secondary: 5,
        subordinate: 5,
        windows: Fact::NOT_IN_SOURCE,
    }));
    let mut functions: Vec<Function> = pair([full, full], "01:00.0", [full, full]).into();
    functions.extend(other);
    let bottleneck = |functions: &[Function]| {
        let mut warnings = Warnings::default();
        let snapshot = Snapshot::new(Host::default(), functions.into(), &mut warnings);
        let topology = Topology::new(snapshot, &mut warnings);
        let node = |at: &str| topology.find(at.parse().unwrap()).unwrap();
        Bottleneck::new(&topology, &Path::new(&topology, node("01:00.0"), node("05:00.0")))
    };
    let found = bottleneck(&functions);
    assert_eq!((found.links.len(), found.unknown, found.slowest), (2, 0, Some(1)));
    for index in [2, 3] {
        functions[index].config.express = Fact::Unknown(Unread::AccessDenied);
    }
    let found = bottleneck(&functions);
    assert_eq!((found.links.len(), found.unknown, found.slowest), (1, 1, Some(0)));
}
