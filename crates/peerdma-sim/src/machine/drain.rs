//! Waiting for writes that have passed the IOMMU: what the invalidation of a mapping does before it is complete.

use super::Machine;
use super::landing::Stretch;
use crate::device::Region;
use crate::fabric::{End, Explain, Route};
use crate::memory::Place;
use crate::time::Time;
use crate::tlp::Access;

impl Machine {
    /// Goes on until all data has landed that is on its way to these physical addresses, in one range of RAM or one BAR.
    pub fn drain(&mut self, phys: u64, len_bytes: u64) {
        let Some(place) = self.place_of(phys) else {
            return;
        };
        let stretch = Stretch { place, len_bytes };
        if let Some(last_ps) = self.core.landings.last_touching_ps(stretch, stretch) {
            self.run_until(Time::from_ps(last_ps));
        }
    }

    /// Where the byte at a physical address is, if it is memory.
    fn place_of(&mut self, phys: u64) -> Option<Place> {
        if let Some((place, _)) = self.core.ram.find(phys) {
            return Some(place);
        }
        let mut route = Route::new(Explain::Nothing);
        self.core.fabric.route_cpu(Access::Write, phys, 1, &mut route);
        let End::Function {
            function,
            bar,
            offset,
        } = route.end
        else {
            return None;
        };
        let device = self.devices.get(function.index())?.as_ref()?;
        match device.decode(bar, offset) {
            Region::Memory { place, .. } => Some(place),
            Region::Registers | Region::Nothing => None,
        }
    }
}
