//! What was in memory and blocks before a probe, to be put back.

use super::case::Case;
use super::mover::Ferry;
use super::steps::{self, Ask, Halt};
use super::{Options, ProbeError, Site};
use crate::addr::{Address, PhysAddr};
use alloc::vec;
use alloc::vec::Vec;

/// What was there before.
#[derive(Debug)]
pub(super) struct Kept {
    memory: Vec<Stretch>,
    lba: u64,
    blocks: Vec<u8>,
}

/// A stretch of the memory that is touched.
#[derive(Debug)]
struct Stretch {
    /// From the beginning of the memory.
    offset_bytes: u64,
    saved: Vec<u8>,
    /// What it holds now, as far as is known.
    now: Vec<u8>,
}

/// How memory is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    memory_bytes: u64,
    granule_bytes: u64,
    guard_bytes: u64,
}

impl Sight {
    pub(super) fn of(site: &Site<'_>, options: &Options<'_>) -> Self {
        Self {
            memory_bytes: site.memory.len_bytes().unwrap_or(u64::MAX),
            granule_bytes: site.witness.granule_bytes(),
            guard_bytes: options.guard_bytes.into(),
        }
    }
}

/// A transfer with its guards, from the beginning of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) offset_bytes: u64,
    pub(super) len_bytes: u64,
}

impl Window {
    /// Of a case.
    pub(super) fn of(case: &Case, sight: Sight) -> Self {
        let granule = sight.granule_bytes.max(1);
        let first = case.offset_bytes.saturating_sub(sight.guard_bytes) / granule * granule;
        let end = case.offset_bytes.saturating_add(case.total_bytes());
        let end = end.saturating_add(sight.guard_bytes).min(sight.memory_bytes);
        let end = end
            .checked_next_multiple_of(granule)
            .unwrap_or(end)
            .min(sight.memory_bytes);
        Self {
            offset_bytes: first,
            len_bytes: end.saturating_sub(first),
        }
    }

    fn end(&self) -> u64 {
        self.offset_bytes.saturating_add(self.len_bytes)
    }
}

/// How often something is put back that fails: what failed once (a mapping for want of memory, a command) may succeed, and nobody else will do it.
const TRIES: u32 = 3;

/// Tries until it succeeds; its last failure.
fn insist<E>(mut put: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    let first = put();
    (1..TRIES).fold(first, |result, _| result.or_else(|_| put()))
}

/// The address of an offset into the memory.
pub(super) fn at(site: &Site<'_>, offset_bytes: u64) -> PhysAddr {
    let first = site.memory.first();
    first.checked_add(offset_bytes).unwrap_or(first)
}

impl Kept {
    /// Reads all that these cases touch.
    pub(super) fn take(
        site: &mut Site<'_>,
        cases: &[Case],
        sight: Sight,
        ask: Ask<'_>,
    ) -> Result<Self, Halt> {
        let windows = cases.iter().map(|case| Window::of(case, sight));
        let mut windows: Vec<Window> = windows.collect();
        windows.sort_unstable_by_key(|window| window.offset_bytes);
        let mut merged: Vec<Window> = Vec::new();
        for window in windows {
            match merged.last_mut() {
                Some(last) if window.offset_bytes <= last.end() => {
                    last.len_bytes = last.end().max(window.end()) - last.offset_bytes;
                }
                _ => merged.push(window),
            }
        }
        let mut memory = Vec::with_capacity(merged.len());
        for window in merged {
            let mut saved = vec![0; usize::try_from(window.len_bytes).unwrap_or(0)];
            let at = at(site, window.offset_bytes);
            steps::read(site, at, &mut saved, ask)?;
            memory.push(Stretch {
                offset_bytes: window.offset_bytes,
                now: saved.clone(),
                saved,
            });
        }
        let lba = site.scratch.lba;
        let most = cases.iter().map(Case::total_bytes).max().unwrap_or(0);
        let mut blocks = vec![0; usize::try_from(most).unwrap_or(0)];
        Ferry::new(site.host, &mut *site.volume, site.ram)
            .load(lba, &mut blocks)
            .map_err(|error| ProbeError::scratch_read(lba, error))?;
        Ok(Self { memory, lba, blocks })
    }

    /// The longest stretch.
    pub(super) fn longest(&self) -> Option<Window> {
        let longest = self.memory.iter().max_by_key(|stretch| stretch.saved.len())?;
        Some(Window {
            offset_bytes: longest.offset_bytes,
            len_bytes: longest.saved.len() as u64,
        })
    }

    /// How much of the scratch blocks is kept, and may be overwritten.
    pub(super) fn scratch_bytes(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// What a window holds now, as far as is known.
    pub(super) fn now(&mut self, window: Window) -> Option<&mut [u8]> {
        self.memory.iter_mut().find_map(|stretch| {
            let first = window.offset_bytes.checked_sub(stretch.offset_bytes)?;
            let first = usize::try_from(first).ok()?;
            let end = first.checked_add(usize::try_from(window.len_bytes).ok()?)?;
            stretch.now.get_mut(first..end)
        })
    }

    /// Puts everything back; tries again, and then goes on, where something fails.
    ///
    /// # Errors
    /// The first of what did not succeed at all.
    pub(super) fn put_back(self, site: &mut Site<'_>) -> Result<(), ProbeError> {
        let mut result = Ok(());
        for stretch in &self.memory {
            let at = at(site, stretch.offset_bytes);
            let written = insist(|| site.witness.write(at, &stretch.saved));
            result = result.and(written.map_err(ProbeError::Witness));
        }
        let mut ferry = Ferry::new(site.host, &mut *site.volume, site.ram);
        let written = insist(|| ferry.store(self.lba, &self.blocks));
        result.and(written.map_err(|error| ProbeError::scratch_write(self.lba, error)))
    }
}
