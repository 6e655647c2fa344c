//! Where the pieces of vectors are taken from.

use super::world::PAGE;
use peerdma::addr::{Address, Bdf};
use peerdma::memory::{Memory, MemoryMap, RegionId};
use peerdma_sim::random::Random;

/// A stretch of a region that pieces are taken from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    pub(super) region: RegionId,
    pub(super) provider: Option<Bdf>,
    pub(super) first: u64,
    pub(super) len_bytes: u64,
}

/// Up to three stretches of each region: its start, its end, and somewhere between.
pub(super) fn spots(map: &MemoryMap, random: &mut Random) -> Vec<Spot> {
    let mut spots = Vec::new();
    for region in map.regions() {
        let (first, last) = (region.span.first().to_u64(), region.span.last().to_u64());
        let provider = match region.memory {
            Memory::Ram => None,
            Memory::Bar(bar) => Some(bar.provider),
        };
        let len = |random: &mut Random| random.one_of(&[PAGE, 4 * PAGE, 4 * PAGE, 12 * PAGE]);
        let mut ranges = Vec::new();
        let size = last - first;
        ranges.push((first, last.min(first + (len(random) - 1))));
        if size > 64 * PAGE {
            ranges.push((last - (len(random) - 1), last));
            let middle = first + (random.number() % (size - 48 * PAGE)) / PAGE * PAGE;
            let middle = middle.max(first + 16 * PAGE);
            ranges.push((middle, middle + (len(random) - 1)));
        }
        for (first, last) in ranges {
            spots.push(Spot {
                region: region.id,
                provider,
                first,
                len_bytes: last - first + 1,
            });
        }
    }
    spots
}
