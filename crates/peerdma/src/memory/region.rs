//! One region: contiguous memory of one kind.

use crate::addr::{Address, Bdf, BusAddr, PhysAddr, Span};
use core::fmt;

/// Names a region for as long as its machine runs: not given out again after it was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegionId(pub(crate) u32);

impl RegionId {
    /// Its number: below [`MemoryMap::slots`](super::MemoryMap::slots).
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Contiguous memory of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Its name.
    pub id: RegionId,
    /// Its addresses.
    pub span: Span<PhysAddr>,
    /// What lies there.
    pub memory: Memory,
}

/// What lies in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// RAM of the host.
    Ram,
    /// Memory behind a BAR.
    Bar(BarMemory),
}

/// Memory behind a BAR, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarMemory {
    /// Whose it is.
    pub provider: Bdf,
    /// Number of the BAR.
    pub bar: u8,
    /// How far into the BAR the region begins, in bytes.
    pub offset_bytes: u64,
    /// Added, modulo 2^64, to a physical address of the region to give the address on the provider's bus: that of the host bridge's
    /// window (KERNEL-FACTS, A1).
    pub bus_offset: u64,
    /// How the CPU may touch it.
    pub cpu: CpuView,
}

impl BarMemory {
    /// The bus address of a physical address of the region.
    pub fn bus_address(self, phys: PhysAddr) -> BusAddr {
        BusAddr::from_u64(phys.to_u64().wrapping_add(self.bus_offset))
    }
}

/// How the CPU may touch the memory of a BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuView {
    /// Like RAM: coherent, any width and alignment.
    Memory,
    /// By aligned loads and stores of these widths, each exactly once.
    Mmio(Widths),
    /// Not at all: the physical addresses of the region only name it.
    None,
}

/// Widths of loads and stores: any of 1, 2, 4 and 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Widths(u8);

impl Widths {
    /// All four.
    pub const ALL: Self = Self(0b1111);
    /// 4 bytes alone.
    pub const DWORD: Self = Self(0b0100);
    /// 4 and 8 bytes.
    pub const DWORD_QWORD: Self = Self(0b1100);

    /// The widths of 2 to the power of these, from 0 to 3; nothing where there is none, or one above 3.
    pub fn from_log2(widths: impl IntoIterator<Item = u8>) -> Option<Self> {
        let mut bits = 0;
        for log2 in widths {
            bits |= 1 << Some(log2).filter(|log2| *log2 <= 3)?;
        }
        (bits != 0).then_some(Self(bits))
    }

    /// Is this number of bytes among them?
    pub const fn allow(self, width_bytes: u8) -> bool {
        width_bytes.is_power_of_two() && width_bytes <= 8 && self.0 & width_bytes != 0
    }

    /// The widest that is among them, at most `most_bytes`.
    pub fn widest(self, most_bytes: u64) -> Option<u8> {
        [8, 4, 2, 1]
            .into_iter()
            .find(|width| u64::from(*width) <= most_bytes && self.allow(*width))
    }
}

impl fmt::Debug for Widths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries([1, 2, 4, 8].into_iter().filter(|width| self.allow(*width)))
            .finish()
    }
}
