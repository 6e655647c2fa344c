//! Where the process's RAM lies in its memory map: at addresses that no device, bridge or interrupt answers to, so that they can be I/O
//! addresses as well.
//!
//! Addresses at which the machine has RAM come first: no window can ever be there, wherever firmware or hot-plug move them. Elsewhere,
//! above 4 GiB before below, and low before high, as devices and IOMMUs reach them.

use peerdma::addr::{Address, Iova, PhysAddr, Span};
use peerdma::iova::{Allocator, Request, joined};

/// What is known of the machine's addresses.
#[derive(Debug, Default)]
pub(super) struct Ground {
    /// What means something else.
    pub(super) taken: Vec<Span<Iova>>,
    /// Where the machine's own RAM lies, as far as is known.
    pub(super) ram: Vec<Span<PhysAddr>>,
    /// Are the windows of all host bridges among what is taken? Where not, room is left for them.
    pub(super) windows: Windows,
    /// What devices can be given: everything, as long as no IOMMU has said otherwise.
    pub(super) apertures: Option<Vec<Span<Iova>>>,
}

/// Who knows the windows of host bridges?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Windows {
    /// All of them are among what is taken.
    Known,
    /// Some may be missing.
    #[default]
    Unknown,
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Firmware, and devices of old, have the first few MiB.
const LOW: u64 = 16 * MIB;
/// What the narrowest IOMMUs translate: 39 bits.
const NARROW_LAST: u64 = (1 << 39) - 1;
/// Above are no addresses of devices: processors have 52 bits.
const WIDE_LAST: u64 = (1 << 52) - 1;
/// Around BARs above 4 GiB, where the window that they lie in is not known.
const ROOM_BYTES: u64 = 64 * GIB;

/// So many bytes (whole pages) of addresses; nothing where there is no place.
pub(super) fn place(len_bytes: u64, ground: &Ground) -> Option<Span<PhysAddr>> {
    let within = |first, last| vec![span(first, last)];
    let ram: Vec<Span<Iova>> = (ground.ram.iter())
        .filter_map(|ram| span(ram.first().to_u64(), ram.last().to_u64()))
        .collect();
    let ram = joined(ram.into_iter());
    let cut = |to: Vec<Option<Span<Iova>>>| both(&ram, &to.into_iter().flatten().collect::<Vec<_>>());
    let flat = |to: Vec<Option<Span<Iova>>>| to.into_iter().flatten().collect::<Vec<_>>();
    let spaced = spaced(ground);
    let mut fields = vec![
        (cut(within(4 * GIB, WIDE_LAST)), &ground.taken),
        (cut(within(LOW, 4 * GIB - 1)), &ground.taken),
        (flat(within(4 * GIB, NARROW_LAST)), &spaced),
        (flat(within(NARROW_LAST + 1, WIDE_LAST)), &spaced),
    ];
    if ground.windows == Windows::Known {
        fields.push((flat(within(LOW, 4 * GIB - 1)), &spaced));
    }
    fields.into_iter().find_map(|(field, taken)| {
        let field = match &ground.apertures {
            Some(apertures) => both(&field, apertures),
            None => field,
        };
        fit(len_bytes, &field, taken)
    })
}

/// The lowest place in one field: where large pages can be used, if there is one.
fn fit(len_bytes: u64, field: &[Span<Iova>], taken: &[Span<Iova>]) -> Option<Span<PhysAddr>> {
    let mut addresses = Allocator::new(super::arena::PAGE_BYTES, field, taken);
    let large = len_bytes.checked_next_power_of_two().unwrap_or(GIB);
    let first = [large.clamp(2 * MIB, GIB), 2 * MIB, 0]
        .into_iter()
        .find_map(|align_bytes| {
            addresses.allocate(Request {
                len_bytes,
                align_bytes,
                phase_bytes: 0,
                mask: u64::MAX,
            })
        })?;
    let last = first.to_u64().checked_add(len_bytes.checked_sub(1)?)?;
    Span::new(PhysAddr::from_u64(first.to_u64()), PhysAddr::from_u64(last)).ok()
}

/// What is taken, and around it the room that windows may need.
fn spaced(ground: &Ground) -> Vec<Span<Iova>> {
    let around = |taken: &Span<Iova>| {
        let (first, last) = (taken.first().to_u64(), taken.last().to_u64());
        match ground.windows == Windows::Unknown && last >= 4 * GIB {
            true => span(first.saturating_sub(ROOM_BYTES), last.saturating_add(ROOM_BYTES)),
            false => Some(*taken),
        }
    };
    ground.taken.iter().filter_map(around).collect()
}

/// What lies in both: sorted, apart from each other, as both are.
pub(super) fn both(left: &[Span<Iova>], right: &[Span<Iova>]) -> Vec<Span<Iova>> {
    let of = |left: Span<Iova>| {
        let common = move |right: &Span<Iova>| {
            let first = left.first().max(right.first());
            Span::new(first, left.last().min(right.last())).ok()
        };
        right.iter().filter_map(common)
    };
    left.iter().flat_map(|left| of(*left)).collect()
}

fn span(first: u64, last: u64) -> Option<Span<Iova>> {
    Span::new(Iova::from_u64(first), Iova::from_u64(last)).ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn iova(first: u64, last: u64) -> Span<Iova> {
        span(first, last).unwrap()
    }

    fn phys(first: u64, last: u64) -> Span<PhysAddr> {
        Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).unwrap()
    }

    #[test]
    fn addresses_of_the_machines_own_ram_come_first() {
        let mut ground = Ground {
            taken: vec![iova(0x3800_0000_0000 >> 8, 0x38ff_ffff_ffff >> 8)],
            ram: vec![
                phys(0, 0x9_ffff),
                phys(0x10_0000, 0x7fff_ffff),
                phys(0x1_0000_0000, 0x1_7fff_ffff),
            ],
            windows: Windows::Known,
            apertures: None,
        };
        assert_eq!(place(64 * MIB, &ground), Some(phys(0x1_0000_0000, 0x1_03ff_ffff)));
        // Where they are not enough, others above 4 GiB, without regard to RAM.
        assert_eq!(place(8 * GIB, &ground), Some(phys(0x1_0000_0000, 0x2_ffff_ffff)));
        ground.apertures = Some(vec![iova(0, 0xffff_ffff)]);
        assert_eq!(place(64 * MIB, &ground), Some(phys(0x400_0000, 0x7ff_ffff)));
        ground.apertures = Some(vec![iova(0, 0xfff)]);
        assert_eq!(place(64 * MIB, &ground), None);
    }

    #[test]
    fn where_windows_are_unknown_there_is_room_around_bars_and_nothing_below_4_gib() {
        let bar = iova(0x20_0000_0000, 0x20_0fff_ffff);
        let ground = Ground {
            taken: vec![iova(0xfe00_0000, 0xfeff_ffff), bar],
            ..Ground::default()
        };
        // From 128 GiB on; 64 GiB before and behind it are left free.
        assert_eq!(place(GIB, &ground), Some(phys(4 * GIB, 5 * GIB - 1)));
        let first = place(128 * GIB, &ground).unwrap().first().to_u64();
        assert_eq!(first, 193 * GIB);
        let low = Ground {
            apertures: Some(vec![iova(0, 0xffff_ffff)]),
            ..ground
        };
        assert_eq!(place(MIB, &low), None);
    }

    fn spans(most: usize) -> impl Strategy<Value = Vec<(u64, u64)>> {
        let first = prop_oneof![0..1_u64 << 32, 0..1_u64 << 40, any::<u64>()];
        let len = prop_oneof![0..1_u64 << 22, 0..1_u64 << 34, 0..1_u64 << 50];
        prop::collection::vec((first, len), 0..most).prop_map(|spans| {
            spans
                .into_iter()
                .map(|(first, len)| (first, first.saturating_add(len)))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn the_place_meets_nothing_that_is_taken_and_no_hole_of_an_aperture(
            pages in 1..1_u64 << 22,
            taken in spans(12),
            ram in spans(4),
            apertures in proptest::option::of(spans(4)),
            is_known: bool,
        ) {
            let apertures = apertures.map(|spans| joined(spans.iter().map(|(first, last)| iova(*first, *last))));
            let ground = Ground {
                taken: taken.iter().map(|(first, last)| iova(*first, *last)).collect(),
                ram: ram.iter().map(|(first, last)| phys(*first, *last)).collect(),
                windows: if is_known { Windows::Known } else { Windows::Unknown },
                apertures: apertures.clone(),
            };
            let Some(found) = place(pages * 4096, &ground) else { return Ok(()) };
            let (first, last) = (found.first().to_u64(), found.last().to_u64());
            prop_assert_eq!(last - first + 1, pages * 4096);
            prop_assert!(first.is_multiple_of(4096) && first >= LOW);
            prop_assert!(taken.iter().all(|(start, end)| last < *start || *end < first));
            if let Some(apertures) = &apertures {
                let holds = |aperture: &Span<Iova>| aperture.contains(Iova::from_u64(first)) && aperture.contains(Iova::from_u64(last));
                prop_assert!(apertures.iter().any(holds));
            }
        }
    }
}
