//! Where in a BAR requests may begin to go another way than those for its start.
//!
//! Windows that firmware laid hold whole BARs. On a machine where one does not, or where RAM or another BAR covers a part, a verdict for the
//! start of a BAR is none for the rest.

use super::facts::Machine;
use super::root_complex::INTERRUPTS;
use crate::addr::Address;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

impl Machine<'_> {
    /// For a BAR of a size, from its address on the bus and in the memory map on.
    pub(super) fn seams(&self, bus: u64, phys: Option<u64>, size_bytes: u64) -> Vec<u64> {
        // By which addresses its first byte may be known on the way.
        let mut names = BTreeSet::from([bus]);
        names.extend(phys);
        for root in self.roots() {
            let offset = root.inbound_offset.known().unwrap_or(0);
            names.extend(bus.checked_add_signed(offset));
            names.extend(phys.and_then(|phys| u64::try_from(i128::from(phys) - i128::from(offset)).ok()));
        }
        let mut seams = BTreeSet::new();
        let mut add = |first: u64, last: u64| {
            for name in &names {
                let marks = [Some(first), last.checked_add(1)];
                let into = marks
                    .into_iter()
                    .flatten()
                    .filter_map(|mark| mark.checked_sub(*name));
                seams.extend(into.filter(|into| *into > 0 && *into < size_bytes));
            }
        };
        for (first, last) in self.claims.spans() {
            add(first, last);
        }
        let windows = self.roots().iter().filter_map(|root| root.windows.known());
        for window in windows.flatten() {
            let (first, last) = (window.bus.first().to_u64(), window.bus.last().to_u64());
            add(first, last);
            let first = window.phys.to_u64();
            add(first, first.saturating_add(window.bus.len_minus_one()));
        }
        let ram = self.topology.snapshot().host.ram.as_ref().known();
        for span in ram.into_iter().flatten() {
            add(span.first().to_u64(), span.last().to_u64());
        }
        add(*INTERRUPTS.start(), *INTERRUPTS.end());
        seams.into_iter().collect()
    }
}
