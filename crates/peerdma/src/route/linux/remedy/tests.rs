//! Remedies look at both directions, and are given only where they change something.

use super::*;
use crate::fact::Unread;
use crate::pci::Acs;
use crate::route::linux::Kernel;
use crate::route::linux::fabric::{bdf, node, switch, topology};
use crate::snapshot::Function;

const RR: u16 = 0x04;
const CR: u16 = 0x08;

/// The remedy for 03:00.0 that reads and writes 04:00.0, its way back included.
fn remedy(functions: Vec<Function>, kernel: Kernel) -> Option<Remedy> {
    let topology = topology(functions);
    let judge = Judge::new(&topology, kernel);
    let (client, provider) = (node(&topology, "03:00.0"), node(&topology, "04:00.0"));
    let wanted = judge.evidence(provider, client, TlpClass::Strict);
    let other = judge.evidence(client, provider, TlpClass::Strict);
    Remedy::new(&judge, &wanted, &other)
}

fn hops(remedy: &Remedy) -> Vec<Bdf> {
    remedy.hops.iter().map(|hop| hop.bdf).collect()
}

#[test]
fn a_redirect_that_only_the_way_back_meets_is_remedied() {
    // In the rewrite the second port checks requests of the way back only.
    let remedy = remedy(switch(0, RR), Kernel::Next).unwrap();
    assert_eq!(hops(&remedy), [bdf("02:01.0")]);
    assert_eq!(remedy.then, [Some(MapType::BusAddr); 2]);
}

#[test]
fn redirects_of_both_directions_stand_in_one_remedy() {
    let remedy = remedy(switch(RR, RR), Kernel::Next).unwrap();
    assert_eq!(hops(&remedy), [bdf("02:00.0"), bdf("02:01.0")]);
    assert_eq!(
        remedy.kernel_parameter,
        "pci=disable_acs_redir=0000:02:00.0;0000:02:01.0"
    );
    assert_eq!(remedy.setpci.len(), 2);
    assert_eq!(remedy.hops[0].control.bits(), RR);
    assert_eq!(remedy.hops[0].becomes.bits(), 0);
}

#[test]
fn what_is_unknown_on_the_way_back_makes_a_remedy_unsure() {
    let mut functions = switch(RR | CR, 0);
    functions[3].config.acs = Fact::<Option<Acs>>::Unknown(Unread::AccessDenied);
    let remedy = remedy(functions, Kernel::Next).unwrap();
    assert_eq!(hops(&remedy), [bdf("02:00.0")]);
    assert_eq!(remedy.unsure, [bdf("02:01.0")]);
    assert_eq!(remedy.then, [None; 2]);
}

#[test]
fn where_nothing_redirects_there_is_no_remedy() {
    assert_eq!(remedy(switch(0, 0), Kernel::Next), None);
    assert_eq!(remedy(switch(0, 0), Kernel::Release(Kernel::OLDEST)), None);
}
