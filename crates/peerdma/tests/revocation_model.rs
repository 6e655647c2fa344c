//! The handshake between who maps and who takes a region away, in every order of its steps (`dma::uses` says which they are).
//!
//! A model checker tries all interleavings of two mappers, each with its own counter, and one revoker. Stores are held back in a buffer of the thread
//! that made them, as processors do, until a fence or any later moment: with plain loads and stores alone the protocol is wrong, and the model
//! must say so. Loads are in order. That is x86's order; the fences stand on both sides of what it may turn around, and what weaker machines
//! may turn around besides, a `SeqCst` fence forbids in the same places.

use stateright::{Checker, Model, Property};

/// How often each mapper maps.
const ROUNDS: u8 = 2;
const MAPPERS: usize = 2;

/// What is left out of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Whole,
    /// The mapper does not look again after it counted.
    WithoutLookingAgain,
    WithoutMappersFence,
    WithoutRevokersFence,
    /// The use is counted back before the device is done.
    CountedBackTooEarly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mapper {
    /// Looks if the region may be mapped.
    Idle,
    /// Saw that it may; counts its use next.
    Looked,
    Counted,
    Fenced,
    /// The device has the address.
    Submitted,
    /// The device is done.
    Completed,
    Refused,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Revoker {
    Idle,
    Marked,
    Fenced,
    /// How many counters were read as zero.
    Reading(u8),
    /// `finish_revoke` returned `Ok`.
    Returned,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    mappers: [Mapper; MAPPERS],
    rounds: [u8; MAPPERS],
    revoker: Revoker,
    /// As all see them.
    counts: [u8; MAPPERS],
    revoked: bool,
    /// Stores that only their own thread sees.
    held_counts: [Option<u8>; MAPPERS],
    held_revoked: bool,
    /// A device used the memory after the revocation returned.
    was_late: bool,
    /// A counter was to go below zero.
    was_freed_twice: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Mapper(usize),
    /// What a mapper stored becomes visible.
    Drain(usize),
    Revoker,
    DrainRevoked,
    /// The device uses the memory.
    Transfer(usize),
}

struct Handshake(Variant);

impl Model for Handshake {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            mappers: [Mapper::Idle; MAPPERS],
            rounds: [0; MAPPERS],
            revoker: Revoker::Idle,
            counts: [0; MAPPERS],
            revoked: false,
            held_counts: [None; MAPPERS],
            held_revoked: false,
            was_late: false,
            was_freed_twice: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for mapper in 0..MAPPERS {
            if !matches!(state.mappers[mapper], Mapper::Done) {
                actions.push(Action::Mapper(mapper));
            }
            if state.held_counts[mapper].is_some() {
                actions.push(Action::Drain(mapper));
            }
            if state.mappers[mapper] == Mapper::Submitted {
                actions.push(Action::Transfer(mapper));
            }
        }
        if state.revoker != Revoker::Returned {
            actions.push(Action::Revoker);
        }
        if state.held_revoked {
            actions.push(Action::DrainRevoked);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Drain(mapper) => next.drain(mapper),
            Action::DrainRevoked => next.drain_revoked(),
            Action::Transfer(_) => next.was_late |= next.revoker == Revoker::Returned,
            Action::Mapper(mapper) => next.step(mapper, self.0),
            Action::Revoker => next.revoke(self.0),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("no transfer after the revocation returned", |_, state| {
                !state.was_late
            }),
            Property::<Self>::always("each use is counted back once", |_, state| !state.was_freed_twice),
            Property::<Self>::always("nothing is in use when the revocation returned", |_, state| {
                let is_mapped = |mapper: &Mapper| matches!(mapper, Mapper::Submitted | Mapper::Completed);
                state.revoker != Revoker::Returned || !state.mappers.iter().any(is_mapped)
            }),
            Property::<Self>::sometimes("a transfer can end and the revocation return", |_, state| {
                state.revoker == Revoker::Returned && state.rounds == [ROUNDS; MAPPERS]
            }),
            Property::<Self>::sometimes("a mapper is refused", |_, state| {
                state.mappers.contains(&Mapper::Refused)
            }),
        ]
    }
}

impl State {
    fn drain(&mut self, mapper: usize) {
        if let Some(count) = self.held_counts[mapper].take() {
            self.counts[mapper] = count;
        }
    }

    fn drain_revoked(&mut self) {
        self.revoked |= std::mem::take(&mut self.held_revoked);
    }

    /// A mapper sees its own stores.
    fn own_count(&self, mapper: usize) -> u8 {
        self.held_counts[mapper].unwrap_or(self.counts[mapper])
    }

    /// Stores leave their thread in order: an earlier one is visible before a later one is held.
    fn store_count(&mut self, mapper: usize, count: u8) {
        self.drain(mapper);
        self.held_counts[mapper] = Some(count);
    }

    fn count_back(&mut self, mapper: usize) {
        match self.own_count(mapper).checked_sub(1) {
            Some(count) => self.store_count(mapper, count),
            None => self.was_freed_twice = true,
        }
    }

    fn step(&mut self, mapper: usize, variant: Variant) {
        self.mappers[mapper] = match self.mappers[mapper] {
            Mapper::Idle if self.rounds[mapper] == ROUNDS => Mapper::Done,
            Mapper::Idle if self.revoked => Mapper::Refused,
            Mapper::Idle => Mapper::Looked,
            Mapper::Looked => {
                self.store_count(mapper, self.own_count(mapper) + 1);
                Mapper::Counted
            }
            Mapper::Counted => {
                if variant != Variant::WithoutMappersFence {
                    self.drain(mapper);
                }
                Mapper::Fenced
            }
            Mapper::Fenced if self.revoked && variant != Variant::WithoutLookingAgain => {
                self.count_back(mapper);
                Mapper::Refused
            }
            Mapper::Fenced => Mapper::Submitted,
            Mapper::Submitted => {
                if variant == Variant::CountedBackTooEarly {
                    self.count_back(mapper);
                    // The device goes on with what it was given.
                    self.was_late |= self.revoker == Revoker::Returned;
                }
                Mapper::Completed
            }
            Mapper::Completed => {
                if variant != Variant::CountedBackTooEarly {
                    self.count_back(mapper);
                }
                self.rounds[mapper] += 1;
                Mapper::Idle
            }
            Mapper::Refused | Mapper::Done => Mapper::Done,
        };
    }

    fn revoke(&mut self, variant: Variant) {
        self.revoker = match self.revoker {
            Revoker::Idle => {
                self.held_revoked = true;
                Revoker::Marked
            }
            Revoker::Marked => {
                if variant != Variant::WithoutRevokersFence {
                    self.drain_revoked();
                }
                Revoker::Fenced
            }
            Revoker::Fenced => Revoker::Reading(0),
            // In use: read again later.
            Revoker::Reading(mapper) if self.counts[usize::from(mapper)] > 0 => Revoker::Fenced,
            Revoker::Reading(mapper) if usize::from(mapper) + 1 < MAPPERS => Revoker::Reading(mapper + 1),
            Revoker::Reading(_) | Revoker::Returned => Revoker::Returned,
        };
    }
}

fn late(variant: Variant) -> bool {
    let checker = Handshake(variant).checker().threads(1).spawn_bfs().join();
    checker
        .discovery("no transfer after the revocation returned")
        .is_some()
        || checker
            .discovery("nothing is in use when the revocation returned")
            .is_some()
}

#[test]
fn no_order_of_steps_lets_a_transfer_outlive_a_revocation() {
    let checker = Handshake(Variant::Whole).checker().threads(1).spawn_bfs().join();
    checker.assert_properties();
    assert!(
        checker.unique_state_count() > 1_000,
        "the model has become trivial"
    );
}

#[test]
fn each_part_of_the_handshake_is_needed() {
    for variant in [
        Variant::WithoutLookingAgain,
        Variant::WithoutMappersFence,
        Variant::WithoutRevokersFence,
        Variant::CountedBackTooEarly,
    ] {
        assert!(late(variant), "{variant:?} does no harm in the model");
    }
}
