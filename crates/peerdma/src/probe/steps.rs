//! Memory is looked at and laid out a little at a time: whoever watches is asked in between, so that a wish to stop is heard soon also where
//! every access of the CPU is slow.

use super::{ProbeError, Site};
use crate::addr::{Address, PhysAddr};
use crate::load::Wish;

/// Shall it go on?
pub(super) type Ask<'a> = &'a mut dyn FnMut() -> Wish;

/// Why something was not brought to its end.
#[derive(Debug)]
pub(super) enum Halt {
    Failed(ProbeError),
    /// Whoever watches wants no more.
    Stopped,
}

impl From<ProbeError> for Halt {
    fn from(why: ProbeError) -> Self {
        Self::Failed(why)
    }
}

/// Bytes between two questions: some hundredths of a second where an access of 8 bytes takes ten microseconds.
const STEP_BYTES: u64 = 16 << 10;

fn step_bytes(site: &Site<'_>) -> usize {
    let granule = site.witness.granule_bytes().max(1);
    usize::try_from((STEP_BYTES / granule * granule).max(granule)).unwrap_or(usize::MAX)
}

fn go_on(ask: &mut dyn FnMut() -> Wish) -> Result<(), Halt> {
    match ask() {
        Wish::GoOn => Ok(()),
        Wish::Stop => Err(Halt::Stopped),
    }
}

/// What the memory holds, by its witness.
pub(super) fn read(site: &mut Site<'_>, at: PhysAddr, into: &mut [u8], ask: Ask<'_>) -> Result<(), Halt> {
    let mut next = at;
    for part in into.chunks_mut(step_bytes(site)) {
        go_on(ask)?;
        site.witness.read(next, part).map_err(ProbeError::Witness)?;
        next = next.checked_add(part.len() as u64).unwrap_or(next);
    }
    Ok(())
}

/// Has the memory hold this, by its witness.
pub(super) fn write(site: &mut Site<'_>, at: PhysAddr, from: &[u8], ask: Ask<'_>) -> Result<(), Halt> {
    let mut next = at;
    for part in from.chunks(step_bytes(site)) {
        go_on(ask)?;
        site.witness.write(next, part).map_err(ProbeError::Witness)?;
        next = next.checked_add(part.len() as u64).unwrap_or(next);
    }
    Ok(())
}
