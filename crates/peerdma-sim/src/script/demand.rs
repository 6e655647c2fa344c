//! How much memory a script uses: one that uses more than its machine may hold is refused before anything happens.
//!
//! [`super::run()`] asks once the machine is built. What the machine writes elsewhere is not foreseen: where memory has run
//! out by then, such writes are lost, and counted.

use super::Script;
use super::error::{ScriptError, Wrong};
use super::names::Names;
use crate::machine::Machine;
use crate::memory::{BankId, Banks, Place};
use std::collections::BTreeMap;

/// May the machine hold all that the script's transfers read and write?
///
/// # Errors
/// [`Wrong::Budget`] at the first transfer that is too much; an error of [`Names::side`] where a place does not exist.
pub(super) fn check(script: &Script, machine: &mut Machine, names: &Names<'_>) -> Result<(), ScriptError> {
    let banks = machine.banks();
    let (room_bytes, budget_bytes) = (banks.room_bytes(), banks.budget_bytes());
    let mut demand = Demand::default();
    for line in &script.transfers {
        for spot in [&line.from, &line.to] {
            let side = names.side(machine, spot, line.bytes)?;
            demand.add(side.place, line.bytes);
        }
        let need_bytes = demand.bytes();
        if need_bytes > room_bytes {
            let wrong = Wrong::Budget {
                need_bytes,
                budget_bytes,
            };
            return Err(wrong.at(line.at));
        }
    }
    Ok(())
}

/// Chunks that come into being, each once.
#[derive(Debug, Default)]
struct Demand {
    /// Bank and first chunk of runs that do not touch, each with its last chunk.
    runs: BTreeMap<(BankId, u64), u64>,
    chunks: u64,
}

impl Demand {
    /// Of a range that is not empty.
    fn add(&mut self, place: Place, len_bytes: u64) {
        let mut first = place.offset / Banks::CHUNK_BYTES;
        let mut last = place.offset.saturating_add(len_bytes.saturating_sub(1)) / Banks::CHUNK_BYTES;
        let touches = |(start, end): &((BankId, u64), u64), first: u64| {
            start.0 == place.bank && end.saturating_add(1) >= first
        };
        // From the end: the run that starts last of those that start early enough to touch.
        while let Some((start, end)) = self
            .runs
            .range(..=(place.bank, last.saturating_add(1)))
            .next_back()
            .map(|(start, end)| (*start, *end))
            .filter(|run| touches(run, first))
        {
            self.runs.remove(&start);
            self.chunks -= end - start.1 + 1;
            first = first.min(start.1);
            last = last.max(end);
        }
        self.runs.insert((place.bank, first), last);
        self.chunks += last - first + 1;
    }

    fn bytes(&self) -> u64 {
        self.chunks.saturating_mul(Banks::CHUNK_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn every_chunk_counts_once(
            ranges in proptest::collection::vec((0..2usize, 0..40u64, 1..9u64, 0..3u64), 0..40),
        ) {
            let mut banks = Banks::new(0);
            let ids = [banks.add(1 << 30), banks.add(1 << 30)];
            let mut demand = Demand::default();
            let mut chunks = BTreeSet::new();
            for (bank, first, count, cut) in ranges {
                let offset = first * Banks::CHUNK_BYTES + cut;
                demand.add(Place { bank: ids[bank], offset }, count * Banks::CHUNK_BYTES - cut);
                chunks.extend((first..first + count).map(|chunk| (bank, chunk)));
            }
            prop_assert_eq!(demand.bytes(), chunks.len() as u64 * Banks::CHUNK_BYTES);
        }
    }
}
