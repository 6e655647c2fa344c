//! What is said of a copy: the plan before anything moves, and afterwards what became of it.

use super::Report;
use super::account::{Account, SlotAddress};
use super::request::Request;
use super::unasked;
use super::verdict::verdict;
use crate::error::Problem;
use crate::figures::{duration, gigabytes, table};
use crate::ground::{LinkTraffic, Names, Sort};
use crate::layout::{bytes, wrapped};
use crate::report::Out;
use crate::style::Tone;
use peerdma::dma::Space;
use peerdma::plan::{CopyPlan, Cost, Crossing, Kind, Method, NoPlan, Proof, Reach, Rejected};
use peerdma::route::Access;
use std::time::Duration;

/// The plan, and why not in another way.
pub(super) fn plan(
    names: Names<'_>,
    plan: &CopyPlan,
    request: &Request,
    beliefs: &[String],
    out: &Out,
) -> String {
    let heading = format!(
        "{} to {}, {}: {}",
        request.source.name,
        request.destination.name,
        bytes(request.len_bytes),
        method(names, plan.method),
    );
    let mut text = out
        .palette
        .paint(Tone::Strong, &wrapped(&heading, "", "  ", out.width));
    if plan.is_forced() {
        let warning = "FORCED: a route is taken that was refused; what arrives may be lost or wrong";
        text.push_str(
            &out.palette
                .paint(Tone::Bad, &wrapped(warning, "  ", "  ", out.width)),
        );
    }
    for (number, crossing) in plan.crossings.iter().enumerate() {
        let first = format!("  {}. ", number + 1);
        text.push_str(&wrapped(
            &crossing_text(names, crossing),
            &first,
            "     ",
            out.width,
        ));
    }
    let proof = wrapped(&arrival(names, plan), "  arrival: ", "     ", out.width);
    text.push_str(&proof);
    if let Some(rate) = cost(names, plan.cost) {
        text.push_str(&wrapped(&rate, "  links:   ", "     ", out.width));
    }
    if let Some(fitted) = &request.fitted {
        text.push_str(&wrapped(fitted, "  sizes:   ", "     ", out.width));
    }
    for belief in beliefs {
        text.push_str(&wrapped(belief, "  believed: ", "     ", out.width));
    }
    if !plan.rejected.is_empty() {
        text.push_str("not taken:\n");
    }
    for rejected in &plan.rejected {
        text.push_str(&wrapped(
            &rejected_text(names, request, rejected),
            "  - ",
            "    ",
            out.width,
        ));
    }
    text.push('\n');
    text
}

fn rejected_text(names: Names<'_>, request: &Request, rejected: &Rejected) -> String {
    format!(
        "{}: {}",
        method(names, rejected.method),
        names.name_all(&unasked::reason(names, request, rejected))
    )
}

/// A way in words.
pub(super) fn method(names: Names<'_>, method: Method) -> String {
    match method {
        Method::Store => {
            "direct, by writes (the source's device writes into the destination's memory)".into()
        }
        Method::Load => "direct, by reads (the destination's device reads the source's memory)".into(),
        Method::Internal => "inside the device".into(),
        Method::ThirdParty(bdf) => format!("through the memory of {}", names.call(bdf)),
        Method::ViaRam => "through host RAM".into(),
    }
}

fn crossing_text(names: Names<'_>, crossing: &Crossing) -> String {
    let does = match crossing.operation {
        Access::Read => "reads",
        Access::Write => "writes",
    };
    let initiator = names.call_at_length(crossing.initiator);
    let what = match (crossing.reach, crossing.provider) {
        (Reach::Own, _) => "its own memory (OWN_BAR): nothing travels".to_owned(),
        (Reach::Ram, _) | (_, None) => "host RAM".to_owned(),
        (reach, Some(provider)) => format!(
            "the memory of {} ({})",
            names.call_at_length(provider),
            reach.memory_kind()
        ),
    };
    match crossing.forced {
        None => format!("{initiator} {does} {what}"),
        Some(refused) => format!(
            "{initiator} {does} {what}, though refused: {}",
            names.name_all(&refused.to_string())
        ),
    }
}

fn arrival(names: Names<'_>, plan: &CopyPlan) -> String {
    let [put, _] = plan.crossings;
    let source = names.call(put.initiator);
    match plan.method {
        Method::Store | Method::ThirdParty(_) if plan.arrival() == Proof::ReadBack => format!(
            "read-back (the kernel's completions of {source} lie in RAM and prove nothing: the destination is read back)"
        ),
        Method::Store | Method::ThirdParty(_) => format!(
            "same-path-completion ({source} writes its completion entries into the same memory, behind the data)"
        ),
        Method::Load => "read-returned (what is read has come: the answers carry the data)".into(),
        Method::Internal | Method::ViaRam => {
            format!("device-order (data and completion entries of {source} take one path)")
        }
    }
}

fn cost(names: Names<'_>, cost: Cost) -> Option<String> {
    match cost {
        Cost::NoLink => Some("none is crossed".into()),
        Cost::Rate {
            bytes_per_second,
            below,
            ..
        } => Some(format!(
            "up to {} GB/s, limited by the link of {}",
            gigabytes(bytes_per_second),
            names.call(below)
        )),
        Cost::Unknown(_) => None,
    }
}

/// What became of the copy.
pub(super) fn result(report: &Report<'_>, out: &Out) -> String {
    let account = report.account;
    let mut text = String::new();
    if !report.args.quiet {
        for note in report.notes {
            text.push_str(&wrapped(note, "note: ", "      ", out.width));
        }
    }
    if let Some(counted) = &account.traffic.links {
        text.push_str(&links(counted, report, out));
    }
    text.push_str(&addresses(report, out));
    text.push_str(&times(report, out));
    text.push('\n');
    let (tone, verdict) = verdict(report);
    let verdict = wrapped(&verdict, "", "  ", out.width);
    text.push_str(&out.palette.paint(tone, &verdict));
    if account.plan.is_forced() {
        let warning = "FORCED: a refused route was taken.";
        text.push_str(
            &out.palette
                .paint(Tone::Bad, &wrapped(warning, "", "  ", out.width)),
        );
    }
    text
}

fn links(counted: &[LinkTraffic], report: &Report<'_>, out: &Out) -> String {
    let plain = |text: String| (text, None);
    let names = report.names;
    let rows: Vec<_> = (counted.iter())
        .map(|link| {
            [
                plain(
                    link.device
                        .map_or_else(String::new, |bdf| names.call_at_length(bdf)),
                ),
                plain(names.call_at_length(link.port)),
                plain(bytes(link.up_bytes)),
                plain(bytes(link.down_bytes)),
            ]
        })
        .collect();
    match rows.is_empty() {
        true => "No data passed a link.\n\n".into(),
        false => table(&["LINK OF", "BELOW", "DATA UP", "DATA DOWN"], &rows, out) + "\n",
    }
}

/// What the devices were told of the first slot: what a trace or an analyser shows.
fn addresses(report: &Report<'_>, out: &Out) -> String {
    let told = report.account.plan.crossings.iter().zip(report.account.addresses);
    let told = told.filter_map(|(crossing, address)| {
        let SlotAddress { addr, .. } = address?;
        let space = match address?.space {
            Space::Iova => "host address",
            Space::Bus => "bus address",
            Space::Own => "its own address",
        };
        Some(format!(
            "{} {space} {addr:#x}",
            report.names.call(crossing.initiator)
        ))
    });
    let told: Vec<String> = told.collect();
    match told.is_empty() {
        true => String::new(),
        false => wrapped(&format!("First slot: {}.", told.join(", ")), "", "  ", out.width) + "\n",
    }
}

fn times(report: &Report<'_>, out: &Out) -> String {
    let plain = |text: String| (text, None);
    let row = |name: &str, account: &Account| {
        let copied = account.counts.written_bytes;
        [
            plain(name.to_owned()),
            plain(bytes(copied)),
            (
                bytes(account.traffic.ram_payload_bytes),
                Some(match account.traffic.ram_payload_bytes {
                    0 => Tone::Good,
                    _ => Tone::Fair,
                }),
            ),
            plain(time(account.took)),
            plain(gigabytes(rate(copied, account.took))),
            plain(time(match report.sort {
                Sort::Simulated => account.host,
                Sort::Live => account.cpu,
            })),
        ]
    };
    let name = match report.account.plan.kind() {
        Kind::Direct => "direct",
        Kind::ThirdParty => "third party",
        Kind::ViaRam => "through RAM",
    };
    let mut rows = vec![row(name, report.account)];
    rows.extend(
        report
            .by_ram
            .map(|account| row("through RAM, to compare", account)),
    );
    match report.sort {
        Sort::Simulated => {
            let titles = ["WAY", "COPIED", "THROUGH RAM", "SIMULATED TIME", "GB/s", "TOOK"];
            table(&titles, &rows, out)
        }
        // Its clock is ours.
        Sort::Live => {
            let titles = ["WAY", "COPIED", "THROUGH RAM", "TIME", "GB/s", "CPU TIME"];
            table(&titles, &rows, out)
        }
    }
}

fn time(time: Duration) -> String {
    duration(
        u64::try_from(time.as_nanos())
            .unwrap_or(u64::MAX)
            .saturating_mul(1000),
    )
}

/// Bytes a second of simulated time.
pub(super) fn rate(copied: u64, time: Duration) -> u64 {
    match time.as_nanos() {
        0 => 0,
        nanos => u64::try_from(u128::from(copied) * 1_000_000_000 / nanos).unwrap_or(u64::MAX),
    }
}

/// Why there is no plan.
pub(super) fn no_plan(why: &NoPlan, names: Names<'_>, request: &Request) -> Problem {
    let (source, destination) = (&request.source.name, &request.destination.name);
    let ways = |rejected: &[Rejected]| {
        let ways: Vec<String> = rejected
            .iter()
            .map(|way| rejected_text(names, request, way))
            .collect();
        ways.join("\n")
    };
    match why {
        NoPlan::OnlyRam(rejected) => Problem::new(
            format_args!("no way from {source} to {destination} without host RAM is safe"),
            ways(rejected),
            "leave out --require-p2p to go through RAM, or change what refuses: `peerdma route` shows every hop and what would mend it",
        ),
        NoPlan::NotVia { via, rejected } => Problem::new(
            format_args!(
                "{source} cannot be copied to {destination} by way of {}",
                names.call_at_length(*via)
            ),
            match rejected.iter().any(|way| way.method == Method::ThirdParty(*via)) {
                true => ways(rejected),
                false => format!("it has no memory that others may use\n{}", ways(rejected)),
            },
            "name a device with memory that both reach (`peerdma matrix` shows who reaches whom), or leave out --via",
        ),
        NoPlan::NoWay(rejected) => Problem::new(
            format_args!("there is no way from {source} to {destination}"),
            ways(rejected),
            "change what refuses: `peerdma route` shows every hop and what would mend it",
        ),
        other => Problem::new(
            format_args!("{source} and {destination} do not fit together"),
            other,
            "look at the blocks of both, and at --chunk",
        ),
    }
}
