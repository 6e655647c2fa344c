//! The translation agent: what it answers to a device that asks for a translation (ATS, PCIe Base 10.2).

use super::host::Physical;
use super::{Fabric, FunctionId};
use crate::device::Translation;
use crate::tlp::Access;
use peerdma::snapshot::IommuMode;

impl Fabric {
    /// What the translation agent answers to `function`: the address to put into translated requests, a bus address
    /// where it leads to a BAR below the same host bridge. Nothing where ATS is off or not allowed, or nothing is mapped.
    pub fn translate_for_device(&self, function: FunctionId, iova: u64) -> Option<Translation> {
        let node = self.nodes.get(function.index())?;
        let root = self.root_of(function);
        if !node.ats_enabled || !self.iommu.lets_translate(node.bdf) {
            return None;
        }
        let inbound_offset = self.host.roots.get(root as usize)?.inbound_offset;
        match self.host.iommu {
            IommuMode::Off => None,
            IommuMode::Passthrough => Some(Translation {
                address: iova,
                len_bytes: u64::MAX - iova,
                may_read: true,
                may_write: true,
            }),
            IommuMode::Translating => {
                let found = self.iommu.look_up(node.bdf, iova).ok()?;
                let place = self.host.map.find(found.phys);
                let address = match place.by {
                    Some(Physical::Window { root: to, phys, bus }) if to == root => bus + (found.phys - phys),
                    // What the root complex adds to it again.
                    _ => u64::try_from(i128::from(found.phys) - i128::from(inbound_offset)).ok()?,
                };
                Some(Translation {
                    address,
                    len_bytes: found.holds_bytes.min(place.holds_bytes).min(u64::MAX - address),
                    may_read: found.rights.allow(Access::Read),
                    may_write: found.rights.allow(Access::Write),
                })
            }
        }
    }
}
