//! One transfer of a probe, and all that are worth trying: sizes, places, depths and patterns.

use super::Pattern;
use crate::addr::{Address, PhysAddr, Span};
use crate::route::Access;
use alloc::vec::Vec;

/// One transfer: several operations at once where it is a deep one, each to the memory behind the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Case {
    /// What the initiator does to the memory.
    pub access: Access,
    /// What is moved.
    pub pattern: Pattern,
    /// Where in the memory, in bytes from its beginning.
    pub offset_bytes: u64,
    /// Bytes of one operation.
    pub len_bytes: u32,
    /// How many operations.
    pub operations: u32,
}

impl Case {
    /// Bytes of all operations.
    pub fn total_bytes(&self) -> u64 {
        u64::from(self.len_bytes) * u64::from(self.operations)
    }
}

/// What decides which transfers are possible.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) memory: Span<PhysAddr>,
    pub(super) block_bytes: u32,
    /// The most bytes of one operation.
    pub(super) max_bytes: u32,
    /// The most bytes of all operations of a case: as many blocks are there to be used.
    pub(super) total_bytes: u64,
    /// What every address is a multiple of.
    pub(super) align_bytes: u32,
    pub(super) depth: u32,
}

const PAGE_BYTES: u64 = 4096;
const LARGE_BYTES: u64 = 16 * PAGE_BYTES;

/// All cases of one direction, the plainest first.
pub(super) fn cases(access: Access, room: &Room) -> Vec<Case> {
    let mut found = Vec::new();
    let mut add = |pattern, offset_bytes: Option<u64>, len_bytes: u32, operations: u32| {
        let Some(offset_bytes) = offset_bytes else { return };
        let case = Case {
            access,
            pattern,
            offset_bytes,
            len_bytes,
            operations,
        };
        if room.takes(&case) && !found.contains(&case) {
            found.push(case);
        }
    };
    let sizes = room.sizes();
    let plain = (sizes.iter().copied()).find(|size| u64::from(*size) >= PAGE_BYTES);
    for size in plain.into_iter().chain(sizes.iter().copied()) {
        // What is large takes long to look at, and gets no more wrong at one place than at another.
        let places = match u64::from(size) > LARGE_BYTES {
            true => &[Place::Middle, Place::AcrossPages][..],
            false => &Place::ALL,
        };
        for place in places {
            add(Pattern::Addressed, room.offset(*place, size.into()), size, 1);
        }
    }
    for size in [sizes.first(), plain.as_ref()].into_iter().flatten() {
        for pattern in Pattern::ALL {
            add(pattern, room.offset(Place::Middle, u64::from(*size)), *size, 1);
        }
    }
    for size in [sizes.first(), plain.as_ref(), sizes.last()]
        .into_iter()
        .flatten()
    {
        let most = (room.total_bytes / u64::from(*size)).min(room.depth.into());
        let fits = room.len_bytes() / u64::from(*size);
        let operations = u32::try_from(most.min(fits)).unwrap_or(u32::MAX);
        if operations > 1 {
            let total_bytes = u64::from(operations) * u64::from(*size);
            let middle = room.offset(Place::Middle, total_bytes).filter(|at| {
                at.checked_add(total_bytes)
                    .is_some_and(|end| end <= room.len_bytes())
            });
            let at = middle.or_else(|| room.offset(Place::First, total_bytes));
            add(Pattern::Addressed, at, *size, operations);
        }
    }
    found
}

/// A place in the memory.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// At the beginning of a page in the middle.
    Middle,
    /// At its first byte that can be addressed.
    First,
    /// So that its last byte is written.
    Last,
    /// As little behind the beginning of a page as can be.
    InPage,
    /// As little before the end of a page as can be: what is longer crosses into the next.
    AcrossPages,
    /// In the middle of a page.
    HalfPage,
}

impl Place {
    const ALL: [Self; 6] = [
        Self::Middle,
        Self::First,
        Self::Last,
        Self::InPage,
        Self::AcrossPages,
        Self::HalfPage,
    ];
}

impl Room {
    fn len_bytes(&self) -> u64 {
        self.memory.len_bytes().unwrap_or(u64::MAX)
    }

    /// A block, around a page, some pages, the largest.
    fn sizes(&self) -> Vec<u32> {
        let block = self.block_bytes.max(1);
        let most = self
            .max_bytes
            .min(u32::try_from(self.len_bytes()).unwrap_or(u32::MAX));
        let most = most.min(u32::try_from(self.total_bytes).unwrap_or(u32::MAX)) / block * block;
        let page = PAGE_BYTES as u32;
        let wanted = [
            block,
            block.saturating_mul(2),
            page.saturating_sub(block),
            page,
            page.saturating_add(block),
            2 * page,
            16 * page,
            most.saturating_sub(page) / block * block,
            most,
        ];
        let mut sizes: Vec<u32> = (wanted.into_iter())
            .filter(|size| *size >= block && size.is_multiple_of(block) && *size <= most)
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Where a transfer begins, from the beginning of the memory.
    fn offset(&self, place: Place, len_bytes: u64) -> Option<u64> {
        let first = self.memory.first().to_u64();
        let align = u64::from(self.align_bytes.max(1));
        let start = first.checked_next_multiple_of(align)?;
        let end = first.checked_add(self.len_bytes())?;
        let middle = first.checked_add(self.len_bytes() / 2)?;
        let mut page = middle.checked_next_multiple_of(PAGE_BYTES)?;
        // In small memory the middle is as near to the beginning as it must be.
        let fits = |page: u64| page.checked_add(len_bytes).is_some_and(|last| last <= end);
        while !fits(page) && page >= first.checked_add(PAGE_BYTES)? {
            page -= PAGE_BYTES.max((page - first) / 2 / PAGE_BYTES * PAGE_BYTES);
        }
        let page = page.max(start);
        let at = match place {
            Place::Middle => page,
            Place::First => start,
            Place::Last => end.checked_sub(len_bytes)? / align * align,
            Place::InPage => page.checked_add(align)?,
            Place::AcrossPages => page.checked_add(PAGE_BYTES.checked_sub(align)?)?,
            Place::HalfPage => page.checked_add(PAGE_BYTES / 2)?,
        };
        at.is_multiple_of(align).then(|| at.checked_sub(first))?
    }

    fn takes(&self, case: &Case) -> bool {
        let fits = case.offset_bytes.checked_add(case.total_bytes());
        case.len_bytes > 0
            && fits.is_some_and(|end| end <= self.len_bytes())
            && case.total_bytes() <= self.total_bytes
            && case.len_bytes <= self.max_bytes
            && case.len_bytes.is_multiple_of(self.block_bytes.max(1))
            && (case.operations == 1 || case.len_bytes.is_multiple_of(self.align_bytes.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    fn room(first: u64, len: u64) -> Room {
        Room {
            memory: Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(first + len - 1)).unwrap(),
            block_bytes: 512,
            max_bytes: 128 << 10,
            total_bytes: 1 << 20,
            align_bytes: 4,
            depth: 32,
        }
    }

    #[test]
    fn the_first_and_the_last_byte_are_written_and_pages_are_crossed() {
        let room = room(0x1000_0000, 1 << 20);
        let cases = cases(Access::Write, &room);
        let has = |is: &dyn Fn(&Case) -> bool| cases.iter().any(is);
        assert!(has(&|case| case.offset_bytes == 0));
        assert!(has(&|case| case.offset_bytes + case.total_bytes() == 1 << 20));
        assert!(has(&|case| case.offset_bytes % 4096 == 4092 && case.len_bytes > 4));
        assert!(has(&|case| case.offset_bytes % 4096 == 4));
        assert!(has(&|case| case.len_bytes == 512) && has(&|case| case.len_bytes == 128 << 10));
        assert!(has(&|case| case.operations == 32));
        assert!(
            Pattern::ALL
                .iter()
                .all(|pattern| has(&|case| case.pattern == *pattern))
        );
    }

    proptest! {
        #[test]
        fn no_case_leaves_the_memory(
            first in 0_u64..1 << 50, len in 1_u64..4 << 20, block in prop::sample::select(vec![512_u32, 520, 4096]),
            max in 0_u32..4 << 20, total in 0_u64..8 << 20, align in 0_u32..13, depth in 0_u32..100,
        ) {
            let room = Room {
                block_bytes: block, max_bytes: max, total_bytes: total, align_bytes: 1 << align, depth,
                ..room(first, len)
            };
            for case in cases(Access::Read, &room) {
                prop_assert!(case.offset_bytes + case.total_bytes() <= len);
                prop_assert!(case.total_bytes() <= total && case.len_bytes <= max);
                prop_assert!((first + case.offset_bytes).is_multiple_of(1 << align));
            }
        }
    }
}
