//! Translations of whole regions: made for the first who holds them, ended with the last. A registration holds what some initiator needs;
//! a request for a region that is not registered holds it for as long as it is mapped.

use super::mapping::Hold;
use super::state::State;
use super::survey::Routed;
use super::sync::Locks;
use crate::addr::{Address, Iova, PhysAddr, Span};
use crate::iommu::{IommuError, Rights, Target, Translations};
use crate::iova::Request;
use crate::memory::{CpuView, Memory, Region};
use crate::route::Access;
use crate::route::spec::Form;

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

/// Why translations of a region are not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldError {
    NoIova { len_bytes: u64 },
    Iommu(IommuError),
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
                // RAM keeps its number where that is free: who reads a trace or a fault finds the memory by it.
                let same = match memory {
                    Memory::Ram => Some(Iova::from_u64(phys.to_u64())),
                    Memory::Bar(_) => None,
                };
                let iova = same
                    .and_then(|iova| self.addresses.allocate_at(iova, len_bytes, mask))
                    .or_else(|| self.addresses.allocate(aligned))
                    .or_else(|| self.addresses.allocate(any))
                    .or_else(|| {
                        self.magazine.drain(&mut self.addresses);
                        self.addresses.allocate(any)
                    })
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
                self.unsettle(place, held_before);
                return Err(error);
            }
            if let Some(state) = self.regions.get_mut(place) {
                state.held_mut(hold).by_registration = true;
            }
        }
        Ok(())
    }

    /// Releases what its registration did not hold before; what the IOMMU refuses to unmap stays held, and is released with the rest.
    pub(super) fn unsettle(&mut self, place: usize, held_before: [bool; 2]) {
        for (hold, was_held) in HOLDS.into_iter().zip(held_before) {
            if !was_held {
                let _ = self.release_one(place, hold);
            }
        }
    }

    /// What its registration holds.
    pub(super) fn registration_holds(&self, place: usize) -> [bool; 2] {
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
                        Hold::Iova => by_iova && bar.cpu != CpuView::None,
                        Hold::Bus => !by_iova && state.has_net,
                    }
                }
                Routed::Refused(_) => false,
            })
    }

    /// Can a region be translated at its bus addresses?
    pub(super) fn has_net(&self, region: &Region) -> bool {
        let (Memory::Bar(bar), Some(_)) = (region.memory, &self.translations) else {
            return false;
        };
        let page = self.page_bytes();
        // A name that is no physical address is nothing to translate to.
        if bar.cpu == CpuView::None || bar.bus_offset & (page - 1) != 0 {
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
}

const HOLDS: [Hold; 2] = [Hold::Iova, Hold::Bus];

/// The largest page whose use is made possible.
const LARGE_PAGE: u64 = 2 << 20;

/// The pages that hold a span: the first address and the bytes. Nothing where they are the whole space.
pub(super) fn pages_of(span: Span<PhysAddr>, page: u64) -> Option<(PhysAddr, u64)> {
    let first = span.first().to_u64() & !(page - 1);
    let last = span.last().to_u64() | (page - 1);
    Some((PhysAddr::from_u64(first), (last - first).checked_add(1)?))
}
