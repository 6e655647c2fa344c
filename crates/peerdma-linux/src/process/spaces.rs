//! Which address spaces of the kernel are in use: each has one owner at a time, since its mappings are one table.

use super::piece::Piece;
use super::sync::{Mutex, lock};
use crate::vfio::{Backend, VfioError};
use rustix::io::Errno;
use std::sync::Arc;

/// The address spaces that are in use, and what could not be unmapped in them.
#[derive(Debug)]
pub(super) struct Spaces {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: Vec<Arc<dyn Backend>>,
    stuck: Vec<Stuck>,
    /// First and last physical addresses of what was not unmapped when it should have been, once for each refusal.
    reached: Vec<(u64, u64)>,
    refused: Option<VfioError>,
}

/// Memory that devices may still reach: it goes after its address space.
#[derive(Debug)]
#[expect(dead_code, reason = "held, in the order in which they go")]
struct Stuck {
    backend: Arc<dyn Backend>,
    piece: Arc<Piece>,
}

/// Address spaces for one owner, until it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    spaces: Arc<Spaces>,
    backends: Vec<Arc<dyn Backend>>,
}

impl Spaces {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::default()),
        })
    }

    /// What the kernel refused to map last.
    pub(super) fn refused(&self) -> Option<VfioError> {
        lock(&self.state).refused.clone()
    }

    /// Do devices still reach a part of this, though it was to be unmapped?
    pub(super) fn is_reached(&self, first: u64, last: u64) -> bool {
        let state = lock(&self.state);
        (state.reached.iter()).any(|(start, end)| *start <= last && first <= *end)
    }

    /// Claims all of these; nothing where one is in use.
    pub(super) fn claim(self: &Arc<Self>, backends: &[Arc<dyn Backend>]) -> Option<Claim> {
        let mut state = lock(&self.state);
        let is_used = |one: &Arc<dyn Backend>| state.used.iter().any(|other| is_same(one, other));
        if backends.iter().any(is_used) {
            return None;
        }
        state.used.extend(backends.iter().cloned());
        Some(Claim {
            spaces: self.clone(),
            backends: backends.to_vec(),
        })
    }
}

impl Claim {
    /// Remembers that the kernel refused to map so much.
    pub(super) fn note(&self, backend: &Arc<dyn Backend>, len_bytes: u64, errno: Errno) {
        let refused = VfioError::of_map(&**backend, len_bytes, errno);
        lock(&self.spaces.state).refused = Some(refused);
    }

    /// Remembers that memory was not unmapped: it must not be given to anybody else.
    pub(super) fn note_reached(&self, first: u64, last: u64) {
        lock(&self.spaces.state).reached.push((first, last));
    }

    /// What was noted by [`Self::note_reached`] has been unmapped after all.
    pub(super) fn note_unmapped(&self, first: u64, last: u64) {
        let mut state = lock(&self.spaces.state);
        let place = state.reached.iter().position(|range| *range == (first, last));
        if let Some(place) = place {
            state.reached.swap_remove(place);
        }
    }

    /// Keeps memory that one of the address spaces would not unmap. The space is never given to another owner.
    pub(super) fn keep(&mut self, backend: &Arc<dyn Backend>, piece: &Arc<Piece>) {
        self.backends.retain(|other| !is_same(backend, other));
        let stuck = Stuck {
            backend: backend.clone(),
            piece: piece.clone(),
        };
        lock(&self.spaces.state).stuck.push(stuck);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Outside of the lock: the last owner of an address space closes it.
        let _left: Vec<_> = {
            let mut state = lock(&self.spaces.state);
            let is_ours = |one: &mut Arc<dyn Backend>| self.backends.iter().any(|other| is_same(one, other));
            state.used.extract_if(.., is_ours).collect()
        };
    }
}

pub(super) fn is_same(one: &Arc<dyn Backend>, other: &Arc<dyn Backend>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}
