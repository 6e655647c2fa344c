//! What the queues of an address space share, behind its lock: the memory map, the initiators with their routes, the translations, and which
//! addresses are taken. Every change is whole or undone.

use super::hold::RegionState;
use super::route::own_span;
use super::survey::{Routed, Survey};
use super::sync::{Locks, Owned};
use super::uses::Uses;
use super::view::View;
use super::{Initiator, IoasError, OwnBase};
use crate::addr::{Address, Bdf, Iova, Span};
use crate::iova::{Allocator, Magazine, joined};
use crate::memory::{BarMemory, Memory, MemoryMap, Region, RegionId};
use crate::route::spec::Form;
use crate::route::{Access, MapType};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The shared part of an address space.
pub(super) struct State<L: Locks> {
    pub(super) translations: Option<Owned<L>>,
    pub(super) addresses: Allocator,
    /// Ranges that requests gave back. Under the lock, as the translations are for which they are needed: so that a range that is only kept
    /// is never in the way of a reservation, nor of another queue.
    pub(super) magazine: Magazine,
    pub(super) map: Arc<MemoryMap>,
    /// As the embedder gave it.
    pub(super) reserved: Vec<Span<Iova>>,
    pub(super) initiators: Vec<InitiatorState>,
    /// In the order of the map.
    pub(super) regions: Vec<RegionState>,
    pub(super) mappers: Vec<Arc<Uses>>,
    /// What could not be unmapped when a mapping failed: tried again when its region is taken away.
    pub(super) stuck: Vec<Stuck>,
    pub(super) map_version: usize,
    /// Is somebody about to use another map?
    pub(super) is_replaced: bool,
}

/// One initiator.
#[derive(Debug, Clone)]
pub(super) struct InitiatorState {
    pub(super) initiator: Initiator,
    /// None has a byte or an address that another has, too.
    pub(super) own: Vec<OwnBase>,
    /// For reads and writes of each region, in the order of the map; nothing for its own memory.
    pub(super) routes: Vec<Option<[super::PeerRoute; 2]>>,
    /// Overrides, the last for each region and access.
    pub(super) forced: Vec<(RegionId, u32, Access, MapType, Form)>,
}

/// What an IOMMU refused to unmap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stuck {
    pub(super) charges: Vec<super::mapping::Charge>,
    pub(super) regions: Vec<RegionId>,
}

impl InitiatorState {
    /// How it reaches the region at this place of the map.
    pub(super) fn route(&self, place: u32, access: Access) -> Routed {
        let judged = self.routes.get(place as usize).copied().flatten();
        let judged = match judged {
            Some([reads, writes]) => Routed::judged(match access {
                Access::Read => reads,
                Access::Write => writes,
            }),
            None => Routed::Refused(super::Refused::NoSuchFunction(self.initiator.bdf)),
        };
        let forced = (self.forced.iter()).find(|forced| forced.1 == place && forced.2 == access);
        match forced {
            Some(&(_, _, _, map_type, form)) => {
                let same = Routed::Reached {
                    map_type,
                    form,
                    is_forced: false,
                };
                if judged == same {
                    return same;
                }
                Routed::Reached {
                    map_type,
                    form,
                    is_forced: true,
                }
            }
            None => judged,
        }
    }

    /// Does it reach the region at this place of the map by its bus addresses?
    pub(super) fn is_on_bus(&self, place: u32) -> bool {
        [Access::Read, Access::Write].into_iter().any(|access| {
            matches!(
                self.route(place, access),
                Routed::Reached {
                    form: Form::BusAddress,
                    ..
                }
            )
        })
    }
}

impl<L: Locks> State<L> {
    pub(super) fn place(&self, region: RegionId) -> Option<usize> {
        (self.map.regions().iter()).position(|other| other.id == region)
    }

    pub(super) fn page_bytes(&self) -> u64 {
        self.addresses.page_bytes()
    }

    /// All that may not be given: what the embedder reserved, what BARs are known by on the bus, and what initiators call their own.
    pub(super) fn all_reserved(&self, map: &MemoryMap, initiators: &[InitiatorState]) -> Vec<Span<Iova>> {
        let bars = map.regions().iter().filter_map(bus_span);
        let own = initiators
            .iter()
            .flat_map(|initiator| initiator.own.iter().copied().filter_map(own_span));
        joined(self.reserved.iter().copied().chain(bars).chain(own))
    }

    /// The view of one initiator.
    pub(super) fn view(&self, initiator: Bdf, generation: usize) -> Option<View> {
        let initiator = (self.initiators.iter()).find(|other| other.initiator.bdf == initiator)?;
        let bdf = initiator.initiator.bdf;
        let regions = self.map.regions();
        let bars = |wanted: &dyn Fn(u32, BarMemory) -> bool| -> Vec<Span<Iova>> {
            (0u32..)
                .zip(regions)
                .filter(|(place, region)| matches!(region.memory, Memory::Bar(bar) if wanted(*place, bar)))
                .filter_map(|(_, region)| bus_span(region))
                .collect()
        };
        let own_bases = initiator.own.iter().copied().filter_map(own_span);
        let own = joined(bars(&|_, bar| bar.provider == bdf).into_iter().chain(own_bases));
        let near = bars(&|place, bar| bar.provider != bdf && initiator.is_on_bus(place));
        let doubled = doubled(&near);
        let mut reserved = Vec::new();
        // What a translation agent answers is the host's own name for the bytes, as it is without an IOMMU.
        if self.translations.is_none() || initiator.initiator.class.is_translated() {
            let given = self.reserved.iter().chain(&own).copied();
            reserved = joined(given.chain(near));
        }
        let survey = Survey {
            initiator,
            is_translated: self.translations.is_some(),
            reserved: &reserved,
            own: &own,
            doubled: &doubled,
        };
        let mut entries = Vec::with_capacity(regions.len());
        for (place, (region, state)) in (0u32..).zip(regions.iter().zip(&self.regions)) {
            survey.region(place, region, state, &mut entries);
        }
        Some(View {
            lasts: entries.iter().map(|entry| entry.last).collect(),
            entries,
            map: self.map.clone(),
            generation,
            map_version: self.map_version,
            initiator: bdf,
            issued_mask: initiator.initiator.address_mask,
            page_bytes: self.page_bytes(),
        })
    }

    /// The highest address that all initiators can issue.
    pub(super) fn mask(&self) -> u64 {
        (self.initiators.iter()).fold(u64::MAX, |mask, other| mask.min(other.initiator.address_mask))
    }

    /// How many mappings use a region, and how many of its pieces could not be unmapped.
    pub(super) fn uses(&self, region: RegionId) -> usize {
        let stuck = (self.stuck.iter()).filter(|stuck| stuck.regions.contains(&region));
        (self.mappers.iter()).fold(stuck.count(), |sum, mapper| sum.saturating_add(mapper.of(region)))
    }

    /// Checks what an initiator calls its own, and reserves it.
    pub(super) fn reserve(
        &mut self,
        map: &MemoryMap,
        initiators: &[InitiatorState],
    ) -> Result<(), IoasError> {
        let reserved = self.all_reserved(map, initiators);
        self.magazine.drain(&mut self.addresses);
        self.addresses
            .set_reserved(&reserved)
            .map_err(|error| IoasError::AddressMeansTwoThings {
                addr: error.at.to_u64(),
            })
    }
}

/// The bus addresses of a BAR, as addresses that an initiator may issue.
pub(super) fn bus_span(region: &Region) -> Option<Span<Iova>> {
    let Memory::Bar(bar) = region.memory else {
        return None;
    };
    let end = |phys| Iova::from_u64(bar.bus_address(phys).to_u64());
    Span::new(end(region.span.first()), end(region.span.last())).ok()
}

/// What lies in more than one of these.
fn doubled(spans: &[Span<Iova>]) -> Vec<Span<Iova>> {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable_by_key(|span| span.first());
    let mut end: Option<Iova> = None;
    let mut doubled = Vec::new();
    for span in sorted {
        if let Some(end) = end {
            doubled.extend(Span::new(span.first(), span.last().min(end)));
        }
        end = Some(end.map_or(span.last(), |end| end.max(span.last())));
    }
    joined(doubled.into_iter())
}
