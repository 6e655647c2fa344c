//! An I/O address space: what several queues share. Nothing here is called on the way of a request whose memory is registered.

use super::hold::{HoldError, RegionState};
use super::state::{InitiatorState, State};
use super::sync::{Locks, Owned};
use super::uses::Uses;
use super::{InUse, Initiator, IoasError, MapError, Mapper, OwnBase, PeerRoute, Routes};
use crate::addr::{Address, Bdf, Iova, Span};
use crate::iommu::{IommuError, Translations};
use crate::iova::{Allocator, Magazine};
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
    /// 6): bus addresses in windows that an initiator could reach, the interrupt window, what firmware keeps. What initiators call their own
    /// is added by itself; of the BARs in the map, all are where an IOMMU translates, and elsewhere those that the initiator reaches by their
    /// bus address: where bus and physical addresses differ, the windows of BARs that it does not reach now must be given here.
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
            magazine: Magazine::new(page_bytes),
            map: Arc::new(map),
            reserved: reserved.to_vec(),
            initiators: Vec::new(),
            regions: Vec::new(),
            mappers: Vec::new(),
            stuck: Vec::new(),
            map_version: 0,
            is_replaced: false,
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

    /// Adds a function that uses the space; asks `routes` how it reaches host RAM and the BARs of others.
    ///
    /// # Errors
    /// [`IoasError::Duplicate`]; [`IoasError::Map`] where what is registered cannot be translated for it: it was not added.
    pub fn add_initiator(&self, initiator: Initiator, routes: &dyn Routes) -> Result<(), IoasError> {
        loop {
            let map = self.map_snapshot();
            // Not under the lock: who judges routes may ask this space.
            let routes = routes_of(initiator, &map, routes);
            let added = self.change(|state| {
                let is_same_map = Arc::ptr_eq(&state.map, &map) && !state.is_replaced;
                is_same_map.then(|| state.add_initiator(initiator, routes))
            });
            if let Some(result) = added {
                return result;
            }
        }
    }

    /// Says how a function names its own memory, by one base, or that it no longer does.
    ///
    /// # Errors
    /// As [`Self::set_own_bases`].
    pub fn set_own_base(&self, initiator: Bdf, base: Option<OwnBase>) -> Result<(), IoasError> {
        self.set_own_bases(initiator, base.as_slice())
    }

    /// Says how a function names its own memory, in place of what was said before: several BARs, or several parts of one.
    ///
    /// # Errors
    /// [`IoasError::UnknownInitiator`]; [`IoasError::BadOwnBase`] where one of them is empty or wraps, or two have an address or a byte in
    /// common; [`IoasError::AddressMeansTwoThings`] where one of the addresses is mapped already. Nothing has changed.
    pub fn set_own_bases(&self, initiator: Bdf, bases: &[OwnBase]) -> Result<(), IoasError> {
        self.change(|state| {
            if !super::route::are_sound(bases) {
                return Err(IoasError::BadOwnBase(initiator));
            }
            let mut initiators = state.initiators.clone();
            let own = (initiators.iter_mut()).find(|other| other.initiator.bdf == initiator);
            own.ok_or(IoasError::UnknownInitiator(initiator))?.own = bases.to_vec();
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
    /// ([`Mapping::is_forced`](super::Mapping::is_forced)). RAM has one name for an initiator, whatever the map type and the form: an override
    /// with a [`Form::HostAddress`] that goes [`MapType::ThruHostBridge`] is what its judge would say.
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
        let all = |state: &State<L>| -> Vec<Initiator> {
            let all = state.initiators.iter().map(|other| other.initiator);
            all.collect()
        };
        let judged = loop {
            let initiators = L::with(&self.state, |state| all(state));
            // Not under the lock: who judges routes may ask this space.
            let judged = initiators.iter().map(|one| routes_of(*one, &map, routes));
            let judged: Vec<_> = judged.collect();
            let is_begun = self.change(|state| {
                let begins = !state.is_replaced && all(state) == initiators;
                if begins {
                    state.is_replaced = true;
                    set_leaving(state, true);
                }
                begins
            });
            if is_begun {
                break judged;
            }
        };
        // From here on, mappers that have not counted a use of what leaves are refused.
        self.change(|state| {
            let result = state.replace_map(&map, judged);
            state.is_replaced = false;
            if result.is_err() {
                set_leaving(state, false);
            }
            result
        })
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

impl<L: Locks> State<L> {
    /// Uses another map, with the routes of each initiator. What leaves gains no more users.
    fn replace_map(
        &mut self,
        map: &Arc<MemoryMap>,
        routes: Vec<Vec<Option<[PeerRoute; 2]>>>,
    ) -> Result<(), IoasError> {
        for (region, of_region) in self.map.regions().iter().zip(&self.regions) {
            let uses = (self.uses(region.id)).saturating_add(of_region.holds());
            if map.get(region.id) != Some(region) && (uses > 0 || of_region.is_registered) {
                let (region, uses, iommu) = (region.id, uses.max(1), None);
                return Err(IoasError::InUse(InUse { region, uses, iommu }));
            }
        }
        let mut initiators = self.initiators.clone();
        for (initiator, routes) in initiators.iter_mut().zip(routes) {
            initiator.routes = routes;
            initiator.forced.retain_mut(|forced| {
                let place = map.regions().iter().position(|region| region.id == forced.0);
                forced.1 = place.unwrap_or(0) as u32;
                place.is_some()
            });
        }
        self.reserve(map, &initiators)?;
        let mut regions = fresh_regions(self, map);
        for (region, fresh) in map.regions().iter().zip(&mut regions) {
            let kept = self.place(region.id).and_then(|place| self.regions.get(place));
            if let Some(kept) = kept
                && self.map.get(region.id) == Some(region)
            {
                *fresh = kept.clone();
            }
        }
        self.initiators = initiators;
        self.regions = regions;
        self.map = map.clone();
        self.map_version = self.map_version.wrapping_add(1);
        Ok(())
    }

    fn add_initiator(
        &mut self,
        initiator: Initiator,
        routes: Vec<Option<[PeerRoute; 2]>>,
    ) -> Result<(), IoasError> {
        let bdf = initiator.bdf;
        if self.initiators.iter().any(|other| other.initiator.bdf == bdf) {
            return Err(IoasError::Duplicate(bdf));
        }
        self.initiators.push(InitiatorState {
            initiator,
            own: Vec::new(),
            routes,
            forced: Vec::new(),
        });
        let registered = |state: &State<L>, place| {
            let of_region = state.regions.get(place);
            of_region.is_some_and(|region: &RegionState| region.is_registered)
        };
        let places = 0..self.regions.len();
        let held_before: Vec<[bool; 2]> = (places.clone())
            .map(|place| self.registration_holds(place))
            .collect();
        for place in places {
            if !registered(self, place) {
                continue;
            }
            if let Err(error) = self.settle(place) {
                for (place, held) in held_before.into_iter().enumerate() {
                    self.unsettle(place, held);
                }
                self.initiators.pop();
                return Err(IoasError::Map(map_error(self, place, error)));
            }
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
    const ALL: [Access; 2] = [Access::Read, Access::Write];
    let ram = ALL.map(
        |access| match routes.ram(initiator.bdf, access, initiator.class) {
            Ok(()) => PeerRoute::Reached {
                map_type: MapType::ThruHostBridge,
                form: Form::HostAddress,
            },
            Err(refused) => PeerRoute::Refused(refused),
        },
    );
    let route = |region: &Region| match region.memory {
        Memory::Bar(bar) if bar.provider != initiator.bdf => Some(
            ALL.map(|access| routes.route(initiator.bdf, bar.provider, bar.bar, access, initiator.class)),
        ),
        Memory::Bar(_) => None,
        Memory::Ram => Some(ram),
    };
    map.regions().iter().map(route).collect()
}
