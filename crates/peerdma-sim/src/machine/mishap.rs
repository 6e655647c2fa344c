//! What happens to functions as a whole: resets, removals, links that go down, break-downs; and the loss of mappings.

use super::Machine;
use super::fault::Fault;
use crate::fabric::{FunctionId, IoasId, IommuError};
use peerdma::addr::Bdf;

impl Machine {
    /// A fault of the plan happens.
    pub(super) fn mishap(&mut self, index: usize) {
        match self.core.faults.get(index) {
            Some(Fault::Removed { device, .. }) => self.remove(device),
            Some(Fault::LinkDown { below, .. }) => {
                let function = self.core.fabric.find(below);
                if let Some(link) = function.and_then(|id| self.core.fabric.function(id).link_above) {
                    self.core.fabric.take_link_down(link);
                    self.end_unreachable();
                }
            }
            Some(Fault::BreaksDown { device, .. }) => {
                if let Some(function) = self.core.fabric.find(device) {
                    self.with_index(function.index(), |device, wire| device.fail(wire));
                }
            }
            _ => {}
        }
    }

    /// Takes a function, and all below it, out of the machine.
    pub fn remove(&mut self, device: Bdf) {
        if let Some(function) = self.core.fabric.find(device) {
            self.core.fabric.remove(function);
            self.end_unreachable();
        }
    }

    /// Takes mappings out of the IOMMU: when it returns, no device holds a translation of theirs any more (ATS
    /// invalidation, at no cost of time).
    ///
    /// # Errors
    /// [`IommuError`]; nothing has changed then.
    pub fn unmap(&mut self, ioas: IoasId, iova: u64, len_bytes: u64) -> Result<(), IommuError> {
        self.core.fabric.iommu_mut().unmap(ioas, iova, len_bytes)?;
        self.core.routes_changed();
        // Whoever shares the address space or not: to forget more than necessary harms nobody.
        for device in self.devices.iter_mut().flatten() {
            device.invalidate(iova, len_bytes);
        }
        Ok(())
    }

    /// Functions that no longer answer send nothing any more, and nothing arrives in them.
    fn end_unreachable(&mut self) {
        self.core.routes_changed();
        for who in 0..self.core.ids.len() {
            let answers = self.core.fabric.function(self.core.ids[who]).answers;
            if self.core.answering[who] && !answers {
                self.core.landings.forget(who as u32, &mut self.core.buffers);
                self.reset(who);
            }
            self.core.answering[who] = answers;
        }
    }

    /// A function is reset.
    pub(super) fn reset(&mut self, who: usize) {
        self.core.end_life(who);
        self.core.routes_changed();
        self.with_index(who, |device, wire| device.reset(wire));
    }

    /// All functions below a bridge are reset.
    pub(super) fn reset_below(&mut self, bridge: FunctionId) {
        for function in self.core.fabric.functions_below(bridge) {
            self.reset(function.index());
        }
    }
}
