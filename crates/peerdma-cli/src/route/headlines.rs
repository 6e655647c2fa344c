//! The answers in one sentence each, at the head of an explanation.

use super::{Direction, Explanation};
use crate::args::Policy;
use crate::layout::wrapped;
use crate::report::Out;
use crate::style::Tone;
use crate::{names, reason};
use peerdma::route::{Access, Answer, MapType};

/// Writes a sentence for each direction, two where reading and writing differ.
pub(super) fn write(explanation: &Explanation<'_>, out: &Out, text: &mut String) {
    for direction in [&explanation.there, &explanation.back] {
        let [read, write] = Access::ALL.map(|access| direction.answer(access, explanation.class));
        let mut line = |verb, answer| text.push_str(&headline(explanation, direction, verb, answer, out));
        if read == write {
            line("read and write", read);
        } else {
            line("read", read);
            line("write", write);
        }
    }
}

fn headline(
    explanation: &Explanation<'_>,
    direction: &Direction,
    verb: &str,
    answer: Answer,
    out: &Out,
) -> String {
    let spoken = |node| names::spoken(explanation.topology().function(node));
    let (client, provider) = (spoken(direction.client), spoken(direction.provider));
    // Linux permits; by the specification it works or does not.
    let (may, may_not, refused) = match explanation.policy {
        Policy::Spec => ("can", "cannot", "it would not arrive"),
        Policy::Linux | Policy::Next | Policy::All => ("may", "may not", "Linux refuses"),
    };
    let (tone, line) = match answer.map_type() {
        Some(MapType::BusAddr) => {
            let bridge = reason::meeting(&direction.evidence);
            let bridge = bridge.map_or_else(String::new, |bdf| format!(" below the bridge {bdf}"));
            (
                Tone::Good,
                format!("{client} {may} {verb} the memory of {provider}: directly{bridge}."),
            )
        }
        Some(MapType::ThruHostBridge) => (
            Tone::Fair,
            format!("{client} {may} {verb} the memory of {provider}: through the root complex."),
        ),
        Some(MapType::NotSupported) => (
            Tone::Bad,
            format!(
                "{client} {may_not} {} the memory of {provider}: {refused}.",
                verb.replace("and", "or"),
            ),
        ),
        None => (
            Tone::Doubt,
            format!(
                "Whether {client} {may} {verb} the memory of {provider} is unknown: {}.",
                possible(answer)
            ),
        ),
    };
    let line = wrapped(&line, "", "  ", out.width);
    out.palette.paint(tone, line.trim_end_matches('\n')) + "\n"
}

/// What an unknown answer may turn out to be.
fn possible(answer: Answer) -> String {
    let words: Vec<&str> = answer
        .possible()
        .map(|map_type| match map_type {
            MapType::NotSupported => "refused",
            MapType::BusAddr => "directly",
            MapType::ThruHostBridge => "through the root complex",
        })
        .collect();
    if answer.surely_reached() {
        format!("{}, so it is reached either way", words.join(" or "))
    } else {
        words.join(" or ")
    }
}
