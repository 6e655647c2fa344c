//! The CPU's own way to memory of any kind: RAM by copies, memory behind a BAR by aligned loads and stores of the widths that it allows.
//!
//! BAR memory is no RAM: a copy routine that uses other widths, unaligned or vector accesses faults on some machines and loses data on others
//! (Gunthorpe, 2019-01-30). Here each access states its width, and is checked against the region's [`CpuView`] before the host sees it.
//!
//! - [`load`], [`store`]: one access;
//! - [`copy_from`], [`copy_to`]: vectors of physical addresses;
//! - [`copy_from_list`], [`copy_to_list`]: what was mapped for a device, told back from what the device was told: bus address from I/O
//!   address, back through the IOMMU, then through the memory map.
//!
//! A copy is checked as a whole before its first access.

mod error;
mod word;

pub use error::IomemError;

use crate::addr::{Address, Bdf, Origin, PhysAddr, PhysVec};
use crate::device::Host;
use crate::dma::{DmaList, DmaSegment, Ioas, Locks};
use crate::memory::{CpuView, Memory, MemoryMap, Region, Widths};

/// Loads 1, 2, 4 or 8 bytes of memory behind a BAR: one access of this width.
///
/// # Errors
/// [`IomemError`]
pub fn load<H: Host>(host: &H, map: &MemoryMap, at: PhysAddr, width_bytes: u8) -> Result<u64, IomemError> {
    check_access(map, at, width_bytes)?;
    host.load_bar(at, width_bytes).map_err(IomemError::Device)
}

/// Stores 1, 2, 4 or 8 bytes to memory behind a BAR: one access of this width.
///
/// # Errors
/// [`IomemError`]
pub fn store<H: Host>(
    host: &H,
    map: &MemoryMap,
    at: PhysAddr,
    width_bytes: u8,
    value: u64,
) -> Result<(), IomemError> {
    check_access(map, at, width_bytes)?;
    (host.store_bar(at, width_bytes, value)).map_err(IomemError::Device)
}

/// Copies a vector's bytes; `into` is as long as the vector.
///
/// # Errors
/// [`IomemError`]; but for [`IomemError::Device`] nothing was read.
pub fn copy_from<H: Host>(
    host: &H,
    map: &MemoryMap,
    vector: &[PhysVec],
    into: &mut [u8],
) -> Result<(), IomemError> {
    let walk = |visit: &mut Visit<'_>| each_of_vector(vector, visit);
    read(host, map, &walk, into)
}

/// Copies bytes to a vector that is as long.
///
/// # Errors
/// [`IomemError`]; but for [`IomemError::Device`] nothing was written.
pub fn copy_to<H: Host>(
    host: &H,
    map: &MemoryMap,
    vector: &[PhysVec],
    from: &[u8],
) -> Result<(), IomemError> {
    let walk = |visit: &mut Visit<'_>| each_of_vector(vector, visit);
    write(host, map, &walk, from)
}

/// Copies the bytes that a list leads its device to; `into` is as long as the list.
///
/// # Errors
/// [`IomemError`]; but for [`IomemError::Device`] nothing was read.
pub fn copy_from_list<H: Host, L: Locks>(
    host: &H,
    ioas: &Ioas<L>,
    initiator: Bdf,
    list: &DmaList,
    into: &mut [u8],
) -> Result<(), IomemError> {
    let walk = |visit: &mut Visit<'_>| each_of_list(ioas, initiator, list, visit);
    read(host, &ioas.map_snapshot(), &walk, into)
}

/// Copies bytes to where a list leads its device; the list is as long.
///
/// # Errors
/// [`IomemError`]; but for [`IomemError::Device`] nothing was written.
pub fn copy_to_list<H: Host, L: Locks>(
    host: &H,
    ioas: &Ioas<L>,
    initiator: Bdf,
    list: &DmaList,
    from: &[u8],
) -> Result<(), IomemError> {
    let walk = |visit: &mut Visit<'_>| each_of_list(ioas, initiator, list, visit);
    write(host, &ioas.map_snapshot(), &walk, from)
}

/// Called with each contiguous stretch.
type Visit<'v> = dyn FnMut(PhysAddr, u32, Origin) -> Result<(), IomemError> + 'v;
/// Calls it for each stretch of something.
type Walk<'w> = dyn Fn(&mut Visit<'_>) -> Result<(), IomemError> + 'w;

/// As much of a stretch as lies in one region.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    at: PhysAddr,
    len_bytes: usize,
    /// How the CPU touches it; nothing for RAM.
    bar: Option<(Widths, Region)>,
}

fn read<H: Host>(host: &H, map: &MemoryMap, walk: &Walk<'_>, into: &mut [u8]) -> Result<(), IomemError> {
    check(map, walk, into.len(), |stretch| match stretch.bar {
        None => Ok(()),
        Some((widths, region)) => word::check_read(stretch.at, stretch.len_bytes, widths, region.span),
    })?;
    let mut left = into;
    each_stretch(map, walk, &mut |stretch| {
        let (now, rest) = core::mem::take(&mut left)
            .split_at_mut_checked(stretch.len_bytes)
            .ok_or(IomemError::Changed)?;
        left = rest;
        match stretch.bar {
            None => host.read_ram(stretch.at, now).map_err(IomemError::Device),
            Some((widths, region)) => word::read(host, stretch.at, widths, region.span, now),
        }
    })
}

fn write<H: Host>(host: &H, map: &MemoryMap, walk: &Walk<'_>, from: &[u8]) -> Result<(), IomemError> {
    check(map, walk, from.len(), |stretch| match stretch.bar {
        None => Ok(()),
        Some((widths, _)) => word::check_write(stretch.at, stretch.len_bytes, widths),
    })?;
    let mut left = from;
    each_stretch(map, walk, &mut |stretch| {
        let (now, rest) = left
            .split_at_checked(stretch.len_bytes)
            .ok_or(IomemError::Changed)?;
        left = rest;
        match stretch.bar {
            None => host.write_ram(stretch.at, now).map_err(IomemError::Device),
            Some((widths, _)) => word::write(host, stretch.at, widths, now),
        }
    })
}

fn check(
    map: &MemoryMap,
    walk: &Walk<'_>,
    len_bytes: usize,
    one: impl Fn(Stretch) -> Result<(), IomemError>,
) -> Result<(), IomemError> {
    let mut memory_bytes = 0u64;
    each_stretch(map, walk, &mut |stretch| {
        memory_bytes = memory_bytes.saturating_add(stretch.len_bytes as u64);
        one(stretch)
    })?;
    let slice_bytes = len_bytes as u64;
    match memory_bytes == slice_bytes {
        true => Ok(()),
        false => Err(IomemError::WrongLength {
            memory_bytes,
            slice_bytes,
        }),
    }
}

/// Cuts what is walked where regions end.
fn each_stretch(
    map: &MemoryMap,
    walk: &Walk<'_>,
    visit: &mut dyn FnMut(Stretch) -> Result<(), IomemError>,
) -> Result<(), IomemError> {
    walk(&mut |at, len, origin| {
        let (mut at, mut left) = (at, u64::from(len));
        while left > 0 {
            let region = map.find(at).ok_or(IomemError::Hole { at })?;
            let to_end = region.span.last().to_u64() - at.to_u64();
            let len_bytes = to_end.saturating_add(1).min(left);
            let bar = match region.memory {
                Memory::Ram => None,
                Memory::Bar(bar) if origin == Origin::Ram => {
                    let provider = bar.provider;
                    return Err(IomemError::UnflaggedPeer { provider, at });
                }
                Memory::Bar(_) => Some((widths_of(region, at)?, *region)),
            };
            visit(Stretch {
                at,
                len_bytes: usize::try_from(len_bytes).map_err(|_| IomemError::Changed)?,
                bar,
            })?;
            left -= len_bytes;
            if left > 0 {
                at = at.checked_add(len_bytes).ok_or(IomemError::Hole { at })?;
            }
        }
        Ok(())
    })
}

fn each_of_vector(vector: &[PhysVec], visit: &mut Visit<'_>) -> Result<(), IomemError> {
    (vector.iter()).try_for_each(|piece| visit(piece.addr(), piece.len_bytes(), piece.origin()))
}

fn each_of_list<L: Locks>(
    ioas: &Ioas<L>,
    initiator: Bdf,
    list: &DmaList,
    visit: &mut Visit<'_>,
) -> Result<(), IomemError> {
    for segment in list.segments() {
        let mut left = *segment;
        loop {
            let nowhere = IomemError::LeadsNowhere { addr: left.addr };
            let (at, len) = ioas.resolve_part(initiator, &left).ok_or(nowhere)?;
            visit(at, len, Origin::LookUp)?;
            if len >= left.len_bytes {
                break;
            }
            left = DmaSegment {
                addr: left.addr.checked_add(len.into()).ok_or(nowhere)?,
                len_bytes: left.len_bytes - len,
                ..left
            };
        }
    }
    Ok(())
}

fn widths_of(region: &Region, at: PhysAddr) -> Result<Widths, IomemError> {
    match region.memory {
        Memory::Ram => Err(IomemError::NotBar { at }),
        Memory::Bar(bar) => match bar.cpu {
            CpuView::Memory => Ok(Widths::ALL),
            CpuView::Mmio(widths) => Ok(widths),
            CpuView::None => {
                let provider = bar.provider;
                Err(IomemError::NoCpuView { provider, at })
            }
        },
    }
}

/// May the CPU touch BAR memory there, by this width?
fn check_access(map: &MemoryMap, at: PhysAddr, width_bytes: u8) -> Result<(), IomemError> {
    let region = map.find(at).ok_or(IomemError::Hole { at })?;
    let widths = widths_of(region, at)?;
    let is_aligned = width_bytes != 0 && at.to_u64().is_multiple_of(width_bytes.into());
    let left = region.span.last().to_u64() - at.to_u64();
    if !widths.allow(width_bytes) || !is_aligned || left < u64::from(width_bytes - 1) {
        return Err(IomemError::BadAccess {
            at,
            len_bytes: width_bytes.into(),
            allowed: widths,
        });
    }
    Ok(())
}
