//! What the specification's judge takes for granted of x86 machines, and of no others.

#[path = "support/table.rs"]
mod table;

use peerdma::fact::Fact;
use peerdma::route::spec::{Form, Judge, Outcome, Question};
use peerdma::snapshot::{Snapshot, Warnings};
use peerdma::topology::Topology;

const TABLE: &str = include_str!("../../../tests/tables/acs.txt");

/// What becomes of the request of the table's first row that arrives, where neither registers nor host bridges are
/// known, as in the text of `lspci -vvv`.
fn outcome(processor: &str, domain_offset: u32) -> Outcome {
    let row = table::rows(TABLE)
        .into_iter()
        .find(|row| row.expected == "direct")
        .expect("a row");
    let mut host = row.machine.host.clone();
    host.cpu = Fact::Known(processor.parse().expect("a processor"));
    host.bridges = Fact::NOT_IN_SOURCE;
    let moved = |bdf: peerdma::addr::Bdf| {
        peerdma::addr::Bdf::from_devfn(bdf.domain() + domain_offset, bdf.bus(), bdf.devfn())
    };
    let functions = row.machine.functions().iter().cloned().map(|mut function| {
        function.bdf = moved(function.bdf);
        function.upstream = function.upstream.map(|above| above.map(moved));
        function.config.bars = Fact::NOT_IN_SOURCE;
        function
    });
    let mut warnings = Warnings::default();
    let snapshot = Snapshot::new(host, functions.collect(), &mut warnings);
    let topology = Topology::new(snapshot, &mut warnings);
    let find = |bdf| topology.find(moved(bdf)).expect("a function");
    let question = Question {
        provider: find(row.provider),
        client: find(row.client),
        bar: None,
        access: row.access,
        class: row.class,
        form: Form::BusAddress,
    };
    Judge::new(&topology).fate(question).outcome
}

#[test]
fn addresses_are_the_same_for_cpu_and_bus_on_x86_and_unknown_elsewhere() {
    assert!(matches!(outcome("GenuineIntel:6", 0), Outcome::Delivered { .. }));
    assert!(matches!(
        outcome("CPU implementer 0x41:0", 0),
        Outcome::Unknown { .. }
    ));
    // A domain that a driver made up.
    assert!(matches!(
        outcome("GenuineIntel:6", 0x10000),
        Outcome::Unknown { .. }
    ));
}
