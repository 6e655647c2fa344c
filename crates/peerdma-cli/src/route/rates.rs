//! What the links let through, for one direction of a pair.

use super::{Direction, Explanation};
use crate::layout::wrapped;
use crate::rates::{NoRate, Rate, gigabytes, may_be_internal};
use crate::report::Out;
use crate::style::Tone;
use peerdma::route::bandwidth::{Estimate, Estimator, LinkDirection, NoEstimate, Training};
use peerdma::route::{Access, MapType, TlpClass};
use peerdma::topology::Topology;

/// Reading and writing, in the links' present state and at their best.
pub(super) struct Rates {
    pub(super) now: [Rate; 2],
    pub(super) best: [Rate; 2],
}

impl Rates {
    pub(super) fn new(estimator: &Estimator<'_>, direction: &Direction, class: TlpClass) -> Self {
        let ends = (direction.client, direction.provider);
        let rates = |training| {
            Access::ALL.map(|access| {
                let answer = direction.answer(access, class);
                Rate::new(estimator, ends, access, answer, training)
            })
        };
        Self {
            now: rates(Training::Now),
            best: rates(Training::Best),
        }
    }

    /// Is a number limited by a link that may lie within a package?
    fn is_doubtful(&self) -> bool {
        self.now.iter().any(|rate| {
            matches!(rate, Rate::Known(found) if may_be_internal(found.counted, found.limiting.best.known()))
        })
    }

    /// Is there an estimate at all?
    fn is_known(&self) -> bool {
        self.now.iter().any(|rate| matches!(rate, Rate::Known(_)))
    }
}

/// Writes both directions, and what to make of the numbers.
pub(super) fn write_all(explanation: &Explanation<'_>, rates: &[Rates; 2], out: &Out, text: &mut String) {
    let mut through = false;
    for (direction, rates) in [&explanation.there, &explanation.back].into_iter().zip(rates) {
        write(rates, explanation.topology(), direction, out, text);
        through |= rates.is_known()
            && Access::ALL.iter().any(|&access| {
                let answer = direction.answer(access, explanation.class);
                answer.allows(MapType::ThruHostBridge)
            });
    }
    let mut paragraph = |words: &str| text.push_str(&wrapped(words, "  ", "  ", out.width));
    if rates.iter().any(Rates::is_doubtful) {
        paragraph(
            "2.5 GT/s x1 may be the link between the parts of one package: there, rate and width need not mean anything, and \
             some cards state the smallest that there is.",
        );
    }
    if through {
        paragraph(
            "What a root complex forwards, and how fast, is nowhere to be read: it may be slower than any of these links.",
        );
    }
    paragraph(
        "Payload alone, the client never waiting: devices may be slower, and other flows take their share (docs/bandwidth.md).",
    );
}

/// Writes what is known of one direction.
fn write(rates: &Rates, topology: &Topology, direction: &Direction, out: &Out, text: &mut String) {
    let at = |node| topology.function(node).bdf.to_string();
    let (client, provider) = (at(direction.client), at(direction.provider));
    for (index, access) in Access::ALL.into_iter().enumerate() {
        let verb = if access == Access::Read {
            "reads "
        } else {
            "writes"
        };
        let label = format!("  {client} {verb} {provider}  ");
        let (tone, words) = match &rates.now[index] {
            Rate::Refused => (Tone::Bad, "refused".to_owned()),
            Rate::Unknown(why) => (Tone::Doubt, format!("unknown: {}", why.words())),
            Rate::Known(found) if found.bytes_per_second == 0 => (
                Tone::Bad,
                format!("0: the link above {} is down", found.limiting.below),
            ),
            Rate::Known(found) => (
                Tone::Strong,
                format!("{} GB/s", gigabytes(found.bytes_per_second)),
            ),
        };
        let more = match &rates.now[index] {
            Rate::Known(found) if found.bytes_per_second > 0 => format!("  {}", limit(found)),
            _ => String::new(),
        };
        // Where the terminal is narrow, further lines begin near its left edge.
        let next = " ".repeat(if label.len() * 2 > out.width {
            6
        } else {
            label.len()
        });
        let lines = wrapped(&format!("{words}{more}"), &label, &next, out.width);
        text.push_str(&label);
        text.push_str(&paint_first(
            lines.get(label.len()..).unwrap_or_default().trim_end(),
            &words,
            tone,
            out,
        ));
        text.push('\n');
        for note in notes(&rates.now[index], &rates.best[index]) {
            text.push_str(&wrapped(&note, "    ", "    ", out.width));
        }
    }
}

/// `of 3.9 on the link between 02:11.0 and 05:00.0, up`.
fn limit(found: &Estimate) -> String {
    let above = found.limiting.above.map_or_else(
        || "a port that is not in the source".into(),
        |above| above.to_string(),
    );
    let (from, to) = match found.direction {
        LinkDirection::Up => (found.limiting.below.to_string(), above),
        LinkDirection::Down => (above, found.limiting.below.to_string()),
    };
    format!(
        "of {} from {from} to {to}: {}, payload {} bytes",
        gigabytes(found.raw_bytes_per_second),
        found.counted,
        found.payload_bytes
    )
}

/// What the best state of the links would change.
fn notes(now: &Rate, best: &Rate) -> Vec<String> {
    let mut notes = Vec::new();
    let Rate::Known(now) = now else {
        return notes;
    };
    match best {
        Rate::Known(best) if best.bytes_per_second > now.bytes_per_second => notes.push(format!(
            "{} GB/s at the best that the links can do, limited by the one above {} ({})",
            gigabytes(best.bytes_per_second),
            best.limiting.below,
            best.counted
        )),
        Rate::Unknown(NoRate::Links(NoEstimate::Missing { at, .. })) => notes.push(format!(
            "what it would be at the best that the links can do is unknown: one end of the link above {at} does not tell"
        )),
        Rate::Known(_) | Rate::Unknown(_) | Rate::Refused => {}
    }
    notes
}

fn paint_first(lines: &str, words: &str, tone: Tone, out: &Out) -> String {
    match lines.strip_prefix(words) {
        Some(rest) => out.palette.paint(tone, words) + rest,
        None => lines.to_owned(),
    }
}
