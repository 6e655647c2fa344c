//! The allocator against a table of pages.

use super::*;
use crate::addr::{Address, Iova, Span};
use alloc::vec::Vec;
use proptest::prelude::*;
use rangemap::RangeSet;

const PAGE: u64 = 4096;
/// All within this many pages, so that a table can be kept.
const PAGES: u64 = 96;

#[derive(Debug, Clone)]
enum Step {
    Allocate {
        pages: u64,
        align: u32,
        phase: u64,
        mask_pages: u64,
    },
    AllocateAt {
        first: u64,
        pages: u64,
        mask_pages: u64,
    },
    Free(usize),
    Reserve(Vec<(u64, u64)>),
}

fn step() -> impl Strategy<Value = Step> {
    let spans = proptest::collection::vec((0..PAGES * PAGE, 0..8 * PAGE), 0..3);
    prop_oneof![
        6 => (0..12u64, 0..4u32, 0..8u64, prop_oneof![Just(u64::MAX / PAGE), 0..PAGES])
            .prop_map(|(pages, align, phase, mask_pages)| Step::Allocate { pages, align, phase, mask_pages }),
        3 => (0..PAGES, 0..12u64, prop_oneof![Just(u64::MAX / PAGE), 0..PAGES])
            .prop_map(|(first, pages, mask_pages)| Step::AllocateAt { first, pages, mask_pages }),
        4 => any::<usize>().prop_map(Step::Free),
        1 => spans.prop_map(Step::Reserve),
    ]
}

fn span(first: u64, len: u64) -> Span<Iova> {
    Span::new(Iova::from_u64(first), Iova::from_u64(first + len)).unwrap()
}

fn pages_of(spans: &[Span<Iova>]) -> RangeSet<u64> {
    let whole = spans
        .iter()
        .map(|span| span.first().to_u64() / PAGE..span.last().to_u64() / PAGE + 1);
    whole.collect()
}

proptest! {
    #[test]
    fn what_is_given_is_free_and_the_lowest_that_fits(
        apertures in proptest::collection::vec((0..PAGES * PAGE, 0..PAGES * PAGE), 1..3),
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let apertures: Vec<_> = apertures.into_iter().map(|(first, len)| span(first, len)).collect();
        let mut allocator = Allocator::new(PAGE, &apertures, &[]);
        let is_in_aperture = |page: u64| {
            // A page counts where all its bytes are in one or more of them.
            (page * PAGE..(page + 1) * PAGE).step_by(1).all(|at| apertures.iter().any(|span| span.contains(Iova::from_u64(at))))
        };
        let usable: Vec<bool> = (0..2 * PAGES + 1).map(|page| page > 0 && is_in_aperture(page)).collect();
        let mut reserved = RangeSet::new();
        let mut given: Vec<(u64, u64)> = Vec::new();
        for step in steps {
            let is_free = |page: u64| {
                usable.get(page as usize) == Some(&true)
                    && !reserved.contains(&page)
                    && !given.iter().any(|(first, pages)| (*first..first + pages).contains(&page))
            };
            match step {
                Step::Allocate { pages, align, phase, mask_pages } => {
                    let align = 1u64 << align;
                    let phase = phase % align;
                    let mask = mask_pages.saturating_mul(PAGE).saturating_add(PAGE - 1);
                    let expected = (0..2 * PAGES).find(|first| {
                        first % align == phase && pages > 0 && (*first..first + pages).all(|page| is_free(page) && page <= mask_pages)
                    });
                    let request = Request {
                        len_bytes: pages * PAGE,
                        align_bytes: align * PAGE,
                        phase_bytes: phase * PAGE,
                        mask,
                    };
                    let got = allocator.allocate(request).map(|iova| iova.to_u64() / PAGE);
                    prop_assert_eq!(got, expected);
                    given.extend(got.map(|first| (first, pages)));
                }
                Step::AllocateAt { first, pages, mask_pages } => {
                    let mask = mask_pages.saturating_mul(PAGE).saturating_add(PAGE - 1);
                    let fits = pages > 0 && (first..first + pages).all(|page| is_free(page) && page <= mask_pages);
                    let off = Iova::from_u64(first * PAGE + 1);
                    prop_assert_eq!(allocator.allocate_at(off, pages * PAGE, mask), None);
                    let at = Iova::from_u64(first * PAGE);
                    prop_assert_eq!(allocator.allocate_at(at, pages * PAGE, mask), fits.then_some(at));
                    given.extend(fits.then_some((first, pages)));
                }
                Step::Free(which) => {
                    if given.is_empty() {
                        prop_assert_eq!(allocator.free(Iova::from_u64(PAGE)), Freed::WasNotTaken);
                        continue;
                    }
                    let (first, _) = given.remove(which % given.len());
                    prop_assert_eq!(allocator.free(Iova::from_u64(first * PAGE)), Freed::Freed);
                    prop_assert_eq!(allocator.free(Iova::from_u64(first * PAGE)), Freed::WasNotTaken);
                }
                Step::Reserve(spans) => {
                    let spans: Vec<_> = spans.into_iter().map(|(first, len)| span(first, len)).collect();
                    let wanted = pages_of(&spans);
                    let is_taken = spans.iter().any(|span| {
                        given.iter().any(|(first, pages)| {
                            first * PAGE <= span.last().to_u64() && span.first().to_u64() < (first + pages) * PAGE
                        })
                    });
                    prop_assert_eq!(allocator.set_reserved(&spans).is_err(), is_taken);
                    if !is_taken {
                        reserved = wanted;
                    }
                }
            }
        }
        let bytes: u64 = given.iter().map(|(_, pages)| pages * PAGE).sum();
        prop_assert_eq!(allocator.taken_bytes(), bytes);
    }

    #[test]
    fn no_aperture_or_request_makes_it_panic(
        page: u64,
        apertures in proptest::collection::vec(any::<(u64, u64)>(), 0..4),
        requests in proptest::collection::vec(any::<(u64, u64, u64, u64)>(), 0..8),
    ) {
        let spans: Vec<_> = apertures.iter().map(|(a, b)| Span::new(Iova::from_u64(*a.min(b)), Iova::from_u64(*a.max(b))).unwrap()).collect();
        let mut allocator = Allocator::new(page, &spans, &spans[..spans.len() / 2]);
        for (len_bytes, align_bytes, phase_bytes, mask) in requests {
            let _ = allocator.allocate(Request { len_bytes, align_bytes, phase_bytes, mask });
        }
    }
}

#[test]
fn a_magazine_gives_what_it_kept_and_nothing_beyond_the_mask() {
    let mut allocator = Allocator::new(PAGE, &[span(0, (1 << 30) - 1)], &[]);
    let mut magazine = Magazine::new(PAGE);
    let mut kept = Vec::new();
    for len in [1, PAGE, PAGE + 1, 3 * PAGE, 32 * PAGE] {
        assert_eq!(magazine.take(len, u64::MAX), None);
        let iova = allocator.allocate(magazine.request(len, u64::MAX)).unwrap();
        kept.push((iova, len));
    }
    for (iova, len) in &kept {
        assert_eq!(magazine.keep(*iova, *len), None);
    }
    // Too long to be kept.
    let long = allocator.allocate(magazine.request(33 * PAGE, u64::MAX)).unwrap();
    assert_eq!(magazine.keep(long, 33 * PAGE), Some(long));
    assert_eq!(allocator.free(long), Freed::Freed);
    for (iova, len) in kept.iter().rev() {
        assert_eq!(
            magazine.take(*len, iova.to_u64()),
            None,
            "its last byte is beyond the mask"
        );
        assert_eq!(magazine.take(*len, u64::MAX), Some(*iova));
        assert_eq!(allocator.free(*iova), Freed::Freed);
    }
    let iova = allocator.allocate(magazine.request(PAGE, u64::MAX)).unwrap();
    assert_eq!(magazine.keep(iova, PAGE), None);
    magazine.drain(&mut allocator);
    assert!(magazine.is_empty());
    assert_eq!(allocator.taken_bytes(), 0);
}

#[test]
fn a_phase_above_the_alignment_is_taken_for_what_it_is() {
    let mut allocator = Allocator::new(PAGE, &[span(0, (1 << 20) - 1)], &[]);
    let request = Request {
        len_bytes: PAGE,
        align_bytes: PAGE,
        phase_bytes: u64::MAX - PAGE + 1,
        mask: u64::MAX,
    };
    assert_eq!(allocator.allocate(request), None);
}
