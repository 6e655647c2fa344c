//! How much user data commands name in RAM, where no simulated fabric counts it: from the addresses that the devices are told.

use peerdma::addr::{Bdf, PhysAddr};
use peerdma::block::{Bio, Data};
use peerdma::dma::{DmaSegment, Ioas, SingleThread};
use peerdma::memory::{Memory, MemoryMap};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// What commands that were submitted named.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    ram_bytes: Cell<u64>,
}

impl Moved {
    /// Bytes of user data in RAM.
    pub(crate) fn ram_bytes(&self) -> u64 {
        self.ram_bytes.get()
    }
}

/// Counts for one volume.
pub(super) struct Meter {
    moved: Rc<Moved>,
    space: Arc<Ioas<SingleThread>>,
    map: Arc<MemoryMap>,
    initiator: Bdf,
}

impl Meter {
    pub(super) fn new(moved: Rc<Moved>, space: Arc<Ioas<SingleThread>>, initiator: Bdf) -> Self {
        let map = space.map_snapshot();
        Self {
            moved,
            space,
            map,
            initiator,
        }
    }

    /// How much of an operation's data lies in RAM.
    pub(super) fn ram_bytes(&self, bio: &Bio) -> u64 {
        match &bio.data {
            Data::None => 0,
            Data::Vector(pieces) => {
                let in_ram = pieces.iter().filter(|piece| !self.is_of_device(piece.addr()));
                in_ram.map(|piece| u64::from(piece.len_bytes())).sum()
            }
            Data::Mapped(mapping) => (mapping.list().segments().iter())
                .map(|segment| self.of_segment(segment))
                .sum(),
        }
    }

    /// What was measured was taken by the volume.
    pub(super) fn add(&self, ram_bytes: u64) {
        let so_far = self.moved.ram_bytes.get();
        self.moved.ram_bytes.set(so_far.saturating_add(ram_bytes));
    }

    /// What leads nowhere known counts as RAM: the count is never too small.
    fn of_segment(&self, segment: &DmaSegment) -> u64 {
        let mut rest = *segment;
        let mut in_ram = 0;
        while rest.len_bytes > 0 {
            let Some((at, len_bytes)) = self.space.resolve_part(self.initiator, &rest) else {
                return in_ram + u64::from(rest.len_bytes);
            };
            let len_bytes = len_bytes.clamp(1, rest.len_bytes);
            if !self.is_of_device(at) {
                in_ram += u64::from(len_bytes);
            }
            rest.len_bytes -= len_bytes;
            rest.addr = rest.addr.wrapping_add(len_bytes.into());
        }
        in_ram
    }

    fn is_of_device(&self, at: PhysAddr) -> bool {
        let region = self.map.find(at);
        region.is_some_and(|region| matches!(region.memory, Memory::Bar(_)))
    }
}
