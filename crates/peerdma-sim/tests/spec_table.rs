//! The fabric against the table that was derived from the specification by hand.

#[path = "../../peerdma/tests/support/table.rs"]
mod table;

use peerdma::route::{Access, TlpClass};
use peerdma_sim::blueprint::Blueprint;
use peerdma_sim::fabric::{End, Fabric, FunctionId, Loss, Packet, Where, Why};
use peerdma_sim::inquiry::{Fate, Form, Inquirer, Question, RamQuestion, Way};
use peerdma_sim::tlp;

const TABLE: &str = include_str!("../../../tests/tables/acs.txt");

fn way(way: Way) -> &'static str {
    match way {
        Way::Direct => "direct",
        Way::ThroughRootComplex => "through",
    }
}

/// The reasons in the table that come to this loss: the table tells more of them apart.
fn names(loss: Loss) -> &'static [&'static str] {
    match (loss.packet, loss.why) {
        (_, Why::MasterDisabled) => &["master-disabled"],
        (_, Why::AcsViolation) => &["acs-violation"],
        (Packet::Request, Why::UnsupportedRequest) => &[
            "port-master-disabled",
            "memory-disabled",
            "not-forwarded-upstream",
            "unclaimed",
        ],
        (_, Why::MalformedTlp) => &["malformed-tlp"],
        (_, Why::IommuFault) => &["iommu-fault"],
        (Packet::Request, Why::NotForwarded) => &["not-forwarded"],
        (Packet::Completion, Why::NotForwarded) => &["completion-not-forwarded"],
        (_, Why::UnexpectedCompletion) => &["unexpected-completion"],
        _ => &[],
    }
}

/// The function that the table names, domain 0 left out.
fn named(fabric: &Fabric, at: &str) -> Option<FunctionId> {
    let bdf = at.parse().or_else(|_| format!("0000:{at}").parse());
    fabric.find(bdf.ok()?)
}

/// Who has a packet that a function would take if it decoded memory, as the head of the table says.
fn gives_up(fabric: &Fabric, silent: FunctionId) -> Option<FunctionId> {
    let view = fabric.function(silent);
    match view.link_above {
        Some(link) => fabric.link(link).device,
        None => view.bridge_above,
    }
}

/// Domain and root bus of the host bridge above a function.
fn root(fabric: &Fabric, function: FunctionId) -> (u32, u8) {
    let mut view = fabric.function(function);
    while let Some(bridge) = view.bridge_above {
        view = fabric.function(bridge);
    }
    (view.bdf.domain(), view.bdf.bus())
}

/// Is this what the table expects?
fn is_expected(expected: &str, fate: Fate, provider: FunctionId, inquirer: &Inquirer) -> bool {
    let mut words = expected.split_whitespace();
    let (first, at, why) = (words.next(), words.next(), words.next());
    match fate {
        Fate::Delivered { request, completion } => {
            let (request, completion) = (way(request), way(completion));
            match first.and_then(|ways| ways.split_once('/')) {
                Some(ways) => ways == (request, completion),
                None => first == Some(request) && request == completion,
            }
        }
        Fate::Lost(loss) => {
            let is_there = match loss.at {
                Where::Function(function) => {
                    let named = at.and_then(|at| named(inquirer.fabric(), at));
                    let expected = match why {
                        Some("memory-disabled") => named.and_then(|named| gives_up(inquirer.fabric(), named)),
                        _ => named,
                    };
                    expected == Some(function)
                }
                // The table names the function through which it came in; the bridge beyond may be who does not forward.
                Where::HostBridge { domain, bus } => {
                    let named = at.and_then(|at| named(inquirer.fabric(), at));
                    let provider = (loss.why == Why::NotForwarded).then_some(provider);
                    [named, provider]
                        .into_iter()
                        .flatten()
                        .any(|function| root(inquirer.fabric(), function) == (domain, bus))
                        && named.is_some()
                }
                Where::Iommu => at.is_some_and(|at| named(inquirer.fabric(), at).is_some()),
                Where::Nowhere => false,
            };
            first == Some("refused") && is_there && why.is_some_and(|why| names(loss).contains(&why))
        }
        Fate::Astray(End::Ram { .. }) => why == Some("host-memory"),
        Fate::Astray(End::Interrupt) => why == Some("interrupt-window"),
        Fate::Astray(End::Function { .. }) => why == Some("wrong-function"),
        Fate::Astray(_) => false,
        Fate::NoAddress => matches!(why, Some("no-memory" | "no-host-address")),
    }
}

fn access(row: &table::Row) -> tlp::Access {
    match row.access {
        Access::Read => tlp::Access::Read,
        Access::Write => tlp::Access::Write,
    }
}

fn address_type(row: &table::Row) -> tlp::AddressType {
    match row.class.is_translated() {
        true => tlp::AddressType::Translated,
        false => tlp::AddressType::Untranslated,
    }
}

fn ordering(row: &table::Row) -> tlp::Ordering {
    match row.class {
        TlpClass::Relaxed | TlpClass::TranslatedRelaxed => tlp::Ordering::Relaxed,
        TlpClass::Strict | TlpClass::Translated => tlp::Ordering::Strict,
    }
}

#[test]
fn every_row_for_ram_happens_in_the_fabric() {
    let mut compared = 0;
    for row in &table::ram_rows(TABLE) {
        if row.expected.starts_with("unknown") {
            continue;
        }
        compared += 1;
        let (blueprint, _) = Blueprint::from_snapshot(&row.machine).expect("a machine");
        let mut inquirer = Inquirer::new(&blueprint).expect("a fabric");
        let client = inquirer.fabric().find(row.client).expect("the client");
        let fate = inquirer.ask_ram(RamQuestion {
            client,
            access: access(row),
            address_type: address_type(row),
            ordering: ordering(row),
        });
        assert!(
            is_expected(&row.expected, fate, client, &inquirer),
            "line {}: expected {}, found {fate:?}; notes {:?} back {:?}",
            row.line,
            row.expected,
            inquirer.request().notes,
            inquirer.completion().notes
        );
    }
    assert!(compared >= 20, "{compared}");
}

#[test]
fn every_row_of_the_table_happens_in_the_fabric() {
    let rows = table::rows(TABLE);
    let mut wrong = Vec::new();
    let mut compared = 0;
    for row in &rows {
        // What nobody knows, and what is not a matter of routing.
        if row.expected.starts_with("unknown") || row.expected == "same" {
            continue;
        }
        compared += 1;
        let (blueprint, _) = Blueprint::from_snapshot(&row.machine).expect("a machine");
        let mut inquirer = Inquirer::new(&blueprint).expect("a fabric");
        let find = |bdf| inquirer.fabric().find(bdf).expect("a function");
        let question = Question {
            client: find(row.client),
            provider: find(row.provider),
            access: access(row),
            address_type: address_type(row),
            ordering: ordering(row),
            form: match row.form.as_str() {
                "bus" => Form::BusAddress,
                _ => Form::HostAddress,
            },
        };
        let fate = inquirer.ask(question);
        if !is_expected(&row.expected, fate, question.provider, &inquirer) {
            wrong.push(format!(
                "line {}: expected {}, found {fate:?}; notes {:?} back {:?}",
                row.line,
                row.expected,
                inquirer.request().notes,
                inquirer.completion().notes
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {compared}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(compared * 10 > rows.len() * 7, "{compared} of {}", rows.len());
}
