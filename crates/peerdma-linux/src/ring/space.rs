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
    let own = own_base(&map, initiator);
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
    if own.is_some() {
        ioas.set_own_base(initiator, own)?;
    }
    Ok(ioas)
}

/// By which addresses a function knows its own memory: one range from the first to the last of what is registered of a BAR. Where memory of others
/// has addresses between those, its first region alone.
fn own_base(map: &MemoryMap, initiator: Bdf) -> Option<OwnBase> {
    let of_region = |region: &Region| match region.memory {
        Memory::Bar(bar) => Some(OwnBase {
            bar: bar.bar,
            offset_bytes: bar.offset_bytes,
            len_bytes: region.span.len_bytes()?,
            base: bar.bus_address(region.span.first()).to_u64(),
        }),
        Memory::Ram => None,
    };
    let is_own = |region: &&Region| matches!(region.memory, Memory::Bar(bar) if bar.provider == initiator);
    let first = map.regions().iter().filter(is_own).find_map(of_region)?;
    // Where the BAR would begin.
    let start = |own: &OwnBase| own.base.wrapping_sub(own.offset_bytes);
    let both = |one: OwnBase, other: OwnBase| {
        let base = one.base.min(other.base);
        let end = |own: &OwnBase| own.base.checked_add(own.len_bytes);
        Some(OwnBase {
            offset_bytes: one.offset_bytes.min(other.offset_bytes),
            len_bytes: end(&one)?.max(end(&other)?) - base,
            base,
            ..one
        })
    };
    let own = map.regions().iter().filter(is_own).filter_map(of_region);
    let mut own = own.filter(|own| own.bar == first.bar && start(own) == start(&first));
    let whole = own.try_fold(first, both)?;
    let is_within = |other: OwnBase| {
        other
            .base
            .checked_sub(whole.base)
            .is_some_and(|into| into < whole.len_bytes)
            || whole
                .base
                .checked_sub(other.base)
                .is_some_and(|into| into < other.len_bytes)
    };
    let mut others = map
        .regions()
        .iter()
        .filter(|region| !is_own(region))
        .filter_map(of_region);
    Some(if others.any(is_within) { first } else { whole })
}
