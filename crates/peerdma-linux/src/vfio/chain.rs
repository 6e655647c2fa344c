//! What VFIO answers at a length that it chooses: a structure, behind it a chain of capabilities (include/uapi/linux/vfio.h,
//! `struct vfio_info_cap_header`).
//!
//! Read from bytes, so that no answer, however odd, leads outside of it.

use super::bar::Area;
use peerdma::addr::{Address, Iova, Span};

/// More capabilities than any answer has: the kernel knows five of them.
const MOST_CAPABILITIES: usize = 64;

/// Where the body of a capability begins: behind id, version and next.
const HEADER_BYTES: usize = 8;

/// Where the list of a capability that holds one begins: behind its header, its count and a reserved dword.
const LIST_BYTES: usize = 16;

/// The first capability of this id, from its header to the end of the answer; the chain begins at `first`.
///
/// A chain that does not go forward ends there, as one that leaves the answer does.
pub(super) fn find(answer: &[u8], first: u32, id: u16) -> Option<&[u8]> {
    let mut offset = usize::try_from(first).ok()?;
    for _ in 0..MOST_CAPABILITIES {
        let capability = answer
            .get(offset..)
            .filter(|rest| rest.len() >= HEADER_BYTES && offset != 0)?;
        if u16_at(capability, 0)? == id {
            return Some(capability);
        }
        let next = usize::try_from(u32_at(capability, 4)?).ok()?;
        if next <= offset {
            return None;
        }
        offset = next;
    }
    None
}

/// The ranges of a list of pairs, as `VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE` has it: sorted, those that overlap made one. Ranges that end before they
/// begin are left out.
pub(super) fn iova_ranges(capability: &[u8]) -> Vec<Span<Iova>> {
    in_order(
        pairs(capability)
            .filter_map(|(start, last)| Span::new(Iova::from_u64(start), Iova::from_u64(last)).ok()),
    )
}

/// The areas of `VFIO_REGION_INFO_CAP_SPARSE_MMAP` within a region of `len_bytes`; those of no bytes, or that leave it, are left out.
pub(super) fn sparse_areas(capability: &[u8], len_bytes: u64) -> Vec<Area> {
    let mut areas: Vec<Area> = pairs(capability)
        .filter_map(|(start, size)| Area::new(start, start.checked_add(size)?))
        .filter(|area| area.end() <= len_bytes)
        .collect();
    areas.sort_by_key(|area| area.start());
    areas.dedup_by(|next, before| next.start() < before.end());
    areas
}

/// Sorted, and what overlaps made one.
pub(super) fn in_order(ranges: impl Iterator<Item = Span<Iova>>) -> Vec<Span<Iova>> {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort_by_key(|range| range.first());
    ranges.dedup_by(|next, before| {
        let overlaps = next.overlaps(*before);
        if let (true, Ok(both)) = (
            overlaps,
            Span::new(before.first(), before.last().max(next.last())),
        ) {
            *before = both;
        }
        overlaps
    });
    ranges
}

/// The pairs of qwords of a list, no more than there is room for.
fn pairs(capability: &[u8]) -> impl Iterator<Item = (u64, u64)> + '_ {
    let count = u32_at(capability, HEADER_BYTES).unwrap_or(0);
    let list = capability.get(LIST_BYTES..).unwrap_or_default();
    let pairs = list
        .chunks_exact(16)
        .take(usize::try_from(count).unwrap_or(usize::MAX));
    pairs.filter_map(|pair| Some((u64_at(pair, 0)?, u64_at(pair, 8)?)))
}

pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|chunk| u16::from_ne_bytes(*chunk))
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|chunk| u32::from_ne_bytes(*chunk))
}

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|chunk| u64::from_ne_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// A capability with a list of pairs, as the kernel lays it out.
    fn list(id: u16, next: u32, pairs: &[(u64, u64)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(id.to_ne_bytes());
        bytes.extend(1u16.to_ne_bytes());
        bytes.extend(next.to_ne_bytes());
        bytes.extend((pairs.len() as u32).to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        for (first, second) in pairs {
            bytes.extend(first.to_ne_bytes());
            bytes.extend(second.to_ne_bytes());
        }
        bytes
    }

    fn ends(spans: &[Span<Iova>]) -> Vec<(u64, u64)> {
        spans
            .iter()
            .map(|span| (span.first().to_u64(), span.last().to_u64()))
            .collect()
    }

    #[test]
    fn a_capability_is_found_behind_others() {
        let mut answer = vec![0; 24];
        answer.extend(list(3, 40, &[]));
        answer.extend(list(1, 0, &[(0, 0xfedf_ffff), (0xfef0_0000, 0xff_ffff_ffff)]));
        let found = find(&answer, 24, 1).unwrap();
        assert_eq!(
            ends(&iova_ranges(found)),
            [(0, 0xfedf_ffff), (0xfef0_0000, 0xff_ffff_ffff)]
        );
        assert_eq!(find(&answer, 24, 2), None);
        assert_eq!(find(&answer, 0, 1), None, "no chain at all");
    }

    #[test]
    fn a_chain_that_leads_back_ends() {
        let mut answer = vec![0; 24];
        answer.extend(list(3, 24, &[]));
        assert_eq!(find(&answer, 24, 1), None);
    }

    #[test]
    fn a_list_that_claims_more_than_there_is_gives_what_there_is() {
        let mut capability = list(1, 0, &[(0, 9)]);
        capability[8..12].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(ends(&iova_ranges(&capability)), [(0, 9)]);
    }

    #[test]
    fn areas_stay_within_their_region() {
        let capability = list(
            1,
            0,
            &[
                (0x3000, 0x1000),
                (0, 0x2000),
                (0x3000, 0x2000),
                (0, 0),
                (u64::MAX, 2),
            ],
        );
        assert_eq!(
            sparse_areas(&capability, 0x4000),
            [Area::new(0, 0x2000).unwrap(), Area::new(0x3000, 0x4000).unwrap()]
        );
    }

    proptest! {
        #[test]
        fn no_answer_leads_outside_of_it(answer in vec(any::<u8>(), 0..200), first in 0u32..220, id in 0u16..4) {
            if let Some(capability) = find(&answer, first, id) {
                let ranges = iova_ranges(capability);
                prop_assert!(ranges.len() * 16 <= answer.len());
                for pair in ranges.windows(2) {
                    prop_assert!(pair[0].last() < pair[1].first());
                }
                for area in sparse_areas(capability, 1 << 20) {
                    prop_assert!(area.start() < area.end() && area.end() <= 1 << 20);
                }
            }
        }

        #[test]
        fn ranges_in_order_hold_what_they_held(pairs in vec((0u64..200, 0u64..60), 0..8)) {
            let spans: Vec<_> = pairs.iter().map(|(first, more)| (*first, first + more)).collect();
            let ranges = iova_ranges(&list(1, 0, &spans));
            for address in 0..300 {
                let before = spans.iter().any(|(first, last)| (*first..=*last).contains(&address));
                let after = ranges.iter().any(|range| range.contains(Iova::from_u64(address)));
                prop_assert_eq!(before, after);
            }
        }
    }
}
