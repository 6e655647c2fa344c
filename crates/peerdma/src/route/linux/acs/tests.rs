//! What an ACS control register that cannot be read does.

use super::*;
use crate::route::linux::fabric::{function, node, switch, topology};
use crate::route::linux::{Judge, Kernel};
use crate::route::{Access, Answer, MapType, TlpClass};

/// 05:00.0, below a further port 03:00.0 that has this register, accesses 04:00.0 with translated
/// addresses under the rewrite.
fn translated_past(acs: Fact<Option<crate::pci::Acs>>) -> Answer {
    let mut functions = switch(0, 0);
    functions.push(function("05:00.0", Some("03:00.0"), 0));
    functions[4].config.acs = acs;
    let topology = topology(functions);
    let judge = Judge::new(&topology, Kernel::Next);
    judge
        .verdict(node(&topology, "04:00.0"), node(&topology, "05:00.0"))
        .answer(Access::Read, TlpClass::Translated)
}

#[test]
fn a_port_that_cannot_be_read_blocks_translated_requests_and_an_unknown_one_may() {
    let direct = Answer::known(MapType::BusAddr);
    let blocked = Answer::known(MapType::NotSupported);
    assert_eq!(translated_past(Fact::Known(None)), direct);
    assert_eq!(translated_past(Fact::Unknown(Unread::Unreadable)), blocked);
    let unknown = translated_past(Fact::Unknown(Unread::AccessDenied));
    assert_eq!(unknown, direct.or(blocked));
}

#[test]
fn mainline_leaves_to_chance_what_a_register_that_cannot_be_read_does() {
    assert_eq!(redirects(Control::Unreadable), Tri::Unknown);
    assert_eq!(blocks(Control::Unreadable), Tri::Yes);
}
