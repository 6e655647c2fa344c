//! The specification's judge against the table that was derived from the specification by hand.

#[path = "support/table.rs"]
mod table;

use peerdma::route::spec::{Form, Judge, Missing, Outcome, Question, Refusal, Way};
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;

const TABLE: &str = include_str!("../../../tests/tables/acs.txt");

fn short(bdf: impl ToString) -> String {
    let text = bdf.to_string();
    text.strip_prefix("0000:").unwrap_or(&text).to_owned()
}

fn way(way: Way) -> &'static str {
    match way {
        Way::Direct => "direct",
        Way::ThroughRootComplex => "through",
    }
}

fn words(outcome: Outcome) -> String {
    match outcome {
        Outcome::SameFunction => "same".into(),
        Outcome::Delivered { request, completion } if request == completion => way(request).into(),
        Outcome::Delivered { request, completion } => format!("{}/{}", way(request), way(completion)),
        Outcome::Refused {
            at,
            why: Refusal::AcsViolation(bit),
        } => format!("refused {} acs-violation {bit}", short(at)),
        Outcome::Refused { at, why } => format!("refused {} {}", short(at), why.name()),
        Outcome::Unknown {
            at,
            missing: Missing::Acs(bit),
        } => format!("unknown {} acs {bit}", short(at)),
        Outcome::Unknown { at, missing } => format!("unknown {} {}", short(at), missing.name()),
    }
}

#[test]
fn every_row_for_ram_is_answered_as_the_specification_says() {
    let rows = table::ram_rows(TABLE);
    for row in &rows {
        let topology = Topology::new(row.machine.clone(), &mut Warnings::default());
        let client = topology.find(row.client).expect("the client");
        let fate = Judge::new(&topology).ram_fate(client, row.access, row.class);
        let found = words(fate.outcome);
        assert_eq!(
            found, row.expected,
            "line {}; way {:?} back {:?}",
            row.line, fate.request, fate.completion
        );
    }
    assert!(rows.len() >= 30, "{} rows", rows.len());
}

#[test]
fn every_row_of_the_table_is_answered_as_the_specification_says() {
    let rows = table::rows(TABLE);
    let mut wrong = Vec::new();
    for row in &rows {
        let mut warnings = Warnings::default();
        let topology = Topology::new(row.machine.clone(), &mut warnings);
        assert_eq!(warnings, Warnings::default(), "line {}", row.line);
        let find = |bdf| {
            topology
                .find(bdf)
                .unwrap_or_else(|| panic!("line {}: no {bdf}", row.line))
        };
        let question = Question {
            provider: find(row.provider),
            client: find(row.client),
            bar: None,
            access: row.access,
            class: row.class,
            form: match row.form.as_str() {
                "bus" => Form::BusAddress,
                "host" => Form::HostAddress,
                other => panic!("line {}: bus or host, not {other}", row.line),
            },
        };
        let fate = Judge::new(&topology).fate(question);
        let found = words(fate.outcome);
        if found != row.expected {
            wrong.push(format!(
                "line {}: expected {}, found {found}; way {:?} back {:?}",
                row.line, row.expected, fate.request, fate.completion
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
    assert!(rows.len() >= 60, "{} rows", rows.len());
}
