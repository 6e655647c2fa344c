//! The cache of translated addresses (address translation cache, PCIe Base 10.2).

use crate::device::Translation;
use crate::tlp::Access;
use std::collections::BTreeMap;

/// Translations by the first address that each is for; none overlaps another.
#[derive(Debug, Default)]
pub(super) struct Translations {
    by_iova: BTreeMap<u64, Translation>,
}

impl Translations {
    /// How many are held; one more, and all are forgotten: cheap, and drivers must not count on any of them.
    const MOST: usize = 1024;

    pub(super) fn len(&self) -> usize {
        self.by_iova.len()
    }

    pub(super) fn clear(&mut self) {
        self.by_iova.clear();
    }

    /// What is known from `iova` on.
    pub(super) fn find(&self, iova: u64) -> Option<Translation> {
        let (start, found) = self.by_iova.range(..=iova).next_back()?;
        let skipped = iova - start;
        (skipped < found.len_bytes).then(|| Translation {
            address: found.address.wrapping_add(skipped),
            len_bytes: found.len_bytes - skipped,
            ..*found
        })
    }

    pub(super) fn insert(&mut self, iova: u64, found: Translation) {
        self.invalidate(iova, found.len_bytes);
        if self.by_iova.len() >= Self::MOST {
            self.by_iova.clear();
        }
        self.by_iova.insert(iova, found);
    }

    /// Forgets every translation that has an address in the range.
    pub(super) fn invalidate(&mut self, iova: u64, len: u64) {
        let Some(last) = len.checked_sub(1).map(|more| iova.saturating_add(more)) else {
            return;
        };
        // Entries do not overlap, so they end in the order in which they start.
        while let Some((&start, found)) = self.by_iova.range(..=last).next_back() {
            if start.saturating_add(found.len_bytes - 1) < iova {
                return;
            }
            self.by_iova.remove(&start);
        }
    }
}

/// Does a translation give the right to do this?
pub(super) fn allows(found: &Translation, access: Access) -> bool {
    match access {
        Access::Read => found.may_read,
        Access::Write => found.may_write,
    }
}
