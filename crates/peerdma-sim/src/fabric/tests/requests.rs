//! Requests: switches, ports, ACS, payload sizes, conventional buses, devices of several functions.

use super::machine::{Machine, bdf, read, translated, write};
use crate::blueprint::Siblings;
use crate::fabric::{Fabric, Route};
use crate::tlp::Request;
use peerdma::pci::AcsFlags;
use peerdma::snapshot::{Forwarding, IommuMode};

const PEER: u64 = 0x9100_0000;

#[test]
fn a_switch_turns_requests_around() {
    let fabric = Machine::new().build();
    let route = fabric.routed(&read("03:00.0", PEER + 0x10));
    assert_eq!(fabric.end_text(&route.end), "04:00.0+0x10");
    assert_eq!(fabric.way(&route), "^sv");
    assert_eq!(route.holds_bytes, 0xf_fff0);
    let told: Vec<String> = route.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "0000:02:00.0: turns around to 0000:02:01.0",
            "0000:02:01.0: its window holds the address: down",
            "0000:04:00.0: BAR 0 takes it at 0x10",
        ]
    );
}

#[test]
fn through_the_root_complex_and_two_switches() {
    let fabric = Machine::new().build();
    let route = fabric.routed(&write("03:00.0", 0xa000_0000));
    assert_eq!(fabric.end_text(&route.end), "07:00.0+0x0");
    assert_eq!(fabric.way(&route), "^s^Rvsv");
}

#[test]
fn bits_at_the_port_where_a_request_would_turn_around() {
    // Control bits, vector bits, untranslated, translated.
    let violation = "AcsViolation at 02:00.0";
    let up = "UnsupportedRequest at 00:01.0";
    let direct = "04:00.0+0x0";
    for (letters, vector, untranslated, with_translation) in [
        ("", &[][..], direct, direct),
        ("R", &[], up, up),
        ("RT", &[], up, direct),
        ("E", &[2], violation, violation),
        ("E", &[1], direct, direct),
        ("RE", &[1], direct, direct),
        ("RE", &[2], up, up),
        ("RET", &[2], up, direct),
        ("ET", &[2], violation, direct),
        ("B", &[], direct, violation),
        ("BT", &[], direct, violation),
        ("CU", &[], direct, direct),
    ] {
        let fabric = Machine::new().acs("02:00.0", letters, vector).build();
        assert_eq!(
            fabric.fate(&read("03:00.0", PEER)),
            untranslated,
            "{letters} {vector:?}"
        );
        assert_eq!(
            fabric.fate(&translated(read("03:00.0", PEER))),
            with_translation,
            "{letters} {vector:?}"
        );
    }
}

#[test]
fn a_redirected_request_needs_upstream_forwarding_above() {
    let machine = Machine::new().acs("02:00.0", "R", &[]).acs("00:01.0", "U", &[]);
    let fabric = machine.build();
    let route = fabric.routed(&read("03:00.0", PEER));
    assert_eq!(fabric.end_text(&route.end), "04:00.0+0x0");
    assert_eq!(fabric.way(&route), "^s^Rvsv");
    assert_eq!(fabric.fate(&read("03:00.0", 0x1000)), "ram 0x1000");
}

#[test]
fn below_its_own_port_nothing_is_found_without_upstream_forwarding() {
    let own = 0x9000_0000;
    assert_eq!(
        Machine::new().build().fate(&read("03:00.0", own)),
        "UnsupportedRequest at 02:00.0"
    );
    let machine = Machine::new().acs("02:00.0", "U", &[]);
    assert_eq!(
        machine.build().fate(&read("03:00.0", own)),
        "UnsupportedRequest at 00:01.0"
    );
}

#[test]
fn a_forged_requester_is_stopped_by_source_validation() {
    let forged = Request {
        requester: bdf("04:00.0"),
        ..read("03:00.0", 0x1000)
    };
    let fate = |fabric: &Fabric| {
        let mut route = Route::default();
        fabric.route_request_from(fabric.at("03:00.0"), &forged, &mut route);
        fabric.end_text(&route.end)
    };
    assert_eq!(fate(&Machine::new().build()), "ram 0x1000");
    let fabric = Machine::new().acs("02:00.0", "V", &[]).build();
    assert_eq!(fate(&fabric), "AcsViolation at 02:00.0");
    // Source validation comes before translation blocking and bus-master enable.
    let fabric = Machine::new()
        .acs("02:00.0", "V", &[])
        .command("02:00.0", 2)
        .build();
    assert_eq!(fate(&fabric), "AcsViolation at 02:00.0");
}

#[test]
fn enables_gate_requests_where_they_are() {
    let fate = |at, command, request| Machine::new().command(at, command).build().fate(&request);
    assert_eq!(
        fate("03:00.0", 2, read("03:00.0", PEER)),
        "MasterDisabled at 03:00.0"
    );
    assert_eq!(
        fate("02:00.0", 2, read("03:00.0", PEER)),
        "UnsupportedRequest at 02:00.0"
    );
    assert_eq!(fate("01:00.0", 2, read("03:00.0", PEER)), "04:00.0+0x0");
    assert_eq!(
        fate("01:00.0", 2, read("03:00.0", 0x1000)),
        "UnsupportedRequest at 01:00.0"
    );
    assert_eq!(
        fate("02:01.0", 4, read("03:00.0", PEER)),
        "UnsupportedRequest at 01:00.0"
    );
    assert_eq!(
        fate("04:00.0", 4, read("03:00.0", PEER)),
        "UnsupportedRequest at 04:00.0"
    );
    assert_eq!(
        fate("01:00.0", 4, read("03:00.0", 0x9300_0000)),
        "UnsupportedRequest at 01:00.0"
    );
}

#[test]
fn payloads_are_checked_by_receivers_on_links_only() {
    let fate = |at, bytes, request| Machine::new().payload(at, bytes).build().fate(&request);
    let peer = write("03:00.0", PEER);
    assert_eq!(fate("02:00.0", 128, peer), "MalformedTlp at 02:00.0");
    assert_eq!(fate("02:01.0", 128, peer), "04:00.0+0x0");
    assert_eq!(fate("04:00.0", 128, peer), "MalformedTlp at 04:00.0");
    assert_eq!(fate("04:00.0", 128, read("03:00.0", PEER)), "04:00.0+0x0");
    assert_eq!(fate("03:00.0", 128, peer), "04:00.0+0x0");
    assert_eq!(
        fate("05:00.0", 128, write("03:00.0", 0xa000_0000)),
        "MalformedTlp at 05:00.0"
    );
    // A bridge from a conventional bus packs anew.
    assert_eq!(
        fate("00:03.0", 128, write("0a:01.0", 0x1000)),
        "MalformedTlp at 00:03.0"
    );
    assert_eq!(fate("09:00.0", 128, write("0a:01.0", 0x1000)), "ram 0x1000");
    assert_eq!(
        fate("09:00.0", 128, write("03:00.0", 0xb000_0000)),
        "MalformedTlp at 09:00.0"
    );
}

#[test]
fn conventional_functions_reach_each_other_directly_and_go_up_under_an_alias() {
    let fabric = Machine::new().acs("00:03.0", "VRU", &[]).build();
    let route = fabric.routed(&read("0a:01.0", 0xb010_0004));
    assert_eq!(fabric.end_text(&route.end), "0a:02.0+0x4");
    assert_eq!(
        (fabric.way(&route).as_str(), route.requester),
        ("c", bdf("0a:01.0"))
    );
    let route = fabric.routed(&read("0a:01.0", 0x9000_0000));
    assert_eq!(fabric.end_text(&route.end), "03:00.0+0x0");
    assert_eq!(
        (fabric.way(&route).as_str(), route.requester),
        ("c^Rvsv", bdf("0a:00.0"))
    );
    assert_eq!(
        fabric.fate(&read("0a:01.0", 0xb080_0000)),
        "UnsupportedRequest at 09:00.0"
    );
    let route = fabric.routed(&write("03:00.0", 0xb010_0000));
    assert_eq!(
        (fabric.end_text(&route.end).as_str(), fabric.way(&route).as_str()),
        ("0a:02.0+0x0", "^s^Rvc")
    );
}

#[test]
fn functions_of_one_device_ask_their_own_acs() {
    let sibling = read("0b:00.0", 0xc010_0000);
    let fabric = Machine::new().build();
    assert_eq!(fabric.fate(&sibling), "0b:00.1+0x0");
    assert!(fabric.routed(&sibling).legs.is_empty());
    let up = "UnsupportedRequest at 00:04.0";
    for (letters, vector, expected) in [
        ("", &[][..], "0b:00.1+0x0"),
        ("R", &[], up),
        ("E", &[1], "AcsViolation at 0b:00.0"),
        ("RE", &[1], up),
        ("RE", &[0], "0b:00.1+0x0"),
    ] {
        let fabric = Machine::new().acs("0b:00.0", letters, vector).build();
        assert_eq!(fabric.fate(&sibling), expected, "{letters} {vector:?}");
    }
    // One that cannot redirect is wired not to talk to its siblings.
    let wired = Machine::new().acs("0b:00.0", "", &[]).with("0b:00.0", |config| {
        if let peerdma::fact::Fact::Known(Some(acs)) = &mut config.acs {
            acs.capable = AcsFlags::COMPLETION_REDIRECT;
            acs.egress = peerdma::fact::Fact::Known(None);
        }
    });
    assert_eq!(wired.build().fate(&sibling), up);
    let mut blueprint = Machine::new().blueprint();
    blueprint.nature.siblings = Siblings::Upstream;
    assert_eq!(Fabric::new(&blueprint).unwrap().fate(&sibling), up);
}

#[test]
fn egress_control_of_a_root_port_acts_in_the_root_complex() {
    let fate = |letters, vector: &[u8]| {
        let machine = Machine::new().with_host(Forwarding::Everything, IommuMode::Off);
        machine
            .acs("00:01.0", letters, vector)
            .build()
            .fate(&read("03:00.0", 0xa000_0000))
    };
    assert_eq!(fate("E", &[2]), "AcsViolation at 00:01.0");
    assert_eq!(fate("E", &[1]), "07:00.0+0x0");
    assert_eq!(fate("RE", &[2]), "07:00.0+0x0");
    assert_eq!(fate("R", &[]), "07:00.0+0x0");
}
