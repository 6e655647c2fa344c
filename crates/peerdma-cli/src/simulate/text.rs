//! What became of a script's transfers, for reading: a table, the way of each, and what links carried.

use super::Run;
use super::way::{self, Ended, Way};
use crate::figures::{Cell, duration, gigabytes, table};
use crate::layout::{bytes, count, padded, wrapped};
use crate::report::Out;
use crate::style::Tone;
use peerdma::fact::Fact;
use peerdma::snapshot::IommuMode;
use peerdma_sim::fabric::Route;
use peerdma_sim::machine::Carried;
use peerdma_sim::script::{Expected, Fates, Form, Moved, Range, Told};
use peerdma_sim::tlp::Access;
use std::fmt::Write as _;

/// Ranges that are shown of one transfer.
const MOST_RANGES: usize = 8;

/// Transfers whose ways are shown.
const MOST_WAYS: usize = 16;

pub(super) fn draw(run: &Run<'_>, out: &Out) -> String {
    let report = run.report;
    let all: u64 = report.transfers.iter().map(|moved| moved.bytes).sum();
    let heading = format!(
        "{}, script {}: {}, {}, {} of simulated time.",
        run.shown.source.name(),
        run.script_name,
        count(report.transfers.len(), "transfer"),
        bytes(all),
        duration(report.ended.as_ps()),
    );
    let mut text = wrapped(&heading, "", "  ", out.width);
    text.push('\n');
    text.push_str(&transfers(run, out));
    for (index, moved) in report.transfers.iter().enumerate().take(MOST_WAYS) {
        text.push('\n');
        write_ways(&mut text, run, out, index, moved);
    }
    if report.transfers.len() > MOST_WAYS {
        text.push_str("\nThe ways of the others: --json holds them.\n");
    }
    text.push('\n');
    text.push_str(&carried(run, out));
    text.push('\n');
    let unexpected = report
        .transfers
        .iter()
        .filter(|moved| !moved.is_as_expected())
        .count();
    let judged = report
        .transfers
        .iter()
        .filter(|moved| moved.expected.is_some())
        .count();
    let mut end = format!("{} got nowhere.", count(report.lost_tlps as usize, "packet"));
    if report.refused_writes > 0 {
        let _ = write!(
            end,
            " {} found no memory to go to.",
            count(report.refused_writes as usize, "write")
        );
    }
    if judged > 0 {
        let _ = write!(
            end,
            " As expected: {} of {}.",
            judged - unexpected,
            count(judged, "transfer")
        );
    }
    text.push_str(&wrapped(&end, "", "  ", out.width));
    text
}

fn transfers(run: &Run<'_>, out: &Out) -> String {
    let plain = |text: String| (text, None);
    let titles = [
        "#", "NAME", "FROM", "TO", "BYTES", "BY", "BECAME", "IT SAYS", "TIME", "GB/s", "EXPECTED",
    ];
    let mut rows = Vec::with_capacity(run.report.transfers.len());
    for (index, moved) in run.report.transfers.iter().enumerate() {
        let says_well = moved.told == Told::Success;
        let fate = moved.fates.whole();
        let says_tone = match (says_well, fate) {
            (true, Expected::Intact) => None,
            (true, _) => Some(Tone::Bad),
            (false, _) => Some(Tone::Doubt),
        };
        let (expected, expected_tone) = match moved.expected {
            None => (String::new(), None),
            Some(_) if moved.is_as_expected() => ("yes".into(), Some(Tone::Good)),
            Some(expected) => (format!("no: {}", word(expected)), Some(Tone::Bad)),
        };
        rows.push([
            plain((index + 1).to_string()),
            plain(moved.name.clone().unwrap_or_default()),
            plain(moved.from.clone()),
            plain(moved.to.clone()),
            plain(bytes(moved.bytes)),
            plain(format!("{} {}", moved.by_name, verb(moved.access))),
            (word(fate).into(), Some(tone(fate))),
            (said(moved.told), says_tone),
            plain(duration(moved.took_ps())),
            plain(moved.bytes_per_second().map_or_else(String::new, gigabytes)),
            (expected, expected_tone),
        ]);
    }
    table(&titles, &rows, out)
}

fn write_ways(text: &mut String, run: &Run<'_>, out: &Out, index: usize, moved: &Moved) {
    let name = moved
        .name
        .as_ref()
        .map_or_else(String::new, |name| format!(" {name}"));
    let (other, form) = match moved.access {
        Access::Read => (&moved.from, moved.form),
        Access::Write => (&moved.to, moved.form),
    };
    let iommu = run.shown.topology.snapshot().host.iommu;
    let form = match (form, iommu) {
        (Form::Bus, _) => "bus address",
        (Form::Host, Fact::Known(IommuMode::Translating)) => "I/O virtual address",
        (Form::Host, _) => "physical address",
    };
    let head = format!(
        "{}{name}: {} {} {other} at {form} {:#x}, {} requests",
        index + 1,
        way::spoken(run, moved.by),
        verb(moved.access),
        moved.address,
        moved.class.word(),
    );
    text.push_str(
        &out.palette
            .paint(Tone::Strong, &wrapped(&head, "", "   ", out.width)),
    );
    write_way(text, run, out, "request", &moved.request);
    if let Some(back) = &moved.completion {
        write_way(text, run, out, "completion", back);
    }
    write_ranges(text, out, &moved.fates);
}

const LABEL_COLUMNS: usize = 15;

fn write_way(text: &mut String, run: &Run<'_>, out: &Out, label: &str, route: &Route) {
    let way = Way::new(run, route);
    let indent = " ".repeat(LABEL_COLUMNS);
    let crossed = match way.crossed.is_empty() {
        true => "stays inside the device".into(),
        false => way.crossed.join(" > "),
    };
    text.push_str(&wrapped(
        &crossed,
        &padded(&format!("   {label}"), LABEL_COLUMNS),
        &indent,
        out.width,
    ));
    for decision in &way.decisions {
        let line = wrapped(
            decision,
            &format!("{indent}- "),
            &format!("{indent}  "),
            out.width,
        );
        text.push_str(&out.palette.paint(Tone::Faint, &line));
    }
    let (ended, tone) = match way.ended {
        Ended::At(place) => (format!("arrives at {place}"), Tone::Good),
        Ended::Lost { at, why } => (format!("✗ ends at {at}: {why}"), Tone::Bad),
    };
    text.push_str(
        &out.palette
            .paint(tone, &wrapped(&ended, &indent, &indent, out.width)),
    );
}

fn write_ranges(text: &mut String, out: &Out, fates: &Fates) {
    let indent = " ".repeat(LABEL_COLUMNS);
    let mut label = padded("   bytes", LABEL_COLUMNS);
    for range in fates.ranges.iter().take(MOST_RANGES) {
        let _ = writeln!(
            text,
            "{label}{}",
            out.palette.paint(tone(range.fate), &span(range))
        );
        label.clone_from(&indent);
    }
    let more = fates.ranges.len().saturating_sub(MOST_RANGES) as u64 + fates.further_ranges;
    if more > 0 {
        let sums = format!(
            "{}; in all {} intact, {} lost, {} all ones, {} wrong",
            count(more as usize, "further range"),
            fates.intact_bytes,
            fates.lost_bytes,
            fates.all_ones_bytes,
            fates.wrong_bytes
        );
        text.push_str(&wrapped(&sums, &indent, &indent, out.width));
    }
}

fn span(range: &Range) -> String {
    let last = range.offset + range.len_bytes - 1;
    format!("{:#x} to {last:#x} {}", range.offset, explained(range.fate))
}

/// What links and RAM carried: packets, data, and how busy they were.
fn carried(run: &Run<'_>, out: &Out) -> String {
    let titles = [
        "LINK",
        "UP: PACKETS",
        "DATA",
        "BUSY",
        "DOWN: PACKETS",
        "DATA",
        "BUSY",
    ];
    let span_ps = run.report.ended.as_ps();
    let counters = &run.report.counters;
    let cells = |carried: &Carried| -> [Cell; 3] {
        let data = carried.payload.data_bytes + carried.queue.data_bytes;
        let busy = carried.utilisation_permille(span_ps);
        [
            (carried.tlps().to_string(), None),
            (bytes(data), None),
            (format!("{}.{}%", busy / 10, busy % 10), None),
        ]
    };
    let none = || (String::new(), None);
    let mut rows: Vec<[Cell; 7]> = Vec::new();
    for link in &counters.links {
        if link.up.tlps() + link.down.tlps() == 0 {
            continue;
        }
        let (port, device) = way::ends(run, link.link);
        let name = device.map_or_else(|| port.clone(), |device| format!("{port} - {device}"));
        let ([a, b, c], [d, e, f]) = (cells(&link.up), cells(&link.down));
        rows.push([(name, None), a, b, c, d, e, f]);
    }
    for (bridge, carried) in &counters.conventional {
        let name = format!("conventional bus below {}", way::called(run, *bridge));
        let [a, b, c] = cells(carried);
        rows.push([(name, None), a, b, c, none(), none(), none()]);
    }
    if counters.ram.tlps() > 0 {
        let [a, b, c] = cells(&counters.ram);
        rows.push([("host RAM".into(), None), a, b, c, none(), none(), none()]);
    }
    match rows.is_empty() {
        true => "No link carried anything.\n".into(),
        false => table(&titles, &rows, out),
    }
}

fn verb(access: Access) -> &'static str {
    match access {
        Access::Read => "reads",
        Access::Write => "writes",
    }
}

fn said(told: Told) -> String {
    match told {
        Told::Success => "success".into(),
        Told::Error { what, .. } => what.into(),
        Told::Nothing => "nothing".into(),
    }
}

fn word(fate: Expected) -> &'static str {
    match fate {
        Expected::AllOnes => "all ones",
        other => other.word(),
    }
}

fn explained(fate: Expected) -> &'static str {
    match fate {
        Expected::Intact => "arrived",
        Expected::Lost => "did not arrive: what was there before is still there",
        Expected::AllOnes => "are all ones instead",
        Expected::Wrong | Expected::Mixed => "are something else",
    }
}

fn tone(fate: Expected) -> Tone {
    match fate {
        Expected::Intact => Tone::Good,
        Expected::Mixed => Tone::Doubt,
        Expected::Lost | Expected::AllOnes | Expected::Wrong => Tone::Bad,
    }
}
