//! What the IOMMU maps, for who keeps the books: the host's address spaces, and tests that nothing is left.

use super::super::mappings::Mapping;
use super::{IoasId, Iommu, Rights};

/// A mapping of an address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mapped {
    /// Whose.
    pub ioas: IoasId,
    /// Its first address.
    pub iova: u64,
    /// What that leads to.
    pub phys: u64,
    /// How many bytes.
    pub len_bytes: u64,
    /// What devices may do there.
    pub rights: Rights,
}

impl Iommu {
    /// All mappings of all address spaces.
    pub fn mappings(&self) -> impl Iterator<Item = Mapped> + '_ {
        let spaces = (0..).zip(&self.spaces);
        spaces.flat_map(|(number, space)| {
            let mappings = space.iter().flat_map(|space| space.from(0));
            mappings.map(move |mapping| Mapped::new(IoasId(number), mapping))
        })
    }

    /// The mapping of an address space that holds an address.
    pub fn mapping_at(&self, ioas: IoasId, iova: u64) -> Option<Mapped> {
        let mapping = self.space(ioas).ok()?.holding(iova)?;
        Some(Mapped::new(ioas, mapping))
    }
}

impl Mapped {
    fn new(ioas: IoasId, mapping: &Mapping) -> Self {
        Self {
            ioas,
            iova: mapping.first,
            phys: mapping.phys,
            // Whole pages whose number of bytes was given as a u64.
            len_bytes: (mapping.last - mapping.first).saturating_add(1),
            rights: mapping.rights,
        }
    }
}
