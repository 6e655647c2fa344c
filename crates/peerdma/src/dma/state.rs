//! What the queues of an address space share, behind its lock: the memory map, the initiators with their routes, the translations, and which
//! addresses are taken. Every change is whole or undone.

use super::mapping::Hold;
use super::route::own_span;
use super::survey::{Routed, Survey};
use super::sync::{Locks, Owned};
use super::uses::Uses;
use super::view::View;
use super::{Initiator, IoasError, OwnBase};
use crate::addr::{Address, Bdf, Iova, PhysAddr, Span};
use crate::iommu::{IommuError, Rights, Target, Translations};
use crate::iova::{Allocator, Request, joined};
use crate::memory::{BarMemory, Memory, MemoryMap, Region, RegionId};
use crate::route::spec::Form;
use crate::route::{Access, MapType};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The shared part of an address space.
pub(super) struct State<L: Locks> {
    pub(super) translations: Option<Owned<L>>,
    pub(super) addresses: Allocator,
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
}

/// One initiator.
#[derive(Debug, Clone)]
pub(super) struct InitiatorState {
    pub(super) initiator: Initiator,
    pub(super) own: Option<OwnBase>,
    /// For reads and writes of each region, in the order of the map; nothing for RAM and its own memory.
    pub(super) routes: Vec<Option<[super::PeerRoute; 2]>>,
    /// Overrides, the last for each region and access.
    pub(super) forced: Vec<(RegionId, u32, Access, MapType, Form)>,
}

/// One region.
#[derive(Debug, Clone, Default)]
pub(super) struct RegionState {
    pub(super) is_revoked: bool,
    pub(super) is_registered: bool,
    /// Can it be translated at its bus addresses?
    pub(super) has_net: bool,
    /// Its registration is being undone: whoever maps it must come to the lock.
    pub(super) is_hidden: bool,
    /// It is being taken out of the map.
    pub(super) is_leaving: bool,
    iova: Held,
    bus: Held,
}

/// Translations of a whole region.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// How many hold them; its registration is one.
    count: usize,
    /// Does its registration?
    by_registration: bool,
    delta: u64,
}

/// What an IOMMU refused to unmap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stuck {
    pub(super) charges: Vec<super::mapping::Charge>,
    pub(super) regions: Vec<RegionId>,
}

/// Why translations of a region are not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldError {
    NoIova { len_bytes: u64 },
    Iommu(IommuError),
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

impl RegionState {
    pub(super) fn fresh(has_net: bool) -> Self {
        Self {
            has_net,
            ..Self::default()
        }
    }

    fn held(&self, hold: Hold) -> &Held {
        match hold {
            Hold::Iova => &self.iova,
            Hold::Bus => &self.bus,
        }
    }

    fn held_mut(&mut self, hold: Hold) -> &mut Held {
        match hold {
            Hold::Iova => &mut self.iova,
            Hold::Bus => &mut self.bus,
        }
    }

    /// What its registration adds to a physical address.
    pub(super) fn registered_delta(&self, hold: Hold) -> Option<u64> {
        let held = self.held(hold);
        (held.by_registration && !self.is_hidden).then_some(held.delta)
    }

    /// How many hold its translations.
    pub(super) fn holds(&self) -> usize {
        self.iova.count.saturating_add(self.bus.count)
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
            .filter_map(|initiator| initiator.own.and_then(own_span));
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
        let own_base = initiator.own.and_then(own_span);
        let own = joined(bars(&|_, bar| bar.provider == bdf).into_iter().chain(own_base));
        let reserved = if self.translations.is_some() {
            Vec::new()
        } else {
            let near = bars(&|place, bar| bar.provider != bdf && initiator.is_on_bus(place));
            joined(
                self.reserved
                    .iter()
                    .copied()
                    .chain(own.iter().copied())
                    .chain(near),
            )
        };
        let survey = Survey {
            initiator,
            is_translated: self.translations.is_some(),
            reserved: &reserved,
            own: &own,
        };
        let mut entries = Vec::with_capacity(regions.len());
        for (place, (region, state)) in (0u32..).zip(regions.iter().zip(&self.regions)) {
            survey.region(place, region, state, &mut entries);
        }
        Some(View {
            entries,
            map: self.map.clone(),
            generation,
            map_version: self.map_version,
            initiator: bdf,
            issued_mask: initiator.initiator.address_mask,
            page_bytes: self.page_bytes(),
        })
    }

    /// Holds the translations of a region, making them if nobody did; what to add to a physical address.
    pub(super) fn hold(&mut self, place: usize, hold: Hold, mask: u64) -> Result<u64, HoldError> {
        let none = HoldError::Iommu(IommuError::NotMapped);
        let region = *self.map.regions().get(place).ok_or(none)?;
        let state = self.regions.get_mut(place).ok_or(none)?;
        let held = state.held_mut(hold);
        if held.count > 0 {
            held.count = held.count.saturating_add(1);
            return Ok(held.delta);
        }
        let page = self.addresses.page_bytes();
        let (phys, len_bytes) =
            pages_of(region.span, page).ok_or(HoldError::NoIova { len_bytes: u64::MAX })?;
        let translations = self.translations.as_mut().ok_or(none)?;
        let (target, iova) = match (region.memory, hold) {
            (Memory::Bar(bar), Hold::Bus) => {
                let iova = phys.to_u64().wrapping_add(bar.bus_offset);
                (Target::Mmio, Iova::from_u64(iova))
            }
            (memory, _) => {
                // Where it begins like the physical pages do, the IOMMU can use its large pages.
                let large = len_bytes
                    .min(LARGE_PAGE)
                    .checked_next_power_of_two()
                    .unwrap_or(page);
                let align_bytes = large.max(page);
                let aligned = Request {
                    len_bytes,
                    align_bytes,
                    phase_bytes: phys.to_u64() & (align_bytes - 1),
                    mask,
                };
                let any = Request {
                    align_bytes: page,
                    phase_bytes: 0,
                    ..aligned
                };
                let iova = (self.addresses.allocate(aligned))
                    .or_else(|| self.addresses.allocate(any))
                    .ok_or(HoldError::NoIova { len_bytes })?;
                let target = match memory {
                    Memory::Ram => Target::Ram,
                    Memory::Bar(_) => Target::Mmio,
                };
                (target, iova)
            }
        };
        if let Err(error) = translations.map(iova, phys, len_bytes, Rights::ReadWrite, target) {
            if hold == Hold::Iova {
                let _ = self.addresses.free(iova);
            }
            return Err(HoldError::Iommu(error));
        }
        held.count = 1;
        held.delta = iova.to_u64().wrapping_sub(phys.to_u64());
        Ok(held.delta)
    }

    /// Undoes one [`Self::hold`]; on an error it is still held.
    pub(super) fn release(&mut self, place: usize, hold: Hold) -> Result<(), IommuError> {
        let (Some(region), Some(state)) = (self.map.regions().get(place), self.regions.get_mut(place)) else {
            return Err(IommuError::NotMapped);
        };
        let held = state.held_mut(hold);
        if held.count > 1 {
            held.count -= 1;
            return Ok(());
        }
        let page = self.addresses.page_bytes();
        let pages = pages_of(region.span, page).filter(|_| held.count == 1);
        let (phys, len_bytes) = pages.ok_or(IommuError::NotMapped)?;
        let iova = Iova::from_u64(phys.to_u64().wrapping_add(held.delta));
        let translations = self.translations.as_mut().ok_or(IommuError::NotMapped)?;
        translations.unmap(iova, len_bytes)?;
        *held = Held::default();
        if hold == Hold::Iova {
            let _ = self.addresses.free(iova);
        }
        Ok(())
    }

    /// Holds for its registration what some initiator needs of a region; on an error nothing more is held than before, or what cannot be
    /// released again.
    pub(super) fn settle(&mut self, place: usize) -> Result<(), HoldError> {
        let held_before = self.registration_holds(place);
        for (hold, was_held) in HOLDS.into_iter().zip(held_before) {
            if was_held || !self.is_needed(place, hold) {
                continue;
            }
            if let Err(error) = self.hold(place, hold, self.mask()) {
                for (hold, was_held) in HOLDS.into_iter().zip(held_before) {
                    if !was_held {
                        let _ = self.release_one(place, hold);
                    }
                }
                return Err(error);
            }
            if let Some(state) = self.regions.get_mut(place) {
                state.held_mut(hold).by_registration = true;
            }
        }
        Ok(())
    }

    fn registration_holds(&self, place: usize) -> [bool; 2] {
        let state = self.regions.get(place);
        HOLDS.map(|hold| state.is_some_and(|state| state.held(hold).by_registration))
    }

    /// What its registration holds is released; on an error it is as before, or less what was released.
    pub(super) fn release_registration(&mut self, place: usize) -> Result<(), IommuError> {
        for hold in HOLDS {
            self.release_one(place, hold)?;
        }
        Ok(())
    }

    fn release_one(&mut self, place: usize, hold: Hold) -> Result<(), IommuError> {
        let is_held = |state: &RegionState| state.held(hold).by_registration;
        if self.regions.get(place).is_some_and(is_held) {
            self.release(place, hold)?;
            if let Some(state) = self.regions.get_mut(place) {
                state.held_mut(hold).by_registration = false;
            }
        }
        Ok(())
    }

    /// Would some initiator use these translations?
    fn is_needed(&self, place: usize, hold: Hold) -> bool {
        let (Some(region), Some(state)) = (self.map.regions().get(place), self.regions.get(place)) else {
            return false;
        };
        if self.translations.is_none() {
            return false;
        }
        let Memory::Bar(bar) = region.memory else {
            return hold == Hold::Iova;
        };
        let place = place as u32;
        let peers = (self.initiators.iter()).filter(|other| other.initiator.bdf != bar.provider);
        peers
            .flat_map(|peer| [Access::Read, Access::Write].map(|access| (peer, peer.route(place, access))))
            .any(|(peer, route)| match route {
                Routed::Reached { form, .. } => {
                    let by_iova = form == Form::HostAddress || peer.initiator.class.is_translated();
                    match hold {
                        Hold::Iova => by_iova,
                        Hold::Bus => !by_iova && state.has_net,
                    }
                }
                Routed::Refused(_) => false,
            })
    }

    /// The highest address that all initiators can issue.
    pub(super) fn mask(&self) -> u64 {
        (self.initiators.iter()).fold(u64::MAX, |mask, other| mask.min(other.initiator.address_mask))
    }

    /// Can a region be translated at its bus addresses?
    pub(super) fn has_net(&self, region: &Region) -> bool {
        let (Memory::Bar(bar), Some(_)) = (region.memory, &self.translations) else {
            return false;
        };
        let page = self.page_bytes();
        if bar.bus_offset & (page - 1) != 0 {
            return false;
        }
        let Some((phys, len_bytes)) = pages_of(region.span, page) else {
            return false;
        };
        let first = phys.to_u64().wrapping_add(bar.bus_offset);
        let span = first
            .checked_add(len_bytes - 1)
            .and_then(|last| Span::new(Iova::from_u64(first), Iova::from_u64(last)).ok());
        span.is_some_and(|span| self.addresses.is_in_aperture(span))
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
        self.addresses
            .set_reserved(&reserved)
            .map_err(|error| IoasError::AddressMeansTwoThings {
                addr: error.at.to_u64(),
            })
    }
}

const HOLDS: [Hold; 2] = [Hold::Iova, Hold::Bus];

/// The largest page whose use is made possible.
const LARGE_PAGE: u64 = 2 << 20;

/// The bus addresses of a BAR, as addresses that an initiator may issue.
pub(super) fn bus_span(region: &Region) -> Option<Span<Iova>> {
    let Memory::Bar(bar) = region.memory else {
        return None;
    };
    let end = |phys| Iova::from_u64(bar.bus_address(phys).to_u64());
    Span::new(end(region.span.first()), end(region.span.last())).ok()
}

/// The pages that hold a span: the first address and the bytes. Nothing where they are the whole space.
pub(super) fn pages_of(span: Span<PhysAddr>, page: u64) -> Option<(PhysAddr, u64)> {
    let first = span.first().to_u64() & !(page - 1);
    let last = span.last().to_u64() | (page - 1);
    Some((PhysAddr::from_u64(first), (last - first).checked_add(1)?))
}
