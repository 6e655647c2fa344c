//! What is said of a measurement.

use super::measure::Figures;
use super::wanted::Wanted;
use crate::args::{BenchArgs, PatternArg, RwArg};
use crate::figures::{duration, gigabytes};
use crate::ground::Sort;
use crate::layout::{bytes, wrapped};
use crate::report::Out;
use crate::style::Tone;

/// What writes have left behind.
pub(super) fn became(args: &BenchArgs, wanted: &Wanted, figures: &Figures) -> String {
    let last = wanted.load.first_lba.saturating_add(wanted.load.blocks);
    format!(
        "blocks {}..{last} of {} were overwritten, by {} writes of {}",
        wanted.load.first_lba,
        args.volume,
        figures.measured.operations,
        bytes(wanted.each_bytes.into()),
    )
}

/// All of it.
pub(super) fn write(args: &BenchArgs, wanted: &Wanted, figures: &Figures, sort: Sort, out: &Out) -> String {
    let heading = format!(
        "{}: {} {} of {}, {} at once, data in {} ({} machine)",
        args.volume,
        match args.pattern {
            PatternArg::Random => "random",
            PatternArg::Sequential => "sequential",
        },
        match args.rw {
            RwArg::Read => "reads",
            RwArg::Write => "writes",
        },
        bytes(wanted.each_bytes.into()),
        wanted.depth,
        figures
            .via
            .as_deref()
            .map_or_else(|| "RAM".to_owned(), |via| format!("memory of {via}")),
        sort.name(),
    );
    let heading = wrapped(&heading, "", "  ", out.width);
    let mut text = out.palette.paint(Tone::Strong, heading.trim_end());
    text.push('\n');
    let mut line = |label: &str, words: &str| {
        text.push_str(&wrapped(
            words,
            &format!("  {label:<12}"),
            "              ",
            out.width,
        ));
    };
    let measured = &figures.measured;
    let time = |ns: Option<u64>| ns.map_or_else(|| "?".to_owned(), |ns| duration(ns.saturating_mul(1000)));
    line(
        "operations",
        &format!(
            "{} in {}: {} a second, {} GB/s",
            measured.operations,
            time(Some(measured.took_ns)),
            per_second(measured.operations, measured.took_ns),
            gigabytes(per_second(measured.bytes, measured.took_ns)),
        ),
    );
    let latencies = &measured.latencies;
    line(
        "latency",
        &format!(
            "min {}, median {}, p99 {}, p99.9 {}, max {}",
            time(latencies.min_ns()),
            time(latencies.quantile_ns(50_000)),
            time(latencies.quantile_ns(99_000)),
            time(latencies.quantile_ns(99_900)),
            time(latencies.max_ns()),
        ),
    );
    // What a simulator costs says nothing of a driver.
    if sort == Sort::Live {
        line(
            "CPU time",
            &format!("{} an operation", time(cpu_each_ns(figures))),
        );
    }
    line(
        "through RAM",
        &format!("{} bytes of user data", figures.ram_payload_bytes),
    );
    if let Some(trouble) = &figures.trouble {
        let words = wrapped(&trouble.to_string(), "  FAILED: ", "     ", out.width);
        text.push_str(&out.palette.paint(Tone::Bad, &words));
    }
    text
}

pub(super) fn cpu_each_ns(figures: &Figures) -> Option<u64> {
    figures.cpu_ns.checked_div(figures.measured.operations)
}

/// How many a second.
pub(super) fn per_second(count: u64, took_ns: u64) -> u64 {
    let per_second = (u128::from(count) * 1_000_000_000).checked_div(took_ns.into());
    per_second.map_or(0, |per_second| u64::try_from(per_second).unwrap_or(u64::MAX))
}
