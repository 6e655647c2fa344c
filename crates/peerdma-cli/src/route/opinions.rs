//! What Linux, the posted rewrite and the specification say of one pair, side by side.

use super::Explanation;
use crate::describe::WHOM_TO_BELIEVE;
use crate::layout::{columns, padded, wrapped};
use crate::report::Out;
use crate::style::Tone;
use peerdma::route::linux::Kernel;
use peerdma::route::{Access, Answer, MapType};

/// An answer takes as many columns as the longest map type.
const ANSWER_COLUMNS: usize = 18;

/// Writes a line for each access of each direction, and whom to believe for what.
pub(super) fn write(explanation: &Explanation<'_>, out: &Out, text: &mut String) {
    let topology = explanation.topology();
    let mut lines = Vec::new();
    for direction in [&explanation.there, &explanation.back] {
        let at = |node| topology.function(node).bdf;
        for access in Access::ALL {
            let verb = if access == Access::Read { "reads" } else { "writes" };
            let label = format!("{} {verb} {}", at(direction.client), at(direction.provider));
            let answers = direction.verdicts.each_ref();
            lines.push((
                label,
                answers.map(|verdict| verdict.answer(access, explanation.class)),
            ));
        }
    }
    let label = lines.iter().map(|(label, _)| columns(label)).max().unwrap_or(0);
    // Narrow terminals get the codes of the matrix.
    let is_narrow = 2 + label + 3 * (ANSWER_COLUMNS + 2) > out.width;
    let cell = if is_narrow { 5 } else { ANSWER_COLUMNS };
    let linux = match explanation.linux {
        _ if is_narrow => "linux".to_owned(),
        Kernel::Unknown => "Linux 6.1 to 7.3".to_owned(),
        kernel => format!("Linux {kernel}"),
    };
    let mut titles = padded("", 2 + label);
    for title in [
        &linux[..],
        "next",
        if is_narrow { "spec" } else { "specification" },
    ] {
        titles.push_str("  ");
        titles.push_str(&padded(title, cell));
    }
    text.push_str(&out.palette.paint(Tone::Faint, titles.trim_end()));
    text.push('\n');
    for (what, answers) in &lines {
        text.push_str("  ");
        text.push_str(&padded(what, label));
        for (index, answer) in answers.iter().enumerate() {
            let (word, tone) = word(*answer);
            let word = if is_narrow { code(*answer).to_owned() } else { word };
            text.push_str("  ");
            text.push_str(&out.palette.paint(tone, &word));
            if index + 1 < answers.len() {
                text.push_str(&" ".repeat(cell.saturating_sub(columns(&word))));
            }
        }
        text.push('\n');
    }
    let differ = lines.iter().filter(|(_, [a, b, c])| a != b || b != c).count();
    let mut words = match differ {
        0 => "All three say the same. ".to_owned(),
        _ => String::new(),
    };
    words.push_str(WHOM_TO_BELIEVE);
    if differ > 0 {
        words.push_str(" Why by the specification: --policy spec.");
    }
    text.push_str(&wrapped(&words, "  ", "  ", out.width));
}

fn word(answer: Answer) -> (String, Tone) {
    let tone = match answer.map_type() {
        Some(MapType::BusAddr) => Tone::Good,
        Some(MapType::ThruHostBridge) => Tone::Fair,
        Some(MapType::NotSupported) => Tone::Bad,
        None => Tone::Doubt,
    };
    (answer.to_string(), tone)
}

fn code(answer: Answer) -> &'static str {
    match answer.map_type() {
        Some(MapType::BusAddr) => "B",
        Some(MapType::ThruHostBridge) => "H",
        Some(MapType::NotSupported) => "-",
        None => "?",
    }
}
