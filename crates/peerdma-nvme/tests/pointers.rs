//! Data pointers against a walker that reads them as a controller would, written from the specification apart from the
//! builder.

use peerdma::dma::{DmaSegment, MemoryKind, Space};
use peerdma_nvme::{Built, Forms, ListArea, Pointer, PointerError, build};
use proptest::prelude::*;

const LIST_AT: u64 = 0x7_0000_0000;
/// What a list memory holds before anything is written to it.
const POISON: u8 = 0xa5;

fn segment(addr: u64, len_bytes: u32) -> DmaSegment {
    DmaSegment {
        addr,
        len_bytes,
        space: Space::Bus,
        kind: MemoryKind::PeerOnBus,
    }
}

fn built(
    segments: &[DmaSegment],
    page_bytes: u64,
    forms: Forms,
    list: &mut [u8],
    list_at: u64,
) -> Result<Built, PointerError> {
    list.fill(POISON);
    let area = ListArea {
        bytes: list,
        address: list_at,
    };
    build(segments, page_bytes, forms, area)
}

/// What a controller does with a command's data pointer: the runs of bytes that it names, neighbours joined.
struct Walker<'l> {
    list: &'l [u8],
    list_at: u64,
    runs: Vec<(u64, u64)>,
}

impl Walker<'_> {
    fn qword(&self, at: u64) -> u64 {
        let at = usize::try_from(at.checked_sub(self.list_at).expect("before the list")).unwrap();
        u64::from_le_bytes(self.list[at..at + 8].try_into().expect("past the list"))
    }

    fn add(&mut self, at: u64, len: u64) {
        match self.runs.last_mut() {
            Some((first, bytes)) if *first + *bytes == at => *bytes += len,
            _ => self.runs.push((at, len)),
        }
    }

    fn walk(mut self, pointer: Pointer, total_bytes: u64, page_bytes: u64) -> Vec<(u64, u64)> {
        match pointer {
            Pointer::Prp { first, second } => self.walk_prp(first, second, total_bytes, page_bytes),
            Pointer::Sgl {
                address,
                len_bytes,
                identifier: 0,
            } => self.add(address, len_bytes.into()),
            Pointer::Sgl {
                address,
                len_bytes,
                identifier,
            } => {
                assert_eq!((identifier, len_bytes % 16, address % 8), (0x30, 0, 0));
                for at in (address..address + u64::from(len_bytes)).step_by(16) {
                    let rest = self.qword(at + 8);
                    assert_eq!(rest >> 32, 0, "a data block by address");
                    self.add(self.qword(at), rest);
                }
            }
        }
        self.runs
    }

    fn walk_prp(&mut self, first: u64, second: u64, total_bytes: u64, page_bytes: u64) {
        assert_eq!(first % 4, 0);
        let mut left = total_bytes;
        let mut take = |walker: &mut Self, at: u64| {
            let count = left.min(page_bytes - at % page_bytes);
            walker.add(at, count);
            left -= count;
            left
        };
        let rest = take(self, first);
        if rest == 0 {
            return assert_eq!(second, 0, "it is reserved");
        }
        if rest <= page_bytes {
            assert_eq!(second % page_bytes, 0);
            return assert_eq!(take(self, second), 0);
        }
        assert_eq!(second % 8, 0);
        let mut at = second;
        let mut rest = rest;
        while rest > 0 {
            let entry = self.qword(at);
            assert_eq!(entry % page_bytes, 0);
            if (at + 8).is_multiple_of(page_bytes) && rest > page_bytes {
                at = entry;
                continue;
            }
            rest = take(self, entry);
            at += 8;
        }
    }
}

fn joined(segments: &[DmaSegment]) -> Vec<(u64, u64)> {
    let mut walker = Walker {
        list: &[],
        list_at: 0,
        runs: Vec::new(),
    };
    segments
        .iter()
        .for_each(|one| walker.add(one.addr, one.len_bytes.into()));
    walker.runs
}

fn check(segments: &[DmaSegment], page_bytes: u64, forms: Forms, list: &mut [u8], list_at: u64) -> Built {
    let built = built(segments, page_bytes, forms, list, list_at).unwrap();
    let total_bytes = segments.iter().map(|one| u64::from(one.len_bytes)).sum();
    assert!(list[built.list_bytes..].iter().all(|byte| *byte == POISON));
    let walker = Walker {
        list,
        list_at,
        runs: Vec::new(),
    };
    assert_eq!(
        walker.walk(built.pointer, total_bytes, page_bytes),
        joined(segments)
    );
    built
}

#[test]
fn lists_of_a_page_and_around_chain_where_they_must() {
    // How many entries the list has, and how many links there are beside them, where it begins at a page.
    for (entries, links) in [
        (1, 0),
        (511, 0),
        (512, 0),
        (513, 1),
        (514, 1),
        (1023, 1),
        (1024, 2),
        (1025, 2),
    ] {
        let pages: Vec<_> = (0..=entries).map(|page| segment(page * 0x2000, 4096)).collect();
        let mut list = vec![0; 16384];
        let built = check(&pages, 4096, Forms::Prp, &mut list, LIST_AT);
        let want = if entries < 2 { 0 } else { (entries + links) * 8 };
        assert_eq!(built.list_bytes as u64, want, "{entries} entries");
    }
}

#[test]
fn lists_begin_anywhere_in_a_page() {
    for entries in [2_u64, 3, 511, 512, 513, 514, 1024, 1025] {
        for offset in [8, 16, 2048, 4080, 4088] {
            let pages: Vec<_> = (0..=entries).map(|page| segment(page * 0x3000, 4096)).collect();
            let mut list = vec![0; 16384];
            check(&pages, 4096, Forms::Prp, &mut list, LIST_AT + offset);
        }
    }
}

#[test]
fn what_no_list_can_say_is_refused() {
    let mut list = [0; 64];
    let gap = [segment(0, 4096), segment(0x2200, 512)];
    let mut refused =
        |segments: &[DmaSegment], forms| built(segments, 4096, forms, &mut list, LIST_AT).unwrap_err();
    assert_eq!(refused(&[], Forms::Shorter), PointerError::Empty);
    assert_eq!(refused(&gap, Forms::Prp), PointerError::Gap { segment: 1 });
    assert_eq!(
        refused(&[segment(0, 512), segment(0x2000, 512)], Forms::Prp),
        PointerError::Gap { segment: 1 }
    );
    assert_eq!(refused(&[segment(2, 512)], Forms::Prp), PointerError::Unaligned);
    assert_eq!(
        refused(&[segment(u64::MAX - 10, 512)], Forms::Sgl),
        PointerError::Wraps { segment: 0 }
    );
    assert_eq!(
        refused(&[segment(u64::MAX - 511, 513)], Forms::Prp),
        PointerError::Wraps { segment: 0 }
    );
    assert_eq!(
        refused(&[segment(0, 1 << 20)], Forms::Prp),
        PointerError::ListFull
    );
    assert_eq!(refused(&[segment(0, 16); 5], Forms::Sgl), PointerError::ListFull);
    assert_eq!(
        build(
            &gap,
            1000,
            Forms::Prp,
            ListArea {
                bytes: &mut [],
                address: 0
            }
        ),
        Err(PointerError::PageBytes(1000))
    );
    // With a choice, gaps are no hindrance.
    check(&gap, 4096, Forms::Shorter, &mut list, LIST_AT);
}

#[test]
fn the_last_page_of_the_space_can_be_named() {
    let mut list = [0; 64];
    let top = [segment(u64::MAX - 4095, 4096)];
    let built = built(&top, 4096, Forms::Prp, &mut list, LIST_AT).unwrap();
    let first = u64::MAX - 4095;
    assert_eq!(built.pointer, Pointer::Prp { first, second: 0 });
}

/// Segments that begin and end at pages, but for the ends.
fn paged(page_bytes: u64) -> impl Strategy<Value = Vec<DmaSegment>> {
    let pieces = proptest::collection::vec((0_u64..1 << 30, 1_u64..6), 1..300);
    (pieces, 0..page_bytes / 4, 0..page_bytes).prop_map(move |(pieces, head, tail)| {
        let mut segments: Vec<_> = pieces
            .iter()
            .map(|(page, pages)| segment(page * page_bytes, (pages * page_bytes) as u32))
            .collect();
        let first = &mut segments[0];
        first.addr += head * 4;
        first.len_bytes -= (head * 4) as u32;
        let last = segments.last_mut().unwrap();
        last.len_bytes -= tail.min(u64::from(last.len_bytes) - 1) as u32;
        segments
    })
}

fn scattered() -> impl Strategy<Value = Vec<DmaSegment>> {
    proptest::collection::vec((0_u64..1 << 40, 1_u32..20_000), 1..300)
        .prop_map(|pieces| pieces.iter().map(|(addr, len)| segment(*addr, *len)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn page_lists_lead_to_every_byte_in_order(
        (page_bytes, segments) in (0_u32..3).prop_flat_map(|log2| (Just(4096_u64 << log2), paged(4096 << log2))),
        offset in 0_u64..0x2000,
        forms in prop_oneof![Just(Forms::Prp), Just(Forms::Shorter)],
    ) {
        let mut list = vec![0; 32768];
        check(&segments, page_bytes, forms, &mut list, LIST_AT + offset * 16);
    }

    #[test]
    fn descriptors_lead_to_every_byte_in_order(
        segments in scattered(),
        forms in prop_oneof![Just(Forms::Sgl), Just(Forms::Shorter)],
    ) {
        let mut list = vec![0; 8192];
        check(&segments, 4096, forms, &mut list, LIST_AT);
    }

    #[test]
    fn any_segments_get_a_pointer_or_a_reason(
        addrs in proptest::collection::vec((any::<u64>(), 1_u32..), 0..40),
        list_bytes in 0_usize..2000,
        forms in prop_oneof![Just(Forms::Prp), Just(Forms::Sgl), Just(Forms::Shorter)],
    ) {
        let segments: Vec<_> = addrs.iter().map(|(addr, len)| segment(*addr, *len)).collect();
        let mut list = vec![0; list_bytes];
        if let Ok(built) = built(&segments, 4096, forms, &mut list, LIST_AT) {
            prop_assert!(built.list_bytes <= list_bytes);
        }
    }
}
