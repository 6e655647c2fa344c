//! The address space of a kernel volume: the kernel maps, and we only judge.

use peerdma::addr::{Address, Bdf};
use peerdma::dma::{Initiator, Ioas, IoasError, Locks, OwnBase, Routes, Translation};
use peerdma::memory::{Memory, MemoryMap};
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
    let own = map.regions().iter().find_map(|region| match region.memory {
        Memory::Bar(bar) if bar.provider == initiator => Some(OwnBase {
            bar: bar.bar,
            offset_bytes: bar.offset_bytes,
            len_bytes: region.span.len_bytes()?,
            base: bar.bus_address(region.span.first()).to_u64(),
        }),
        Memory::Bar(_) | Memory::Ram => None,
    });
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
