//! An I/O address space: what several queues share. Nothing here is called on the way of a request whose memory is registered.

use super::hold::{HoldError, RegionState};
use super::state::{InitiatorState, State};
use super::sync::{Locks, Owned};
use super::uses::Uses;
use super::{InUse, Initiator, IoasError, MapError, Mapper, OwnBase, PeerRoute, Routes};
use crate::addr::{Address, Bdf, Iova, Span};
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
            let registered = |state: &State<L>, place| {
                let of_region = state.regions.get(place);
                of_region.is_some_and(|region: &RegionState| region.is_registered)
            };
            let places = 0..state.regions.len();
            let held_before: Vec<[bool; 2]> = (places.clone())
                .map(|place| state.registration_holds(place))
                .collect();
            for place in places {
                if !registered(state, place) {
                    continue;
                }
                if let Err(error) = state.settle(place) {
                    for (place, held) in held_before.into_iter().enumerate() {
                        state.unsettle(place, held);
                    }
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

    /// Overrides the route of one initiator to one region; [`MapType::NotSupported`] ends the override. What is mapped by it says so
    /// ([`Mapping::is_forced`](super::Mapping::is_forced)).
    pub fn force(&self, initiator: Bdf, region: RegionId, access: Access, map_type: MapType, form: Form) {
        self.change(|state| {
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
        self.change(|state| set_leaving(state, true));
        let result = self.change(|state| {
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
            self.change(|state| set_leaving(state, false));
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

    /// A change that mappers must see.
    pub(super) fn change<R>(&self, inside: impl FnOnce(&mut State<L>) -> R) -> R {
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
