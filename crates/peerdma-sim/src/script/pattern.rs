//! Bytes that tell where they come from: what is moved, what was there before, and what became of each.
//!
//! Bytes that are moved are 0x01 to 0x40, bytes that were there before 0x80 to 0xbf: no byte can be taken for one of the
//! other kind, nor for what a read that nobody answered leaves.

use super::Expected;
use crate::memory::{Banks, MemoryError, Place};

/// Whose bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// What is moved.
    Moved,
    /// What was there before.
    Before,
}

/// Which bytes of its kind: those of this seed, from so many on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) seed: u64,
    pub(super) skipped_bytes: u64,
}

/// Bytes looked at together.
const CHUNK_BYTES: usize = 64 << 10;
/// Ranges that are told apart; further ones are counted only.
const MOST_RANGES: usize = 32;
/// A run of right bytes between wrong ones that is shorter than this is chance.
const CHANCE_BYTES: u64 = 8;

/// What became of some bytes that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Bytes from the start of the transfer.
    pub offset: u64,
    /// How many.
    pub len_bytes: u64,
    /// What became of them; never [`Expected::Mixed`].
    pub fate: Expected,
}

/// What became of all bytes of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fates {
    /// The first ranges, in order.
    pub ranges: Vec<Range>,
    /// How many ranges follow them.
    pub further_ranges: u64,
    /// Bytes that arrived.
    pub intact_bytes: u64,
    /// Bytes that are what was there before.
    pub lost_bytes: u64,
    /// Bytes that are all ones.
    pub all_ones_bytes: u64,
    /// Bytes that are something else.
    pub wrong_bytes: u64,
}

impl Fates {
    /// What became of the whole.
    pub fn whole(&self) -> Expected {
        match &self.ranges[..] {
            [only] if self.further_ranges == 0 => only.fate,
            _ => Expected::Mixed,
        }
    }

    fn push(&mut self, range: Range) {
        let count = match range.fate {
            Expected::Intact => &mut self.intact_bytes,
            Expected::Lost => &mut self.lost_bytes,
            Expected::AllOnes => &mut self.all_ones_bytes,
            Expected::Wrong | Expected::Mixed => &mut self.wrong_bytes,
        };
        *count += range.len_bytes;
        let has_room = self.ranges.len() < MOST_RANGES;
        match self.ranges.last_mut() {
            Some(last) if self.further_ranges == 0 && last.fate == range.fate => {
                last.len_bytes += range.len_bytes;
            }
            _ if has_room => self.ranges.push(range),
            _ => self.further_ranges += 1,
        }
    }
}

/// Fills memory with bytes that only this origin and pattern have.
pub(super) fn fill(
    banks: &mut Banks,
    at: Place,
    len_bytes: u64,
    origin: Origin,
    pattern: Pattern,
) -> Result<(), MemoryError> {
    let mut chunk = vec![0; CHUNK_BYTES];
    for (offset, count) in chunks(len_bytes) {
        let chunk = &mut chunk[..count];
        generate(chunk, offset, origin, pattern);
        banks.prepare(behind(at, offset), chunk)?;
    }
    Ok(())
}

/// What became of bytes that should be there now.
pub(super) fn judge(
    banks: &Banks,
    at: Place,
    len_bytes: u64,
    pattern: Pattern,
) -> Result<Fates, MemoryError> {
    let mut fates = Fates::default();
    let mut run: Option<Range> = None;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut moved = vec![0; CHUNK_BYTES];
    let mut before = vec![0; CHUNK_BYTES];
    for (offset, count) in chunks(len_bytes) {
        let (chunk, moved, before) = (&mut chunk[..count], &mut moved[..count], &mut before[..count]);
        banks.read(behind(at, offset), chunk)?;
        generate(moved, offset, Origin::Moved, pattern);
        if chunk == moved {
            extend(&mut run, &mut fates, offset, count as u64, Expected::Intact);
            continue;
        }
        generate(before, offset, Origin::Before, pattern);
        for (index, byte) in chunk.iter().enumerate() {
            let fate = match *byte {
                0xff => Expected::AllOnes,
                byte if byte == moved[index] => Expected::Intact,
                byte if byte == before[index] => Expected::Lost,
                _ => Expected::Wrong,
            };
            extend(&mut run, &mut fates, offset + index as u64, 1, fate);
        }
    }
    if let Some(run) = run {
        fates.push(run);
    }
    Ok(fates)
}

/// Lengthens the run that is being looked at, or begins the next.
fn extend(run: &mut Option<Range>, fates: &mut Fates, offset: u64, len_bytes: u64, fate: Expected) {
    if let Some(run) = run
        && run.fate == fate
    {
        run.len_bytes += len_bytes;
        return;
    }
    let next = Range {
        offset,
        len_bytes,
        fate,
    };
    let Some(mut ended) = run.replace(next) else {
        return;
    };
    let is_after_wrong = fates
        .ranges
        .last()
        .is_some_and(|last| last.fate == Expected::Wrong);
    if ended.len_bytes < CHANCE_BYTES && is_after_wrong && fate == Expected::Wrong {
        ended.fate = Expected::Wrong;
    }
    fates.push(ended);
}

fn chunks(len_bytes: u64) -> impl Iterator<Item = (u64, usize)> {
    (0..len_bytes)
        .step_by(CHUNK_BYTES)
        .map(move |offset| (offset, (len_bytes - offset).min(CHUNK_BYTES as u64) as usize))
}

fn behind(at: Place, offset: u64) -> Place {
    Place {
        offset: at.offset + offset,
        ..at
    }
}

fn generate(into: &mut [u8], offset: u64, origin: Origin, pattern: Pattern) {
    // Six random bits in each byte, to which no carry comes.
    const SIX_BITS: u64 = u64::from_le_bytes([0x3f; 8]);
    let base = match origin {
        Origin::Moved => u64::from_le_bytes([0x01; 8]),
        Origin::Before => u64::from_le_bytes([0x80; 8]),
    };
    let seed = pattern.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let offset = pattern.skipped_bytes + offset;
    let bytes = |index: u64| ((mix(seed ^ index) & SIX_BITS) + base).to_le_bytes();
    let first = bytes(offset / 8);
    let (_, first) = first.split_at((offset % 8) as usize);
    let (head, into) = match offset.is_multiple_of(8) {
        true => into.split_at_mut(0),
        false => into.split_at_mut(first.len().min(into.len())),
    };
    head.copy_from_slice(&first[..head.len()]);
    let next = offset.div_ceil(8);
    let (eights, rest) = into.as_chunks_mut::<8>();
    let after = next + eights.len() as u64;
    for (index, eight) in (next..).zip(eights) {
        *eight = bytes(index);
    }
    let last = bytes(after);
    rest.copy_from_slice(&last[..rest.len()]);
}

/// Spreads the bits of a number over all of it.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
