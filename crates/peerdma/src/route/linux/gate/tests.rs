//! What is a key of the list of host bridges.

use super::*;
use crate::fact::Unread;
use crate::route::linux::Judge;
use crate::route::linux::fabric::{express, function, node, topology};
use crate::route::{Access, TlpClass};

/// The gate for a listed first function at `at` of this kind, and the answer for a pair on its bus.
fn gate(at: &str, port_type: Fact<Option<PortType>>) -> (Gate, Answer) {
    let mut first = function(at, None, 0);
    first.config.id = Fact::Known(Id {
        vendor: 0x8086,
        device: 0x2030,
    });
    first.config.express = port_type.map(|port_type| port_type.map(express));
    let others = [function("00:04.0", None, 0), function("00:05.0", None, 0)];
    let topology = topology([first].into_iter().chain(others).collect());
    let judge = Judge::new(&topology, Kernel::Release(Kernel::OLDEST));
    let (provider, client) = (node(&topology, "00:04.0"), node(&topology, "00:05.0"));
    let evidence = judge.evidence(provider, client, TlpClass::Strict);
    let answer = evidence.verdict.answer(Access::Read, TlpClass::Strict);
    (evidence.gate.unwrap(), answer)
}

#[test]
fn a_first_function_of_unknown_kind_is_a_key_only_at_number_0() {
    let unknown = Fact::Unknown(Unread::AccessDenied);
    let through = Answer::known(MapType::ThruHostBridge);
    let refused = Answer::known(MapType::NotSupported);
    for (at, port_type, is_key, expected) in [
        ("00:00.0", unknown, Accepted::Yes, through),
        ("00:01.0", unknown, Accepted::Unknown, through.or(refused)),
        (
            "00:01.0",
            Fact::Known(Some(PortType::ROOT_PORT)),
            Accepted::Yes,
            through,
        ),
        (
            "00:01.0",
            Fact::Known(Some(PortType::INTEGRATED_ENDPOINT)),
            Accepted::No,
            refused,
        ),
        ("00:01.0", Fact::Known(None), Accepted::No, refused),
    ] {
        let (gate, answer) = gate(at, port_type);
        assert_eq!(gate.provider.is_key, is_key, "{at} {port_type:?}");
        assert_eq!((gate.provider.listed, gate.open), (is_key, is_key), "{at}");
        assert_eq!(answer, expected, "{at} {port_type:?}");
    }
}
