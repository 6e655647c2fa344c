//! Host RAM: which bank holds a physical address.

use crate::memory::{BankId, Banks, Place};
use peerdma::addr::{Address, PhysAddr, Span};

/// Host RAM, a bank for each range.
#[derive(Debug, Default)]
pub(super) struct Ram {
    /// First address, last address, bank; in the order of addresses.
    ranges: Vec<(u64, u64, BankId)>,
}

impl Ram {
    pub(super) fn new(spans: &[Span<PhysAddr>], banks: &mut Banks) -> Self {
        let mut spans: Vec<(u64, u64)> = (spans.iter())
            .map(|span| (span.first().to_u64(), span.last().to_u64()))
            .collect();
        spans.sort_unstable();
        let mut ranges: Vec<(u64, u64, BankId)> = Vec::new();
        for (first, last) in spans {
            // A range that another holds already is that memory.
            let first = match ranges.last() {
                Some((_, before, _)) if *before >= last => continue,
                Some((_, before, _)) => first.max(before + 1),
                None => first,
            };
            ranges.push((first, last, banks.add((last - first).saturating_add(1))));
        }
        Self { ranges }
    }

    /// Where the byte at `phys` is, and how many follow it in the same bank, at least 1.
    pub(super) fn find(&self, phys: u64) -> Option<(Place, u64)> {
        let after = self.ranges.partition_point(|(first, _, _)| *first <= phys);
        let (first, last, bank) = *self.ranges.get(after.checked_sub(1)?)?;
        let place = Place {
            bank,
            offset: phys - first,
        };
        (phys <= last).then(|| (place, (last - phys).saturating_add(1)))
    }
}
