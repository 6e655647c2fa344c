//! What is said of a copy: the plan before anything moves, and afterwards what became of it.

use super::Report;
use super::account::{Account, Ended, SlotAddress};
use super::request::Request;
use crate::error::Problem;
use crate::figures::{duration, gigabytes, table};
use crate::ground::{LinkTraffic, Names, Place, Sort, mend};
use crate::layout::{bytes, wrapped};
use crate::report::Out;
use crate::style::Tone;
use peerdma::block::SubmitError;
use peerdma::dma::Space;
use peerdma::engine::{Check, Failure, Mismatch, Trouble};
use peerdma::plan::{CopyPlan, Cost, Crossing, Kind, Method, NoPlan, Proof, Reach, Rejected};
use peerdma::route::Access;
use std::fmt::Write as _;
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
    for belief in beliefs {
        text.push_str(&wrapped(belief, "  believed: ", "     ", out.width));
    }
    if !plan.rejected.is_empty() {
        text.push_str("not taken:\n");
    }
    for rejected in &plan.rejected {
        text.push_str(&wrapped(
            &rejected_text(names, rejected),
            "  - ",
            "    ",
            out.width,
        ));
    }
    text.push('\n');
    text
}

fn rejected_text(names: Names<'_>, rejected: &Rejected) -> String {
    format!(
        "{}: {}",
        method(names, rejected.method),
        names.name_all(&rejected.why.to_string())
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
            plain(simulated(account.took)),
            plain(gigabytes(rate(copied, account.took))),
            plain(duration(
                u64::try_from(account.host.as_nanos())
                    .unwrap_or(u64::MAX)
                    .saturating_mul(1000),
            )),
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
            let rows: Vec<_> = rows
                .into_iter()
                .map(|[way, copied, ram, took, rate, _]| [way, copied, ram, took, rate])
                .collect();
            table(&["WAY", "COPIED", "THROUGH RAM", "TIME", "GB/s"], &rows, out)
        }
    }
}

fn simulated(time: Duration) -> String {
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

fn verdict(report: &Report<'_>) -> (Tone, String) {
    let Report { account, request, .. } = report;
    let name = &request.destination.name;
    let mut said = match (&account.ended, &account.check) {
        (Ended::Whole, Some(Check::Equal)) => {
            let said = format!(
                "Verified: {} of {name} were read back{} and equal {}.",
                bytes(request.len_bytes),
                match request.destination.place {
                    Place::Namespace(_) => " through its driver",
                    Place::Own(_) => "",
                },
                request.source.name
            );
            return (Tone::Good, said);
        }
        (Ended::Whole, Some(Check::Cancelled)) => {
            let said = format!(
                "Interrupted: all of {name} is written and flushed, but was not read back to the end: it is not proven."
            );
            return (Tone::Doubt, said);
        }
        (Ended::Interrupted, _) => {
            let done = account.counts.durable_bytes;
            let next = match (&report.args.resume, report.not_kept) {
                (Some(_), Some(why)) => format!("{why}, so that a copy begins anew"),
                (Some(path), None) => format!("run it again with --resume {} to go on", path.display()),
                (None, _) => "with --resume FILE it could go on from there".into(),
            };
            return (
                Tone::Doubt,
                format!(
                    "Interrupted: the first {done} of {} bytes are written and flushed, not yet read back; {next}.",
                    request.len_bytes
                ),
            );
        }
        (Ended::Failed(failure), _) => format!(
            "NOT PROVEN: {failure}{}. The first {} bytes are written and flushed.",
            mended(failure, report.sort),
            account.counts.durable_bytes
        ),
        (Ended::Whole, _) => format!(
            "NOT PROVEN: the devices reported success, but {name} does not hold what {} holds.",
            request.source.name
        ),
    };
    match &account.check {
        Some(Check::Differs(mismatch)) => said.push_str(&differs(mismatch)),
        Some(Check::Failed(failure)) => {
            let _ = write!(said, " It could not be read back: {failure}.");
        }
        Some(Check::Equal) => said.push_str(" What it holds equals the source all the same."),
        Some(Check::UnderWay { .. } | Check::Cancelled) | None => {}
    }
    (Tone::Bad, said)
}

/// What to do about memory that was not mapped.
fn mended(failure: &Failure, sort: Sort) -> String {
    let Trouble::Submit(SubmitError::Map(error)) = &failure.trouble else {
        return String::new();
    };
    mend::of_map(error, sort).map_or_else(String::new, |fix| format!(": {fix}"))
}

fn differs(mismatch: &Mismatch) -> String {
    let (expected, found) = samples(mismatch);
    format!(
        " First bad byte at offset {:#x} (block {}): expected {expected}, found {found}.",
        mismatch.offset_bytes, mismatch.lba
    )
}

/// What was expected and what was found, in hexadecimal digits.
pub(super) fn samples(mismatch: &Mismatch) -> (String, String) {
    let hex = |bytes: &[u8; 16]| {
        let shown = bytes.get(..usize::from(mismatch.len)).unwrap_or(bytes);
        shown.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    (hex(&mismatch.expected), hex(&mismatch.found))
}

/// Why there is no plan.
pub(super) fn no_plan(why: &NoPlan, names: Names<'_>, request: &Request) -> Problem {
    let (source, destination) = (&request.source.name, &request.destination.name);
    let ways = |rejected: &[Rejected]| {
        let ways: Vec<String> = rejected.iter().map(|way| rejected_text(names, way)).collect();
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
