//! One transfer: pattern and poison are laid out, it is moved, and every byte is looked at.

use super::case::Case;
use super::corruption::{Corruption, Seen};
use super::keep::{Kept, Sight, Window, at};
use super::mover::{self, Ferry};
use super::steps::{self, Ask, Halt};
use super::{Options, Outcome, Pattern, ProbeError, Site, WitnessError};
use crate::addr::{Address, Origin, PhysVec};
use crate::block::{Bio, Data, Operation, SubmitError};
use crate::dma::MapError;
use crate::route::Access;
use alloc::vec;
use alloc::vec::Vec;

/// How one transfer ended.
#[derive(Debug)]
pub(super) enum Tried {
    /// Every byte arrived, the last so long after the command had ended.
    Well {
        late_ns: u64,
    },
    /// The device cannot be told of it.
    Unfit(SubmitError),
    Badly(Outcome),
}

/// What the bytes around a transfer are filled with: not what it moves.
const GUARD_SEED: u64 = 0x6775_6172_6473;

pub(super) fn try_case(
    site: &mut Site<'_>,
    kept: &mut Kept,
    case: &Case,
    options: &Options<'_>,
    ask: Ask<'_>,
) -> Result<Tried, Halt> {
    let window = Window::of(case, Sight::of(site, options));
    let Some(scene) = Scene::lay_out(case, window, options.seed) else {
        return Err(too_small(case).into());
    };
    let ended = match case.access {
        Access::Write => scene.write(site, kept, options, ask)?,
        Access::Read => scene.read(site, kept, ask)?,
    };
    Ok(match ended {
        Err(Outcome::Refused(why)) if is_unfit(&why) => Tried::Unfit(why),
        Err(outcome) => Tried::Badly(outcome),
        Ok(late_ns) => Tried::Well { late_ns },
    })
}

/// Is it this transfer that the device cannot be told of, and not the memory?
fn is_unfit(why: &SubmitError) -> bool {
    matches!(
        why,
        SubmitError::TooLong { .. }
            | SubmitError::NotAddressable { .. }
            | SubmitError::Map(MapError::Shape { .. } | MapError::TooManySegments { .. })
    )
}

/// What lies where.
struct Scene<'c> {
    case: &'c Case,
    window: Window,
    /// The window with the transfer in it, and with what must be overwritten in its place.
    expected: Vec<u8>,
    poison: Vec<u8>,
    /// Where the transfer begins in them.
    start: usize,
    len: usize,
}

impl<'c> Scene<'c> {
    fn lay_out(case: &'c Case, window: Window, seed: u64) -> Option<Self> {
        let start = usize::try_from(case.offset_bytes.checked_sub(window.offset_bytes)?).ok()?;
        let len = usize::try_from(case.total_bytes()).ok()?;
        let mut expected = vec![0; usize::try_from(window.len_bytes).ok()?];
        Pattern::Addressed.fill(seed ^ GUARD_SEED, window.offset_bytes, &mut expected);
        let mut poison = expected.clone();
        let end = start.checked_add(len)?;
        let (moved, laid) = (expected.get_mut(start..end)?, poison.get_mut(start..end)?);
        case.pattern.fill(seed, case.offset_bytes, moved);
        for (laid, moved) in laid.iter_mut().zip(moved.iter()) {
            *laid = !moved;
        }
        Some(Self {
            case,
            window,
            expected,
            poison,
            start,
            len,
        })
    }

    /// What the blocks hold where the memory holds `bytes`: operations take them from the last to the first, so that one in another's place shows.
    fn blocks_of(&self, bytes: &[u8]) -> Vec<u8> {
        let transfer = bytes.get(self.start..self.start + self.len).unwrap_or(&[]);
        let mut blocks = Vec::with_capacity(self.len);
        for operation in transfer.chunks(self.case.len_bytes.max(1) as usize).rev() {
            blocks.extend_from_slice(operation);
        }
        blocks
    }

    fn bios(&self, site: &Site<'_>, operation: Operation) -> Option<Vec<Bio>> {
        let block_bytes = site.volume.limits().block_bytes.max(1);
        let blocks = self.case.len_bytes / block_bytes;
        let bio = |index: u32| {
            let within = u64::from(index) * u64::from(self.case.len_bytes);
            let at = site.memory.first().checked_add(self.case.offset_bytes + within)?;
            let piece = PhysVec::new(at, self.case.len_bytes, Origin::LookUp).ok()?;
            let place = u64::from(self.case.operations - 1 - index);
            Some(Bio {
                operation,
                lba: site.scratch.lba.checked_add(place * u64::from(blocks))?,
                blocks,
                data: Data::Vector(Vec::from([piece])),
            })
        };
        (0..self.case.operations).map(bio).collect()
    }

    /// The initiator writes the memory: it reads its blocks.
    fn write(
        &self,
        site: &mut Site<'_>,
        kept: &mut Kept,
        options: &Options<'_>,
        ask: Ask<'_>,
    ) -> Result<Result<u64, Outcome>, Halt> {
        let lba = site.scratch.lba;
        let image = self.blocks_of(&self.expected);
        store(site, &image)?;
        let before = self.lay(site, kept, &self.poison, ask)?;
        let Some(bios) = self.bios(site, Operation::Read) else {
            return Err(too_small(self.case).into());
        };
        if let Err(outcome) = mover::all(site.host, &mut *site.volume, bios) {
            return Ok(Err(outcome));
        }
        let ended_ns = site.host.now_ns();
        let mut found = vec![0; self.expected.len()];
        let mut pause_ns = 1_000_u64;
        let corruption = loop {
            let looked_ns = site.host.now_ns().saturating_sub(ended_ns);
            self.look(site, &mut found, ask)?;
            let Some(corruption) = self.compare(&self.expected, &found, &before) else {
                remember(kept, self.window, &found);
                // What is seen at the first look was there in time.
                let late_ns = if pause_ns > 1_000 { looked_ns } else { 0 };
                return Ok(Ok(late_ns));
            };
            if looked_ns > options.settle_ns {
                break corruption;
            }
            // Later and later, so that looking does not take longer than waiting.
            let until_ns = site.host.now_ns().saturating_add(pause_ns);
            while site.host.now_ns() < until_ns {
                site.host.relax();
            }
            pause_ns = pause_ns.saturating_mul(4);
        };
        remember(kept, self.window, &found);
        // The blocks may never have held what was written to them.
        let mut blocks = vec![0; image.len()];
        load(site, &mut blocks)?;
        match blocks == image {
            true => Ok(Err(Outcome::Corrupt(corruption))),
            false => Err(ProbeError::ScratchDiffers { lba }.into()),
        }
    }

    /// The initiator reads the memory: it writes its blocks.
    fn read(&self, site: &mut Site<'_>, kept: &mut Kept, ask: Ask<'_>) -> Result<Result<u64, Outcome>, Halt> {
        let poison = self.blocks_of(&self.poison);
        store(site, &poison)?;
        let before = self.lay(site, kept, &self.expected, ask)?;
        let Some(bios) = self.bios(site, Operation::Write) else {
            return Err(too_small(self.case).into());
        };
        if let Err(outcome) = mover::all(site.host, &mut *site.volume, bios) {
            return Ok(Err(outcome));
        }
        let mut blocks = vec![0; self.len];
        load(site, &mut blocks)?;
        let mut found = self.expected.clone();
        let transfer = found
            .get_mut(self.start..self.start + self.len)
            .unwrap_or(&mut []);
        let operations = blocks.chunks(self.case.len_bytes.max(1) as usize).rev();
        for (place, operation) in transfer
            .chunks_mut(self.case.len_bytes.max(1) as usize)
            .zip(operations)
        {
            if place.len() == operation.len() {
                place.copy_from_slice(operation);
            }
        }
        Ok(match self.compare(&self.expected, &found, &before) {
            None => Ok(0),
            Some(corruption) => Err(Outcome::Corrupt(corruption)),
        })
    }

    fn compare(&self, expected: &[u8], found: &[u8], before: &[u8]) -> Option<Corruption> {
        Corruption::find(
            self.case,
            &Seen {
                expected,
                found,
                poison: &self.poison,
                before,
                start: self.start,
                len: self.len,
                window_bytes: self.window.offset_bytes,
            },
        )
    }

    /// Lays bytes out in the window; gives what was there before.
    fn lay(&self, site: &mut Site<'_>, kept: &mut Kept, bytes: &[u8], ask: Ask<'_>) -> Result<Vec<u8>, Halt> {
        let before = kept.now(self.window).map_or_else(Vec::new, |now| now.to_vec());
        let at = at(site, self.window.offset_bytes);
        steps::write(site, at, bytes, ask)?;
        remember(kept, self.window, bytes);
        Ok(before)
    }

    fn look(&self, site: &mut Site<'_>, found: &mut [u8], ask: Ask<'_>) -> Result<(), Halt> {
        let at = at(site, self.window.offset_bytes);
        steps::read(site, at, found, ask)
    }
}

/// Is what the witness writes what it reads? Where not, nothing can be said of the route.
pub(super) fn check_witness(
    site: &mut Site<'_>,
    kept: &mut Kept,
    case: &Case,
    options: &Options<'_>,
    ask: Ask<'_>,
) -> Result<(), Halt> {
    let window = Window::of(case, Sight::of(site, options));
    let Some(scene) = Scene::lay_out(case, window, options.seed) else {
        return Err(too_small(case).into());
    };
    for bytes in [&scene.poison, &scene.expected] {
        scene.lay(site, kept, bytes, ask)?;
        let mut found = vec![0; bytes.len()];
        scene.look(site, &mut found, ask)?;
        if let Some(differs) = bytes.iter().zip(&found).position(|(laid, found)| laid != found) {
            let at = at(site, window.offset_bytes.saturating_add(differs as u64));
            return Err(ProbeError::Witness(WitnessError::NotMemory { at }).into());
        }
    }
    Ok(())
}

fn too_small(case: &Case) -> ProbeError {
    ProbeError::TooSmall {
        needed_bytes: case.total_bytes(),
    }
}

fn remember(kept: &mut Kept, window: Window, bytes: &[u8]) {
    if let Some(now) = kept.now(window).filter(|now| now.len() == bytes.len()) {
        now.copy_from_slice(bytes);
    }
}

fn store(site: &mut Site<'_>, blocks: &[u8]) -> Result<(), ProbeError> {
    let lba = site.scratch.lba;
    let mut ferry = Ferry::new(site.host, &mut *site.volume, site.ram);
    (ferry.store(lba, blocks)).map_err(|error| ProbeError::scratch_write(lba, error))
}

fn load(site: &mut Site<'_>, blocks: &mut [u8]) -> Result<(), ProbeError> {
    let lba = site.scratch.lba;
    let mut ferry = Ferry::new(site.host, &mut *site.volume, site.ram);
    (ferry.load(lba, blocks)).map_err(|error| ProbeError::scratch_read(lba, error))
}
