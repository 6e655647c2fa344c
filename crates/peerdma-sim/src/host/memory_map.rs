//! The memory map: all RAM, and all memory behind BARs, whether the CPU sees it or not.

use super::Computer;
use super::bars::BarBank;
use peerdma::addr::{Address, Bdf, PhysAddr, Span};
use peerdma::memory::{BarMemory, CpuView, Memory, MemoryMap, Region, Widths};
use peerdma::snapshot::HostBridge;

/// Names for what the CPU cannot address begin here: machine files have no address above.
const NAMES: u64 = 1 << 52;

impl Computer {
    /// All RAM, and all BARs (or their beginning, up to the first register) that hold memory: of accelerators, cards, controller
    /// memory buffers. Registers are none. Memory that the CPU cannot address (it lies in no window of its host bridge, or
    /// behind RAM) gets physical addresses that are nothing else's, with [`CpuView::None`].
    ///
    /// What overlaps memory that is there already, as BARs of captured machines may, is left out, and so is what has no bus address.
    pub fn memory_map(&self) -> MemoryMap {
        let mut map = MemoryMap::new();
        let mut ram: Vec<_> = self.ram_spans().to_vec();
        ram.sort_unstable_by_key(|span| span.first());
        for span in ram {
            // Of two ranges that overlap, the second is what lies beyond the first.
            let taken = map.regions().last().map(|region: &Region| region.span.last());
            let first = match taken {
                Some(last) if last >= span.last() => continue,
                Some(last) => last
                    .checked_add(1)
                    .map_or(span.first(), |next| next.max(span.first())),
                None => span.first(),
            };
            if let Ok(rest) = Span::new(first, span.last())
                && let Ok((with, _)) = map.with_ram(rest)
            {
                map = with;
            }
        }
        let mut next_name = self.first_name();
        for bank in self.bar_banks() {
            if let Some(with) = self.with_bank(&map, &bank, &mut next_name) {
                map = with;
            }
        }
        map
    }

    fn with_bank(&self, map: &MemoryMap, bank: &BarBank, next_name: &mut Option<u64>) -> Option<MemoryMap> {
        let (bus, _) = self.bus_range(bank.bdf, bank.bar)?;
        let less_one = bank.len_bytes.checked_sub(1)?;
        let memory = |phys: u64, cpu| BarMemory {
            provider: bank.bdf,
            bar: bank.bar,
            offset_bytes: 0,
            bus_offset: bus.wrapping_sub(phys),
            cpu,
        };
        if let Some(span) = self.seen(bank.bdf, (bus, bus.checked_add(less_one)?)) {
            let cpu = CpuView::Mmio(Widths::ALL);
            let with = map.with_bar(span, memory(span.first().to_u64(), cpu));
            return with.ok().map(|(with, _)| with);
        }
        let first = (*next_name)?.checked_next_multiple_of(bank.len_bytes.checked_next_power_of_two()?)?;
        let last = first.checked_add(less_one)?;
        let span = Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).ok()?;
        let (with, _) = map.with_bar(span, memory(first, CpuView::None)).ok()?;
        *next_name = last.checked_add(1);
        Some(with)
    }

    /// The region of a BAR, of a map of this machine.
    pub fn bar_region(map: &MemoryMap, provider: Bdf, bar: u8) -> Option<Region> {
        let is_it = |region: &&Region| match region.memory {
            Memory::Bar(memory) => (memory.provider, memory.bar) == (provider, bar),
            Memory::Ram => false,
        };
        map.regions().iter().find(is_it).copied()
    }

    /// Does an address name memory that the CPU cannot address?
    pub(super) fn is_name(&self, at: PhysAddr) -> bool {
        self.first_name().is_some_and(|first| at.to_u64() >= first)
    }

    /// The first address above all RAM and windows that may be a name.
    fn first_name(&self) -> Option<u64> {
        let ram = self.ram_spans().iter().map(|span| span.last().to_u64());
        let bridges = self.shared.topology.host_bridges();
        let windows = bridges.iter().flat_map(HostBridge::windows);
        let windows = windows.map(|window| (window.phys.to_u64()).saturating_add(window.bus.len_minus_one()));
        let last = ram.chain(windows).fold(NAMES - 1, u64::max);
        last.checked_add(1)
    }
}
