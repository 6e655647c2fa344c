//! Random machines for the tests of the specification's judge: one fabric with nested switches, a device of two
//! functions, a conventional bus and two host bridges, whose registers vary.
#![allow(dead_code, reason = "each test uses what it needs")]

use super::table;
use peerdma::fact::Fact;
use peerdma::route::{Access, TlpClass};
use peerdma::snapshot::{Snapshot, Warnings};
use peerdma::topology::{NodeId, Topology};
use proptest::prelude::*;
use std::fmt::Write as _;

/// Ports that face down, with the numbers that vectors name them by.
pub(crate) const PORTS: [(&str, &str); 11] = [
    (
        "00:01.0",
        "is=root-port buses=1-d window=e0000000-e08fffff port=1",
    ),
    (
        "00:02.0",
        "is=root-port buses=10-10 window=e0900000-e09fffff port=2",
    ),
    (
        "40:01.0",
        "is=root-port buses=41-41 window=e8000000-e80fffff port=1",
    ),
    (
        "02:00.0",
        "is=downstream below=01:00.0 buses=3-8 window=e0000000-e03fffff port=1",
    ),
    (
        "02:01.0",
        "is=downstream below=01:00.0 buses=9-9 window=e0400000-e04fffff port=2",
    ),
    (
        "02:02.0",
        "is=downstream below=01:00.0 buses=a-c window=e0500000-e06fffff port=3",
    ),
    (
        "02:03.0",
        "is=downstream below=01:00.0 buses=d-d window=e0700000-e08fffff port=4",
    ),
    (
        "04:00.0",
        "is=downstream below=03:00.0 buses=5-5 window=e0000000-e00fffff port=1",
    ),
    (
        "04:01.0",
        "is=downstream below=03:00.0 buses=6-6 window=e0100000-e01fffff port=2",
    ),
    (
        "04:02.0",
        "is=downstream below=03:00.0 buses=7-7 window=e0200000-e02fffff port=3",
    ),
    (
        "04:03.0",
        "is=downstream below=03:00.0 buses=8-8 window=e0300000-e03fffff port=4",
    ),
];

/// Functions that are ports of no such kind.
pub(crate) const OTHERS: [(&str, &str); 5] = [
    (
        "01:00.0",
        "is=upstream below=00:01.0 buses=2-d window=e0000000-e08fffff",
    ),
    (
        "03:00.0",
        "is=upstream below=02:00.0 buses=4-8 window=e0000000-e03fffff",
    ),
    (
        "0a:00.0",
        "is=to-conventional below=02:02.0 buses=b-b window=e0500000-e06fffff",
    ),
    ("0b:00.0", "is=conventional below=0a:00.0 bar=e0500000+100000"),
    ("0b:01.0", "is=conventional below=0a:00.0 bar=e0600000+100000"),
];

/// Devices of one function, each alone below its port.
pub(crate) const SINGLE: [(&str, &str); 7] = [
    ("05:00.0", "is=endpoint below=04:00.0 bar=e0000000+100000"),
    ("06:00.0", "is=endpoint below=04:01.0 bar=e0100000+100000"),
    ("07:00.0", "is=endpoint below=04:02.0 bar=e0200000+100000"),
    ("08:00.0", "is=endpoint below=04:03.0 bar=e0300000+100000"),
    ("09:00.0", "is=endpoint below=02:01.0 bar=e0400000+100000"),
    ("10:00.0", "is=endpoint below=00:02.0 bar=e0900000+100000"),
    ("41:00.0", "is=endpoint below=40:01.0 bar=e8000000+100000"),
];

/// A device of two functions, and one on a root bus.
pub(crate) const FURTHER: [(&str, &str); 3] = [
    ("0d:00.0", "is=endpoint below=02:03.0 bar=e0700000+100000"),
    ("0d:00.1", "is=endpoint below=02:03.0 bar=e0800000+100000"),
    ("00:03.0", "is=integrated bar=e0a00000+100000"),
];

pub(crate) const HOST_BRIDGES: &str =
    "0000:00 window=e0000000-e7ffffff@e0000000\n0000:40 window=e8000000-efffffff@e8000000\n";

pub(crate) fn read(text: &str) -> Snapshot {
    let text = format!("fabric m\n{text}\nm | | 05:00.0 reads 06:00.0 strict bus | direct | own");
    table::rows(&text).remove(0).machine
}

pub(crate) fn letters(bits: u8) -> String {
    let set = "VBRCUET"
        .chars()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 != 0);
    let text: String = set.map(|(_, letter)| letter).collect();
    if text.is_empty() { "-".into() } else { text }
}

pub(crate) fn parts() -> impl Iterator<Item = (&'static str, &'static str)> {
    PORTS.into_iter().chain(OTHERS).chain(SINGLE).chain(FURTHER)
}

/// Any machine of which everything is known.
pub(crate) fn machine() -> impl Strategy<Value = Snapshot> {
    let acs = prop_oneof![
        2 => Just("none".to_owned()),
        3 => any::<u8>().prop_map(|bits| letters(bits & 0x7f)),
        3 => prop::sample::select(vec!["U", "VRCU", "RU", "CU", "BU", "TRU", "EU", "REU"]).prop_map(Into::into),
    ];
    let part = (
        acs,
        any::<u8>().prop_map(|bits| letters(bits & 0x7f)),
        prop::collection::vec(0..6u8, 0..4),
        prop_oneof![6 => Just(256), 1 => Just(128), 1 => Just(512)],
        prop_oneof![15 => Just("mse=1 bme=1"), 1 => Just("mse=0 bme=1"), 1 => Just("mse=1 bme=0")],
        prop::sample::select(vec!["0", "1", "1", "none"]),
    );
    let bridge = (
        prop::sample::select(vec![
            "everything",
            "everything",
            "stores-only",
            "same-bridge",
            "nothing",
        ]),
        prop::sample::select(vec!["0", "0", "0", "400000000"]),
    );
    (
        prop::collection::vec(part, parts().count()),
        prop::collection::vec(bridge, 2),
        prop::sample::select(vec!["off", "passthrough", "translating"]),
    )
        .prop_map(|(chosen, bridges, iommu)| {
            let mut text = format!("host iommu={iommu} ram=0-7fffffff\n{HOST_BRIDGES}");
            for (bus, (forwarding, inbound)) in ["00", "40"].into_iter().zip(bridges) {
                let _ = writeln!(text, "0000:{bus} forwarding={forwarding} inbound={inbound}");
            }
            for ((at, fixed), (acs, capable, vector, mps, command, ats)) in parts().zip(chosen) {
                let vector: Vec<String> = vector.iter().map(ToString::to_string).collect();
                let vector = vector.join(",");
                let _ = write!(text, "{at} {fixed} mps={mps} {command} ats={ats} ");
                let _ = match fixed.contains("conventional") {
                    true => writeln!(text),
                    false => writeln!(text, "acs={acs} capable={capable} vector={vector}"),
                };
            }
            read(&text)
        })
}

/// A machine on which only what the rewrite looks at varies: R, C, T and B, and E with every bit of its vector set.
pub(crate) fn machine_as_the_rewrite_sees_it(egress: Egress) -> impl Strategy<Value = Snapshot> {
    prop::collection::vec(any::<u8>(), PORTS.len()).prop_map(move |chosen| {
        let mut text = format!("host iommu=translating ram=0-7fffffff\n{HOST_BRIDGES}");
        text.push_str("0000:00 forwarding=everything inbound=0\n0000:40 forwarding=everything inbound=0\n");
        for ((at, fixed), bits) in PORTS.into_iter().zip(chosen) {
            let mut bits = bits & 0x7e | 0x10;
            if egress == Egress::OnlyWithRedirect && bits & 0x04 == 0 {
                bits &= !0x20;
            }
            let _ = writeln!(text, "{at} {fixed} acs={} vector=0,1,2,3,4,5,6,7", letters(bits));
        }
        for (at, fixed) in OTHERS.into_iter().chain(SINGLE).chain(FURTHER) {
            let _ = writeln!(text, "{at} {fixed} ats=1");
        }
        let mut machine = read(&text);
        machine.host.cpu = Fact::Known("AuthenticAMD:0x19".parse().expect("a processor"));
        machine
    })
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Egress {
    Any,
    OnlyWithRedirect,
}

pub(crate) fn topology(machine: Snapshot) -> Topology {
    let mut warnings = Warnings::default();
    let topology = Topology::new(machine, &mut warnings);
    assert_eq!(warnings, Warnings::default());
    topology
}

pub(crate) fn each_answer(mut with: impl FnMut(Access, TlpClass)) {
    for access in Access::ALL {
        for class in TlpClass::ALL {
            with(access, class);
        }
    }
}

pub(crate) fn pairs(topology: &Topology) -> impl Iterator<Item = (NodeId, NodeId)> + '_ {
    topology
        .nodes()
        .flat_map(|provider| topology.nodes().map(move |client| (provider, client)))
}

pub(crate) fn singles(topology: &Topology) -> Vec<NodeId> {
    let find = |(at, _): (&str, &str)| {
        topology
            .find(at.parse().expect("an address"))
            .expect("it is there")
    };
    SINGLE.into_iter().map(find).collect()
}
