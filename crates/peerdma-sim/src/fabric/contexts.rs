//! What the IOMMU knows of each requester: found by requester ID for every request.

use super::iommu::{IoasId, Iommu, IommuError};
use peerdma::addr::Bdf;

/// May a requester send translated requests, as far as the IOMMU is concerned?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AtsPermission {
    /// It may.
    #[default]
    Allowed,
    /// It may not, whatever its own ATS capability says.
    Denied,
}

/// What belongs to one requester.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Context {
    pub(super) ioas: Option<IoasId>,
    pub(super) ats: AtsPermission,
}

/// For each device and function number of a bus, a position in the list of contexts.
type BusTable = Box<[u32; 256]>;

/// Contexts by requester ID: a table for each bus that has any, since every request asks.
#[derive(Debug, Default)]
pub(super) struct Contexts {
    /// Domain, and for each of its buses the positions in the list of those of its requesters.
    domains: Vec<(u32, Vec<Option<BusTable>>)>,
    list: Vec<Context>,
}

impl Contexts {
    const NONE: u32 = u32::MAX;

    /// That of `requester`; the one that all have from the start where nobody gave it another.
    pub(super) fn find(&self, requester: Bdf) -> Context {
        let domain = match &self.domains[..] {
            [only] if only.0 == requester.domain() => Some(only),
            domains => {
                let at = domains.binary_search_by_key(&requester.domain(), |(domain, _)| *domain);
                at.ok().and_then(|at| domains.get(at))
            }
        };
        let buses = domain.map(|(_, buses)| buses);
        let table = buses.and_then(|buses| buses.get(usize::from(requester.bus()))?.as_ref());
        let position = table.map_or(Self::NONE, |table| table[usize::from(requester.devfn())]);
        self.list.get(position as usize).copied().unwrap_or_default()
    }

    /// That of `requester`, to be changed.
    pub(super) fn entry(&mut self, requester: Bdf) -> Result<&mut Context, IommuError> {
        let full = IommuError::Full {
            most: Iommu::MOST_CONTEXTS,
        };
        let at = self
            .domains
            .binary_search_by_key(&requester.domain(), |(domain, _)| *domain);
        let has_room = self.list.len() < Iommu::MOST_CONTEXTS;
        let at = match at {
            Ok(at) => at,
            Err(_) if !has_room => return Err(full),
            Err(at) => {
                self.domains.insert(at, (requester.domain(), Vec::new()));
                at
            }
        };
        let buses = &mut self.domains[at].1;
        let bus = usize::from(requester.bus());
        if buses.len() <= bus {
            buses.resize_with(bus + 1, || None);
        }
        let table = buses[bus].get_or_insert_with(|| Box::new([Self::NONE; 256]));
        let position = &mut table[usize::from(requester.devfn())];
        if *position == Self::NONE {
            if self.list.len() >= Iommu::MOST_CONTEXTS {
                return Err(full);
            }
            *position = self.list.len() as u32;
            self.list.push(Context::default());
        }
        self.list.get_mut(*position as usize).ok_or(full)
    }
}
