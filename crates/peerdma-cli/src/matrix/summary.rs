//! How many pairs got which answer, and what the unknown ones lack.

use super::Pairs;
use crate::advice::Missing;
use crate::layout::wrapped;
use crate::report::Out;
use crate::style::Tone;
use peerdma::route::{Access, MapType, Verdict};
use peerdma::topology::NodeId;
use std::fmt::Write as _;

/// Unknown pairs that are looked into; the others lack the same facts.
const MOST_LOOKED_INTO: usize = 5_000;

/// Counts over ordered pairs; a pair counts by its weaker access. A function with itself is among them
/// only where the table has another code than `=` for it.
#[derive(Debug, Default)]
pub(super) struct Summary {
    direct: usize,
    through: usize,
    refused: usize,
    unknown: usize,
    /// Of the unknown ones, those that are reached whatever the missing facts are.
    reached: usize,
    missing: Missing,
}

impl Summary {
    pub(super) fn count(&mut self, pairs: &Pairs<'_>, provider: NodeId, client: NodeId, verdict: &Verdict) {
        let answers = Access::ALL.map(|access| verdict.answer(access, pairs.class));
        let all = |map_type| answers.iter().all(|answer| answer.map_type() == Some(map_type));
        if answers.iter().any(|answer| answer.surely_refused()) {
            self.refused += 1;
        } else if answers.iter().any(|answer| answer.map_type().is_none()) {
            self.unknown += 1;
            self.reached += usize::from(answers.iter().all(|answer| answer.surely_reached()));
            if self.unknown <= MOST_LOOKED_INTO {
                let evidence = pairs.judge.evidence(provider, client, pairs.class);
                self.missing.add(&pairs.judge, &evidence, [provider, client]);
            }
        } else if all(MapType::BusAddr) {
            self.direct += 1;
        } else {
            self.through += 1;
        }
    }

    pub(super) fn write(&self, pairs: &Pairs<'_>, out: &Out, text: &mut String) {
        let all = self.direct + self.through + self.refused + self.unknown;
        let mut counts = format!(
            "{all} ordered pairs: {} direct, {} through the root complex, {} refused, {} unknown",
            self.direct, self.through, self.refused, self.unknown
        );
        if self.reached > 0 {
            let _ = write!(counts, " ({} of them reached either way)", self.reached);
        }
        text.push('\n');
        text.push_str(&wrapped(&format!("{counts}."), "", "  ", out.width));
        for advice in self.missing.advice(pairs.machine, "matrix") {
            let unknown = format!("Unknown: {}.", advice.unknown);
            text.push_str(
                &out.palette
                    .paint(Tone::Doubt, &wrapped(&unknown, "", "  ", out.width)),
            );
            text.push_str(&wrapped(&advice.settle, "  to settle it: ", "    ", out.width));
        }
        if all > 0 {
            text.push_str("Why a pair is as it is: peerdma route CLIENT PROVIDER\n");
        }
    }
}
