//! An I/O address space: what several queues share. Nothing here is called on the way of a request whose memory is registered.

use super::mapping::Charge;
use super::state::{HoldError, InitiatorState, RegionState, State};
use super::sync::{Locks, Owned};
use super::uses::Uses;
use super::{DmaSegment, InUse, Initiator, IoasError, MapError, Mapper, OwnBase, PeerRoute, Routes, Space};
use crate::addr::{Address, Bdf, BusAddr, Iova, PhysAddr, Span};
use crate::iommu::{IommuError, Translations};
use crate::iova::Allocator;
use crate::memory::{Memory, MemoryMap, Region, RegionId};
use crate::route::spec::Form;
use crate::route::{Access, MapType};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering, fence};

/// Does an IOMMU translate?
pub enum Translation<L: Locks> {
    /// No: there is none, or it lets addresses pass. Devices reach physical addresses, less the inbound offset.
    Direct,
    /// Yes.
    Translated(Owned<L>),
}

/// One set of translations, with the initiators that use it, the memory map, and the regions that are mapped for good.
pub struct Ioas<L: Locks> {
    pub(super) state: L::Lock<State<L>>,
    /// Counted up, under the lock, by every change that a mapper must see ([`super::uses`]).
    pub(super) generation: AtomicUsize,
}

impl<L: Locks> Ioas<L> {
    /// A space without initiators. `reserved` is every range that an initiator may not issue unless it leads to exactly those bytes (invariant
    /// 6): bus addresses in windows that an initiator could reach, the interrupt window, what firmware keeps. BARs in the map and what
    /// initiators call their own are added by themselves.
    pub fn new(translation: Translation<L>, map: MemoryMap, reserved: &[Span<Iova>]) -> Arc<Self> {
        let translations = match translation {
            Translation::Direct => None,
            Translation::Translated(translations) => Some(translations),
        };
        let (page_bytes, apertures) = match &translations {
            Some(translations) => (translations.page_bytes(), translations.apertures()),
            None => (1, &[][..]),
        };
        let addresses = Allocator::new(page_bytes, apertures, &[]);
        let mut state = State {
            translations,
            addresses,
            map: Arc::new(map),
            reserved: reserved.to_vec(),
            initiators: Vec::new(),
            regions: Vec::new(),
            mappers: Vec::new(),
            stuck: Vec::new(),
            map_version: 0,
        };
        let map = state.map.clone();
        state.regions = fresh_regions(&state, &map);
        // Nothing is taken yet that could be in the way.
        let _ = state.reserve(&map, &[]);
        Arc::new(Self {
            state: L::lock(state),
            generation: AtomicUsize::new(0),
        })
    }

    /// Adds a function that uses the space; asks `routes` how it reaches the BARs of others.
    ///
    /// # Errors
    /// [`IoasError::Duplicate`]; [`IoasError::Map`] where what is registered cannot be translated for it: it was not added.
    pub fn add_initiator(&self, initiator: Initiator, routes: &dyn Routes) -> Result<(), IoasError> {
        self.change(|state| {
            let bdf = initiator.bdf;
            if state.initiators.iter().any(|other| other.initiator.bdf == bdf) {
                return Err(IoasError::Duplicate(bdf));
            }
            let routes = routes_of(initiator, &state.map, routes);
            state.initiators.push(InitiatorState {
                initiator,
                own: None,
                routes,
                forced: Vec::new(),
            });
            for place in 0..state.regions.len() {
                if !state
                    .regions
                    .get(place)
                    .is_some_and(|region| region.is_registered)
                {
                    continue;
                }
                if let Err(error) = state.settle(place) {
                    // What was made for it before stays: others may use it, and it leads where it should.
                    state.initiators.pop();
                    return Err(IoasError::Map(map_error(state, place, error)));
                }
            }
            Ok(())
        })
    }

    /// Says how a function names its own memory, or that it no longer does.
    ///
    /// # Errors
    /// [`IoasError::UnknownInitiator`]; [`IoasError::BadOwnBase`] where it is empty or wraps; [`IoasError::AddressMeansTwoThings`] where one
    /// of the addresses is mapped already. Nothing has changed.
    pub fn set_own_base(&self, initiator: Bdf, base: Option<OwnBase>) -> Result<(), IoasError> {
        self.change(|state| {
            let is_bad = |own: OwnBase| {
                super::route::own_span(own).is_none()
                    || own.offset_bytes.checked_add(own.len_bytes).is_none()
                    || own.bar > 5
            };
            if base.is_some_and(is_bad) {
                return Err(IoasError::BadOwnBase(initiator));
            }
            let mut initiators = state.initiators.clone();
            let own = (initiators.iter_mut()).find(|other| other.initiator.bdf == initiator);
            own.ok_or(IoasError::UnknownInitiator(initiator))?.own = base;
            let map = state.map.clone();
            state.reserve(&map, &initiators)?;
            state.initiators = initiators;
            Ok(())
        })
    }

    /// Maps a region for good: requests for its memory do no work at the IOMMU. Does nothing where it is mapped for good.
    ///
    /// # Errors
    /// [`MapError::NoSuchRegion`], [`MapError::Revoked`], [`MapError::NoIova`], [`MapError::Iommu`], [`MapError::AddressMeansTwoThings`]
    pub fn register(&self, region: RegionId) -> Result<(), MapError> {
        self.change(|state| {
            let place = state.place(region).ok_or(MapError::NoSuchRegion(region))?;
            let of_region = state.regions.get(place);
            if of_region.is_some_and(|state| state.is_revoked) {
                return Err(MapError::Revoked(region));
            }
            state
                .settle(place)
                .map_err(|error| map_error(state, place, error))?;
            if let Some(state) = state.regions.get_mut(place) {
                state.is_registered = true;
            }
            Ok(())
        })
    }

    /// Undoes [`Self::register`].
    ///
    /// # Errors
    /// [`InUse`]: a mapping uses it, or the IOMMU refuses; it is still registered, all or a part of it still mapped.
    pub fn deregister(&self, region: RegionId) -> Result<(), InUse> {
        let was_registered = self.always(|state| {
            let of_region = state.place(region).and_then(|place| state.regions.get_mut(place));
            of_region.is_some_and(|state| {
                state.is_hidden = state.is_registered;
                state.is_registered
            })
        });
        if !was_registered {
            return Ok(());
        }
        // From here on, mappers that have not counted a use must come to the lock.
        self.always(|state| {
            let result = state.empty(region);
            let of_region = state.place(region).and_then(|place| state.regions.get_mut(place));
            if let Some(state) = of_region {
                state.is_hidden = false;
                state.is_registered = result.is_err();
            }
            result
        })
    }

    /// Nothing of a region is mapped from now on. What uses it goes on until it is unmapped; does nothing for a region that is not there.
    pub fn begin_revoke(&self, region: RegionId) {
        self.always(|state| {
            let of_region = state.place(region).and_then(|place| state.regions.get_mut(place));
            if let Some(state) = of_region {
                state.is_revoked = true;
            }
        });
    }

    /// Ends what [`Self::begin_revoke`] began, which it calls. When it returns `Ok` no mapping uses the region, and no translation leads there.
    ///
    /// # Errors
    /// [`InUse`]: call again when the users are done.
    pub fn finish_revoke(&self, region: RegionId) -> Result<(), InUse> {
        self.begin_revoke(region);
        self.always(|state| {
            state.empty(region)?;
            let of_region = state.place(region).and_then(|place| state.regions.get_mut(place));
            if let Some(state) = of_region {
                state.is_registered = false;
            }
            Ok(())
        })
    }

    /// Overrides the route of one initiator to one region; [`MapType::NotSupported`] ends the override. What is mapped by it says so
    /// ([`Mapping::is_forced`](super::Mapping::is_forced)).
    pub fn force(&self, initiator: Bdf, region: RegionId, access: Access, map_type: MapType, form: Form) {
        self.always(|state| {
            let Some(place) = state.place(region) else { return };
            let of = (state.initiators.iter_mut()).find(|other| other.initiator.bdf == initiator);
            let Some(of) = of else { return };
            of.forced
                .retain(|forced| (forced.0, forced.2) != (region, access));
            if map_type != MapType::NotSupported {
                of.forced.push((region, place as u32, access, map_type, form));
            }
        });
    }

    /// Uses another memory map, and asks `routes` anew.
    ///
    /// # Errors
    /// [`IoasError::InUse`] where a region that is gone from it, or another now, is registered or used: revoke it first;
    /// [`IoasError::AddressMeansTwoThings`] where a new BAR has addresses on the bus that are mapped for something else. Nothing has changed.
    pub fn replace_map(&self, map: MemoryMap, routes: &dyn Routes) -> Result<(), IoasError> {
        let map = Arc::new(map);
        let is_kept = |region: &Region| map.get(region.id) == Some(region);
        let set_leaving = |state: &mut State<L>, is_leaving| {
            let old = state.map.clone();
            for (region, state) in old.regions().iter().zip(&mut state.regions) {
                if !is_kept(region) {
                    state.is_leaving = is_leaving;
                }
            }
        };
        self.always(|state| set_leaving(state, true));
        let result = self.always(|state| {
            for (region, of_region) in state.map.regions().iter().zip(&state.regions) {
                let region = region.id;
                let uses = (state.uses(region)).saturating_add(of_region.holds());
                let is_gone = state.map.get(region).is_some_and(|region| !is_kept(region));
                if is_gone && (uses > 0 || of_region.is_registered) {
                    let (uses, iommu) = (uses.max(1), None);
                    return Err(IoasError::InUse(InUse { region, uses, iommu }));
                }
            }
            let mut initiators = state.initiators.clone();
            for initiator in &mut initiators {
                initiator.routes = routes_of(initiator.initiator, &map, routes);
                initiator.forced.retain_mut(|forced| {
                    let place = map.regions().iter().position(|region| region.id == forced.0);
                    forced.1 = place.unwrap_or(0) as u32;
                    place.is_some()
                });
            }
            state.reserve(&map, &initiators)?;
            let mut regions = fresh_regions(state, &map);
            for (region, fresh) in map.regions().iter().zip(&mut regions) {
                let kept = state.place(region.id).and_then(|place| state.regions.get(place));
                if let Some(kept) = kept
                    && state.map.get(region.id) == Some(region)
                {
                    *fresh = kept.clone();
                }
            }
            state.initiators = initiators;
            state.regions = regions;
            state.map = map.clone();
            state.map_version = state.map_version.wrapping_add(1);
            Ok(())
        });
        if result.is_err() {
            self.always(|state| set_leaving(state, false));
        }
        result
    }

    /// The memory map in use.
    pub fn map_snapshot(&self) -> Arc<MemoryMap> {
        L::with(&self.state, |state| state.map.clone())
    }

    /// A handle for one queue of an initiator.
    ///
    /// # Errors
    /// [`IoasError::UnknownInitiator`], [`IoasError::Full`]
    pub fn mapper(self: &Arc<Self>, initiator: Bdf) -> Result<Mapper<L>, IoasError> {
        // Names are given once in a program's life, so that no space takes another's mapping for its own.
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = |id: usize| id.checked_add(1);
        let id = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let id = id.map_err(|_| IoasError::Full)?;
        L::with(&self.state, |state| {
            let generation = self.generation.load(Ordering::SeqCst);
            let view = state.view(initiator, generation);
            let view = view.ok_or(IoasError::UnknownInitiator(initiator))?;
            let uses = Arc::new(Uses::new(id, state.map.clone()));
            state.mappers.push(uses.clone());
            Ok(Mapper::new(self.clone(), id, view, uses))
        })
    }

    /// Where a segment leads: its first byte. [`Self::resolve_part`] also says how far.
    pub fn resolve(&self, initiator: Bdf, segment: &DmaSegment) -> Option<PhysAddr> {
        let (phys, _) = self.resolve_part(initiator, segment)?;
        Some(phys)
    }

    /// Where a segment leads, and for how many bytes from its start, at least 1 and at most its own: what lies beyond may lead elsewhere.
    pub fn resolve_part(&self, initiator: Bdf, segment: &DmaSegment) -> Option<(PhysAddr, u32)> {
        L::with(&self.state, |state| {
            let (phys, len_bytes) = match segment.space {
                Space::Iova => match &state.translations {
                    Some(translations) => translations.look_up(Iova::from_u64(segment.addr))?,
                    None => {
                        let of = |other: &&InitiatorState| other.initiator.bdf == initiator;
                        let of = state.initiators.iter().find(of)?;
                        let offset = of.initiator.inbound_offset as i64;
                        let phys = segment.addr.checked_add_signed(offset)?;
                        (PhysAddr::from_u64(phys), u64::MAX)
                    }
                },
                Space::Bus => bus_to_phys(state, initiator, BusAddr::from_u64(segment.addr))?,
                Space::Own => own_to_phys(state, initiator, segment.addr)?,
            };
            let len_bytes =
                u32::try_from(len_bytes).map_or(segment.len_bytes, |len| len.min(segment.len_bytes));
            (len_bytes > 0).then_some((phys, len_bytes))
        })
    }

    /// A change that mappers must see where it succeeds.
    fn change<R, E>(&self, inside: impl FnOnce(&mut State<L>) -> Result<R, E>) -> Result<R, E> {
        self.always(inside)
    }

    /// A change that mappers must see.
    fn always<R>(&self, inside: impl FnOnce(&mut State<L>) -> R) -> R {
        L::with(&self.state, |state| {
            // The other half of the handshake: see `uses`. What an earlier call marked is seen by who does not count before this fence.
            fence(Ordering::SeqCst);
            let result = inside(state);
            self.generation.fetch_add(1, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            result
        })
    }
}

impl<L: Locks> State<L> {
    /// Ends all translations of a region that nothing uses. Its users can no longer become more.
    fn empty(&mut self, region: RegionId) -> Result<(), InUse> {
        let Some(place) = self.place(region) else {
            return Ok(());
        };
        let in_use = |uses, iommu| InUse { region, uses, iommu };
        if let Err(error) = self.unstick(region) {
            return Err(in_use(self.uses(region), Some(error)));
        }
        match self.uses(region) {
            0 => {}
            uses => return Err(in_use(uses, None)),
        }
        (self.release_registration(place)).map_err(|error| in_use(0, Some(error)))
    }

    /// Tries again to unmap what could not be unmapped.
    fn unstick(&mut self, region: RegionId) -> Result<(), IommuError> {
        let mut result = Ok(());
        let mut stuck = core::mem::take(&mut self.stuck);
        stuck.retain_mut(|stuck| {
            if !stuck.regions.contains(&region) {
                return true;
            }
            let free = &mut |addresses: &mut Allocator, iova, _| {
                let _ = addresses.free(iova);
            };
            match self.undo(&mut stuck.charges, free) {
                Ok(()) => false,
                Err(error) => {
                    result = Err(error);
                    true
                }
            }
        });
        self.stuck = stuck;
        result
    }

    /// Undoes charges, the last first, and gives ranges of addresses to `free`; on an error the rest remains.
    pub(super) fn undo(
        &mut self,
        charges: &mut Vec<Charge>,
        free: &mut dyn FnMut(&mut Allocator, Iova, u64),
    ) -> Result<(), IommuError> {
        while let Some(charge) = charges.last().copied() {
            match charge {
                Charge::Range { iova, len_bytes } => free(&mut self.addresses, iova, len_bytes),
                Charge::Mapped { iova, len_bytes } => {
                    let translations = self.translations.as_mut().ok_or(IommuError::NotMapped)?;
                    translations.unmap(iova, len_bytes)?;
                }
                Charge::Held(region, hold) => {
                    let place = self.place(region).ok_or(IommuError::NotMapped)?;
                    self.release(place, hold)?;
                }
            }
            charges.pop();
        }
        Ok(())
    }
}

/// The error of a request or registration.
pub(super) fn map_error<L: Locks>(state: &State<L>, place: usize, error: HoldError) -> MapError {
    match error {
        HoldError::NoIova { len_bytes } => MapError::NoIova { len_bytes },
        // At its bus addresses something else is mapped.
        HoldError::Iommu(IommuError::Overlap) => {
            let span = state.map.regions().get(place).and_then(super::state::bus_span);
            match span {
                Some(span) => MapError::AddressMeansTwoThings {
                    addr: span.first().to_u64(),
                },
                None => MapError::Iommu(IommuError::Overlap),
            }
        }
        HoldError::Iommu(error) => MapError::Iommu(error),
    }
}

fn fresh_regions<L: Locks>(state: &State<L>, map: &MemoryMap) -> Vec<RegionState> {
    (map.regions().iter())
        .map(|region| RegionState::fresh(state.has_net(region)))
        .collect()
}

fn routes_of(initiator: Initiator, map: &MemoryMap, routes: &dyn Routes) -> Vec<Option<[PeerRoute; 2]>> {
    let route = |region: &Region| match region.memory {
        Memory::Bar(bar) if bar.provider != initiator.bdf => Some(
            [Access::Read, Access::Write]
                .map(|access| routes.route(initiator.bdf, bar.provider, bar.bar, access, initiator.class)),
        ),
        Memory::Bar(_) | Memory::Ram => None,
    };
    map.regions().iter().map(route).collect()
}

/// The BAR that has a bus address: one that the initiator reaches by it, where bridges use the same twice.
fn bus_to_phys<L: Locks>(state: &State<L>, initiator: Bdf, at: BusAddr) -> Option<(PhysAddr, u64)> {
    let of = state
        .initiators
        .iter()
        .find(|other| other.initiator.bdf == initiator)?;
    let at = Iova::from_u64(at.to_u64());
    (0u32..).zip(state.map.regions()).find_map(|(place, region)| {
        let span = super::state::bus_span(region).filter(|span| span.contains(at))?;
        if !of.is_on_bus(place) {
            return None;
        }
        let phys = region
            .span
            .first()
            .checked_add(at.to_u64() - span.first().to_u64())?;
        Some((phys, (span.last().to_u64() - at.to_u64()).saturating_add(1)))
    })
}

fn own_to_phys<L: Locks>(state: &State<L>, initiator: Bdf, at: u64) -> Option<(PhysAddr, u64)> {
    let of = state
        .initiators
        .iter()
        .find(|other| other.initiator.bdf == initiator)?;
    let own = of.own?;
    let into = at.checked_sub(own.base).filter(|into| *into < own.len_bytes)?;
    let offset = own.offset_bytes.checked_add(into)?;
    state.map.regions().iter().find_map(|region| {
        let Memory::Bar(bar) = region.memory else {
            return None;
        };
        if (bar.provider, bar.bar) != (initiator, own.bar) {
            return None;
        }
        let into_region = offset.checked_sub(bar.offset_bytes)?;
        let left = region.span.len_minus_one().checked_sub(into_region)?;
        let phys = region.span.first().checked_add(into_region)?;
        Some((phys, (left.saturating_add(1)).min(own.len_bytes - into)))
    })
}
