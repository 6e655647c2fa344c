//! What is said of a probe.

use super::session::{Account, Tried};
use super::watch::verb;
use crate::figures::{duration, gigabytes};
use crate::ground::{Names, Sort};
use crate::layout::{bytes, count, wrapped};
use crate::report::Out;
use crate::style::Tone;
use peerdma::dma::PeerRoute;
use peerdma::probe::{DirectionReport, Figures, Judgement, Outcome, Promise};
use std::fmt::Write as _;

/// All of it.
pub(super) fn write(account: &Account, names: Names<'_>, sort: Sort, notes: &[String], out: &Out) -> String {
    let memory = &account.memory;
    let heading = format!(
        "{} and {} of memory of {}, BAR {}, at {} ({} machine{})",
        account.name,
        bytes(memory.free.len_bytes().unwrap_or(0)),
        names.call_at_length(memory.provider),
        memory.bar,
        memory.free.first(),
        sort.name(),
        if account.by_kernel {
            ", moved by the kernel"
        } else {
            ""
        },
    );
    let heading = wrapped(&heading, "", "  ", out.width);
    let mut text = out.palette.paint(Tone::Strong, heading.trim_end());
    text.push('\n');
    for one in &account.tried {
        direction(&mut text, account, one, names, out);
    }
    let line = wrapped(&restored(account), "  ", "  ", out.width);
    match account.not_restored {
        Some(_) => text.push_str(&out.palette.paint(Tone::Bad, &line)),
        None => text.push_str(&line),
    }
    if account.interrupted {
        text.push_str("  interrupted: what is missing was not tried\n");
    }
    for note in notes {
        text.push_str(&wrapped(note, "  note: ", "     ", out.width));
    }
    text
}

/// What must be known of it, in a line each.
pub(super) fn became(account: &Account, names: Names<'_>) -> String {
    let mut text = String::new();
    for one in &account.tried {
        let _ = writeln!(
            text,
            "{} {} it: {}",
            names.call(account.initiator),
            verb(one.access),
            judged(one)
        );
    }
    text + &restored(account)
}

/// Do blocks and memory hold what they held?
fn restored(account: &Account) -> String {
    let scratch = account.scratch;
    let last = scratch.lba.saturating_add(scratch.blocks);
    match &account.not_restored {
        Some(why) => format!("NOT PUT BACK: {why}"),
        None if account.touched => format!(
            "blocks {}..{last} of {} and the memory hold again what they held before",
            scratch.lba, account.name
        ),
        None => "nothing was touched".to_owned(),
    }
}

fn judged(one: &Tried) -> String {
    let said = one.judgement.map(|judgement| judgement.to_string());
    said.unwrap_or_else(|| "not tried".to_owned())
}

fn direction(text: &mut String, account: &Account, one: &Tried, names: Names<'_>, out: &Out) {
    let tone = match one.judgement {
        Some(Judgement::Agrees | Judgement::Works) => Tone::Good,
        Some(judgement) if judgement.is_alarm() => Tone::Bad,
        Some(_) => Tone::Fair,
        None => Tone::Doubt,
    };
    let said = judged(one);
    let title = format!("{} {} it: ", names.call(account.initiator), verb(one.access));
    let _ = writeln!(text, "\n{title}{}", out.palette.paint(tone, &said));
    let mut line = |label: &str, words: &str| {
        text.push_str(&wrapped(
            words,
            &format!("  {label:<10}"),
            "            ",
            out.width,
        ));
    };
    line("verdict", &names.name_all(&verdict(account, one)));
    if one.forced {
        line(
            "FORCED",
            "a route is taken that was not promised; what arrives may be lost or wrong",
        );
    }
    let Some(report) = &one.report else {
        if one.judgement == Some(Judgement::RefusedAsPromised) {
            line("seen", "nothing: it was not tried (--force-route tries it)");
        }
        return;
    };
    line("seen", &names.name_all(&seen(report)));
    for (label, figures) in ["pair", "by RAM"].iter().zip(report.figures.iter().flatten()) {
        line(label, &figures_of(figures));
    }
}

fn verdict(account: &Account, one: &Tried) -> String {
    let decides = match &one.route {
        None => "its own memory: nothing travels".to_owned(),
        Some(PeerRoute::Reached { map_type, .. }) => map_type.to_string(),
        Some(PeerRoute::Refused(why)) => why.to_string(),
    };
    let by = match account.by_kernel {
        true => "the kernel's rules",
        false => "PCI Express's rules",
    };
    let other = match account.by_kernel {
        true => format!("the specification: {}", promised(one.spec)),
        false => format!("Linux would say {}", one.linux),
    };
    match one.route {
        None => decides,
        Some(_) => {
            let promise = promised(one.promise);
            // A refusal may begin with the word that stands before it already.
            let why = (decides.strip_prefix(promise)).and_then(|rest| rest.strip_prefix(", "));
            format!("{promise}: {} (by {by}; {other})", why.unwrap_or(&decides))
        }
    }
}

pub(super) const fn promised(promise: Promise) -> &'static str {
    match promise {
        Promise::Reached => "reached",
        Promise::Refused => "refused",
        Promise::Unknown => "unknown",
    }
}

fn seen(report: &DirectionReport) -> String {
    let mut said = match &report.outcome {
        Outcome::Delivered => format!(
            "every byte arrived: {}, {} verified",
            count(report.cases as usize, "transfer"),
            count(
                usize::try_from(report.verified_bytes).unwrap_or(usize::MAX),
                "byte"
            ),
        ),
        Outcome::Corrupt(corruption) => format!("this route corrupts: {corruption}"),
        other => other.to_string(),
    };
    if let Some(case) = &report.case {
        let _ = write!(
            said,
            "; it was {} of {} at {:#x} of the memory, after {} that went well",
            count(case.operations as usize, "operation"),
            count(case.len_bytes as usize, "byte"),
            case.offset_bytes,
            count(report.cases as usize, "transfer"),
        );
    }
    if report.late_ns > 0 {
        let _ = write!(
            said,
            "; data came up to {} after its command had ended",
            duration(report.late_ns.saturating_mul(1000))
        );
    }
    if report.unfit > 0 {
        let _ = write!(
            said,
            "; {} the device cannot be told of",
            count(report.unfit as usize, "transfer")
        );
    }
    said
}

fn figures_of(figures: &Figures) -> String {
    let time = |ns: u64| duration(ns.saturating_mul(1000));
    format!(
        "{} alone: min {}, median {}, p99 {}; {} x {} at once: {}",
        bytes(figures.latency_bytes.into()),
        time(figures.min_ns),
        time(figures.median_ns),
        time(figures.p99_ns),
        figures.depth,
        bytes(figures.bandwidth_bytes.into()),
        rate(figures),
    )
}

fn rate(figures: &Figures) -> String {
    let rate = figures.bytes_per_second();
    rate.map_or_else(|| "?".to_owned(), |rate| format!("{} GB/s", gigabytes(rate)))
}
