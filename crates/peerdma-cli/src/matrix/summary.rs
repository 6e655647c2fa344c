//! How many pairs got which answer, and what the unknown ones lack.

use super::Pairs;
use crate::advice::{Lacking, Missing};
use crate::args::Policy;
use crate::judges::{self, Judge};
use crate::layout::{count, wrapped};
use crate::rates::NoRate;
use crate::report::Out;
use crate::style::Tone;
use peerdma::route::{Access, MapType, Verdict};
use peerdma::topology::NodeId;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Unknown pairs that are looked into; the others lack the same facts.
const MOST_LOOKED_INTO: usize = 5_000;

/// Reasons for missing estimates that are shown.
const MOST_REASONS: usize = 5;

/// Counts over ordered pairs; a pair counts by its weaker access. A function with itself is among them
/// only where the table has another code than `=` for it.
#[derive(Debug, Default)]
pub(super) struct Summary {
    direct: usize,
    through: usize,
    refused: usize,
    /// Of the refused ones, those where one of reading and writing is refused and the other reached.
    partly: usize,
    unknown: usize,
    /// Of the unknown ones, those that are reached whatever the missing facts are.
    reached: usize,
    missing: Missing,
    /// The same for the specification.
    lacking: Lacking,
    /// Pairs without an estimate by what is missing.
    unrated: BTreeMap<String, usize>,
}

impl Summary {
    pub(super) fn count(&mut self, pairs: &Pairs<'_>, provider: NodeId, client: NodeId, verdict: &Verdict) {
        let answers = Access::ALL.map(|access| verdict.answer(access, pairs.class));
        let all = |map_type| answers.iter().all(|answer| answer.map_type() == Some(map_type));
        if answers.iter().any(|answer| answer.surely_refused()) {
            self.refused += 1;
            self.partly += usize::from(answers.iter().any(|answer| answer.surely_reached()));
        } else if answers.iter().any(|answer| answer.map_type().is_none()) {
            self.unknown += 1;
            self.reached += usize::from(answers.iter().all(|answer| answer.surely_reached()));
            if self.unknown <= MOST_LOOKED_INTO {
                self.look_into(pairs, provider, client);
            }
        } else if all(MapType::BusAddr) {
            self.direct += 1;
        } else {
            self.through += 1;
        }
    }

    /// Finds out what an unknown pair lacks.
    fn look_into(&mut self, pairs: &Pairs<'_>, provider: NodeId, client: NodeId) {
        match &pairs.judge {
            Judge::Linux(judge) => {
                let evidence = judge.evidence(provider, client, pairs.class);
                self.missing.add(judge, &evidence, [provider, client]);
            }
            Judge::Spec(judge) => {
                for (at, missing) in judges::lacking(judge, provider, client, pairs.class) {
                    self.lacking.add(at, missing);
                }
            }
        }
    }

    /// One more pair has no estimate of its bandwidth.
    pub(super) fn count_unrated(&mut self, why: &NoRate) {
        *self.unrated.entry(why.words()).or_default() += 1;
    }

    pub(super) fn write(&self, pairs: &Pairs<'_>, out: &Out, text: &mut String) {
        let all = self.direct + self.through + self.refused + self.unknown;
        let partly = match self.partly {
            0 => String::new(),
            partly => format!(" ({partly} of them for one of reading and writing only)"),
        };
        let mut counts = format!(
            "{all} ordered pairs: {} direct, {} through the root complex, {} refused{partly}, {} unknown",
            self.direct, self.through, self.refused, self.unknown
        );
        if self.reached > 0 {
            let _ = write!(counts, " ({} of them reached either way)", self.reached);
        }
        text.push('\n');
        text.push_str(&wrapped(&format!("{counts}."), "", "  ", out.width));
        let mut advice = self.missing.advice(pairs.machine, "matrix");
        advice.extend(self.lacking.advice(pairs.machine, "matrix --policy spec"));
        for advice in advice {
            let unknown = format!("Unknown: {}.", advice.unknown);
            text.push_str(
                &out.palette
                    .paint(Tone::Doubt, &wrapped(&unknown, "", "  ", out.width)),
            );
            text.push_str(&wrapped(&advice.settle, "  to settle it: ", "    ", out.width));
        }
        self.write_unrated(out, text);
        if all > 0 {
            let policy = match pairs.policy {
                Policy::Spec => " --policy spec",
                Policy::Linux | Policy::Next | Policy::All => "",
            };
            let words = format!("Why a pair is as it is: peerdma route CLIENT PROVIDER{policy}");
            text.push_str(&wrapped(&words, "", "  ", out.width));
        }
    }

    fn write_unrated(&self, out: &Out, text: &mut String) {
        let mut reasons: Vec<(&String, &usize)> = self.unrated.iter().collect();
        // The sort is stable: those of one count stay in the order of their words.
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let (shown, more) = reasons.split_at(reasons.len().min(MOST_REASONS));
        for (why, pairs) in shown {
            let words = format!("No estimate for {}: {why}.", count(**pairs, "pair"));
            text.push_str(
                &out.palette
                    .paint(Tone::Doubt, &wrapped(&words, "", "  ", out.width)),
            );
        }
        if !more.is_empty() {
            let pairs = more.iter().map(|(_, pairs)| **pairs).sum();
            let words = format!(
                "No estimate for {} for {}; --format json names each.",
                count(pairs, "more pair"),
                count(more.len(), "other reason")
            );
            text.push_str(
                &out.palette
                    .paint(Tone::Doubt, &wrapped(&words, "", "  ", out.width)),
            );
        }
    }
}
