//! The address space of a kernel volume: the kernel maps, and we only judge.

use peerdma::addr::{Address, Bdf};
use peerdma::dma::{Initiator, Ioas, IoasError, Locks, OwnBase, Routes, Translation};
use peerdma::memory::{Memory, MemoryMap, Region};
use peerdma::route::TlpClass;
use std::sync::Arc;

/// The initiator of what no function moves (files, and block devices on several devices or on none): no machine has it.
pub const NOBODY: Bdf = Bdf::from_devfn(u32::MAX, 0xff, 0xff);

/// An address space for volumes whose data `initiator` moves, by the kernel's mappings: nothing is translated here, and memory of its own is
/// known by its bus address, as the kernel does it. `routes` are [`peerdma::dma::KernelRoutes`].
///
/// # Errors
/// [`IoasError`]
pub fn kernel_space<L: Locks>(
    map: MemoryMap,
    initiator: Bdf,
    class: TlpClass,
    routes: &dyn Routes,
) -> Result<Arc<Ioas<L>>, IoasError> {
    let own = own_bases(&map, initiator);
    let ioas = Ioas::new(Translation::Direct, map, &[]);
    ioas.add_initiator(
        Initiator {
            bdf: initiator,
            // The kernel bounces what its device cannot address.
            address_mask: u64::MAX,
            class,
            inbound_offset: 0,
        },
        routes,
    )?;
    ioas.set_own_bases(initiator, &own)?;
    Ok(ioas)
}

/// By which addresses a function knows its own memory: for each BAR one range from the first to the last of what is registered of it, so that what is
/// registered between them later has its name, too. Where other memory has addresses or bytes between those, region by region.
fn own_bases(map: &MemoryMap, initiator: Bdf) -> Vec<OwnBase> {
    let of_region = |region: &Region| match region.memory {
        Memory::Bar(bar) => {
            let own = OwnBase {
                bar: bar.bar,
                offset_bytes: bar.offset_bytes,
                len_bytes: region.span.len_bytes()?,
                base: bar.bus_address(region.span.first()).to_u64(),
            };
            Some((bar.provider == initiator, own))
        }
        Memory::Ram => None,
    };
    let bars: Vec<(bool, OwnBase)> = map.regions().iter().filter_map(of_region).collect();
    let own = || bars.iter().filter(|(is_own, _)| *is_own).map(|(_, own)| *own);
    let mut bases: Vec<OwnBase> = Vec::new();
    for region in own() {
        if bases.iter().any(|base| holds(base, &region)) {
            continue;
        }
        let its = |other: &OwnBase| (other.bar, start(other)) == (region.bar, start(&region));
        let whole = own().filter(its).try_fold(region, both);
        let is_its_alone = |whole: &OwnBase| {
            let mut others = bars.iter().filter(|(is_own, other)| !(*is_own && its(other)));
            !others.any(|(is_own, other)| meet(whole, other, *is_own))
        };
        let base = whole.filter(is_its_alone).unwrap_or(region);
        // Of two regions that say the same of themselves the first is believed.
        if !bases.iter().any(|other| meet(other, &base, true)) {
            bases.push(base);
        }
    }
    bases
}

/// Where the BAR would begin.
fn start(own: &OwnBase) -> u64 {
    own.base.wrapping_sub(own.offset_bytes)
}

/// All from the first of two parts of a BAR to the last.
fn both(one: OwnBase, other: OwnBase) -> Option<OwnBase> {
    let base = one.base.min(other.base);
    let end = |own: &OwnBase| own.base.checked_add(own.len_bytes);
    Some(OwnBase {
        offset_bytes: one.offset_bytes.min(other.offset_bytes),
        len_bytes: end(&one)?.max(end(&other)?) - base,
        base,
        ..one
    })
}

/// Is all of `part` in `whole`, by the same names?
fn holds(whole: &OwnBase, part: &OwnBase) -> bool {
    let into = part.base.checked_sub(whole.base);
    let end = into.and_then(|into| into.checked_add(part.len_bytes));
    (whole.bar, start(whole)) == (part.bar, start(part)) && end.is_some_and(|end| end <= whole.len_bytes)
}

/// Have they an address in common or, of one function, a byte of a BAR?
fn meet(one: &OwnBase, other: &OwnBase, is_same_function: bool) -> bool {
    let is_within = |first: u64, len: u64, at: u64| at.checked_sub(first).is_some_and(|into| into < len);
    let overlap = |first: u64, other_first: u64| {
        is_within(first, one.len_bytes, other_first) || is_within(other_first, other.len_bytes, first)
    };
    let in_bar = is_same_function && one.bar == other.bar && overlap(one.offset_bytes, other.offset_bytes);
    in_bar || overlap(one.base, other.base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerdma::addr::Origin::LookUp;
    use peerdma::addr::{PhysAddr, PhysVec, Span};
    use peerdma::dma::{Constraints, Direction, PeerRoute, Refused, SingleThread, Space};
    use peerdma::memory::{BarMemory, CpuView};
    use peerdma::route::Access;

    const OURS: Bdf = Bdf::from_devfn(0, 1, 0);
    const OTHER: Bdf = Bdf::from_devfn(0, 2, 0);
    const OFFSET: u64 = 0x10_0000_0000;

    /// Nobody reaches another.
    struct Alone;

    impl Routes for Alone {
        fn route(&self, _: Bdf, provider: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
            PeerRoute::Refused(Refused::NotSupported(provider))
        }
    }

    /// Parts of BARs: whose, which, where in it, and where the CPU sees that. 4 KiB each.
    fn map(parts: &[(Bdf, u8, u64, u64)]) -> MemoryMap {
        parts
            .iter()
            .fold(MemoryMap::new(), |map, (provider, bar, offset_bytes, first)| {
                let (first, last) = (PhysAddr::from_u64(*first), PhysAddr::from_u64(first + 0xfff));
                let memory = BarMemory {
                    provider: *provider,
                    bar: *bar,
                    offset_bytes: *offset_bytes,
                    bus_offset: OFFSET,
                    cpu: CpuView::Memory,
                };
                map.with_bar(Span::new(first, last).unwrap(), memory).unwrap().0
            })
    }

    /// The address by which we name what lies there.
    fn named(map: &MemoryMap, at: u64) -> Option<u64> {
        let ioas: Arc<Ioas<SingleThread>> =
            kernel_space(map.clone(), OURS, TlpClass::Strict, &Alone).unwrap();
        let mut mapper = ioas.mapper(OURS).unwrap();
        let piece = PhysVec::new(PhysAddr::from_u64(at), 16, LookUp).unwrap();
        let located = mapper.look_up(&[piece]).unwrap();
        let mapping = mapper.map(located, Direction::Both, &Constraints::NONE).ok()?;
        let segment = mapping.list().segments()[0];
        assert_eq!(segment.space, Space::Own);
        mapper.unmap(mapping).unwrap();
        Some(segment.addr)
    }

    #[test]
    fn every_bar_of_a_function_is_known_by_its_bus_address() {
        let map = map(&[
            (OURS, 2, 0, 0x100_0000),
            (OURS, 2, 0x4000, 0x100_4000),
            (OURS, 4, 0, 0x200_0000),
            (OTHER, 2, 0, 0x300_0000),
        ]);
        for at in [0x100_0000, 0x100_4010, 0x200_0020] {
            assert_eq!(named(&map, at), Some(at + OFFSET));
        }
        assert_eq!(named(&map, 0x300_0000), None);
        // What is registered later, between others, is known already.
        let bases = own_bases(&map, OURS);
        assert_eq!(bases.len(), 2);
        assert_eq!((bases[0].base, bases[0].len_bytes), (0x100_0000 + OFFSET, 0x5000));
    }

    #[test]
    fn memory_of_others_between_two_parts_is_not_its_own() {
        let map = map(&[
            (OURS, 2, 0, 0x100_0000),
            (OTHER, 2, 0, 0x100_1000),
            (OURS, 2, 0x2000, 0x100_2000),
            (OURS, 4, 0, 0x100_3000),
            (OURS, 2, 0x4000, 0x100_4000),
        ]);
        for at in [0x100_0000, 0x100_2000, 0x100_3000, 0x100_4000] {
            assert_eq!(named(&map, at), Some(at + OFFSET));
        }
        assert_eq!(named(&map, 0x100_1000), None);
    }

    #[test]
    fn a_part_of_a_bar_that_lies_elsewhere_has_its_own_address() {
        let map = map(&[
            (OURS, 2, 0, 0x100_0000),
            (OURS, 2, 0x1000, 0x200_0000),
            (OURS, 2, 0x2000, 0x100_2000),
        ]);
        for at in [0x100_0000, 0x200_0000, 0x100_2000] {
            assert_eq!(named(&map, at), Some(at + OFFSET));
        }
    }
}
