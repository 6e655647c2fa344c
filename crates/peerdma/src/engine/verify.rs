//! Reads a destination back through its driver and compares it with what it should be.
//!
//! A copy is proven by this alone: what devices say, and what routes promise, may both be wrong.

use super::check::{Check, Mismatch, Truth, VerifyError};
use super::copy::IDLE_POLLS;
use super::slot::Part;
use super::{CopyEnd, Failure, Step, Trouble};
use crate::addr::{Address, Origin, PhysAddr, PhysVec, Span};
use crate::block::{Bio, CompletionPlace, Data, Done, Operation, SubmitError, Ticket, Volume};
use crate::device::{DeviceError, Host};
use crate::engine::Job;
use alloc::vec;
use alloc::vec::Vec;

/// A comparison under way.
#[derive(Debug)]
pub struct Verify {
    job: Job,
    block_bytes: [u32; 2],
    chunk_bytes: u32,
    pairs: Vec<Pair>,
    next: u64,
    chunks: u64,
    checked_bytes: u64,
    expected: Vec<u8>,
    found: Vec<u8>,
    mismatch: Option<Mismatch>,
    failure: Option<Failure>,
    idle_polls: u32,
    cancelled: bool,
    foreign: Vec<Done>,
}

/// Where bytes are read to: one slot for each end.
#[derive(Debug)]
struct Pair {
    part: Option<Part>,
    sides: [Side; 2],
}

#[derive(Debug)]
struct Side {
    whole: PhysVec,
    vector: Vec<PhysVec>,
    state: Reading,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Due,
    UnderWay(Ticket),
    Done,
}

/// RAM is filled with these before it is read into, so that what an operation leaves there by reporting success without a transfer is equal to
/// neither the truth nor the other side.
const POISON: [u8; 2] = [0x5a, 0xa5];

const PAGE_BYTES: u64 = 4096;
const MOST_PAIRS: u64 = 64;

impl Verify {
    /// Will compare what a job has moved, `chunk_bytes` at a time, by way of `ram`.
    ///
    /// # Errors
    /// [`VerifyError`]
    pub fn new(
        job: Job,
        destination: &dyn Volume,
        source: Option<&dyn Volume>,
        ram: Span<PhysAddr>,
        chunk_bytes: u32,
    ) -> Result<Self, VerifyError> {
        let ends = [
            (CopyEnd::Destination, Some(destination)),
            (CopyEnd::Source, source),
        ];
        let mut block_bytes = [1; 2];
        for (block_bytes, (end, volume)) in block_bytes.iter_mut().zip(ends) {
            let Some(volume) = volume else {
                continue;
            };
            if volume.completion_place() != CompletionPlace::Ram {
                return Err(VerifyError::CompletionsOutsideRam { end });
            }
            let limits = volume.limits();
            let divides = |bytes: u64| bytes.checked_rem(limits.block_bytes.into()) == Some(0);
            if chunk_bytes == 0
                || chunk_bytes > limits.max_transfer_bytes
                || !divides(chunk_bytes.into())
                || !divides(job.len_bytes)
            {
                return Err(VerifyError::NoChunk);
            }
            *block_bytes = limits.block_bytes;
        }
        let stride = u64::from(chunk_bytes).next_multiple_of(PAGE_BYTES);
        let needed_bytes = 2 * stride;
        let too_little = VerifyError::TooLittleRam { needed_bytes };
        let first = ram.first().to_u64().checked_next_multiple_of(PAGE_BYTES);
        let first = PhysAddr::from_u64(first.ok_or(too_little)?);
        let room = Span::new(first, ram.last()).map_err(|_| too_little)?;
        let pairs = (room.len_bytes().unwrap_or(u64::MAX) / needed_bytes).min(MOST_PAIRS);
        let side = |index: u64| {
            let addr = first.checked_add(index * stride)?;
            let whole = PhysVec::new(addr, chunk_bytes, Origin::Ram).ok()?;
            Some(Side {
                whole,
                vector: Vec::with_capacity(1),
                state: Reading::Due,
            })
        };
        let pair = |index: u64| {
            let sides = [side(2 * index)?, side(2 * index + 1)?];
            Some(Pair { part: None, sides })
        };
        let pairs: Option<Vec<Pair>> = (0..pairs).map(pair).collect();
        let pairs = pairs.filter(|pairs| !pairs.is_empty()).ok_or(too_little)?;
        Ok(Self {
            job,
            block_bytes,
            chunk_bytes,
            pairs,
            next: 0,
            chunks: job.len_bytes.div_ceil(chunk_bytes.into()),
            checked_bytes: 0,
            expected: vec![0; chunk_bytes as usize],
            found: vec![0; chunk_bytes as usize],
            mismatch: None,
            failure: None,
            idle_polls: 0,
            cancelled: false,
            foreign: Vec::new(),
        })
    }

    /// Takes what was read, compares it, and reads on. Never waits.
    pub fn poll(&mut self, destination: &mut dyn Volume, truth: &mut Truth<'_>, host: &dyn Host) -> Check {
        self.take_from(0, destination);
        if let Truth::Source(source) = truth {
            self.take_from(1, &mut **source);
        }
        for index in 0..self.pairs.len() {
            self.compare(index, truth, host);
        }
        for index in 0..self.pairs.len() {
            if !self.cancelled {
                self.read(index, destination, truth, host);
            }
        }
        let bad = self.first_bad_bytes();
        let goes_on = |pair: &Pair| {
            let mut sides = pair.sides.iter();
            sides.any(|side| matches!(side.state, Reading::UnderWay(_)))
                || (!self.cancelled && pair.part.is_some_and(|part| part.offset_bytes < bad))
        };
        if self.pairs.iter().any(goes_on) {
            return Check::UnderWay {
                checked_bytes: self.checked_bytes,
            };
        }
        match (&self.mismatch, &self.failure) {
            (Some(mismatch), None) => Check::Differs(*mismatch),
            // A byte that is wrong stays wrong, whatever could not be read.
            (Some(mismatch), Some(failure)) if mismatch.offset_bytes < failure.offset_bytes => {
                Check::Differs(*mismatch)
            }
            (_, Some(failure)) => Check::Failed(failure.clone()),
            (None, None) if self.checked_bytes == self.job.len_bytes => Check::Equal,
            (None, None) if self.cancelled => Check::Cancelled,
            (None, None) => Check::UnderWay {
                checked_bytes: self.checked_bytes,
            },
        }
    }

    /// Reads nothing more: poll on until what is under way has ended.
    pub fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// Operations of others that the volumes gave to this comparison.
    pub fn take_foreign(&mut self) -> Vec<Done> {
        core::mem::take(&mut self.foreign)
    }

    fn take_from(&mut self, side: usize, volume: &mut dyn Volume) {
        let polled = volume.poll(&mut |done| self.ended(side, done));
        let trouble = match polled {
            Err(why) => Trouble::Volume(why),
            Ok(()) if volume.under_way() == 0 => Trouble::Lost,
            Ok(()) => return,
        };
        for index in 0..self.pairs.len() {
            if let (Some(part), Reading::UnderWay(_)) =
                (self.pairs[index].part, self.pairs[index].sides[side].state)
            {
                self.pairs[index].sides[side].state = Reading::Due;
                self.fail(side, part.offset_bytes, trouble.clone());
            }
        }
        let all_read = self.checked_bytes == self.job.len_bytes;
        if let (Trouble::Volume(_), None, false) = (&trouble, &self.failure, all_read) {
            self.fail(side, self.checked_bytes, trouble);
        }
    }

    fn ended(&mut self, side: usize, done: Done) {
        let mine = |pair: &&mut Pair| pair.sides[side].state == Reading::UnderWay(done.ticket);
        let Some(pair) = self.pairs.iter_mut().find(mine) else {
            self.foreign.push(done);
            return;
        };
        let offset_bytes = pair.part.map_or(0, |part| part.offset_bytes);
        let reading = &mut pair.sides[side];
        if let Data::Vector(vector) = done.bio.data {
            reading.vector = vector;
        }
        match done.result {
            Ok(()) => reading.state = Reading::Done,
            Err(why) => {
                reading.state = Reading::Due;
                self.fail(side, offset_bytes, Trouble::Command(why));
            }
        }
    }

    /// Compares a pair that has been read.
    fn compare(&mut self, index: usize, truth: &mut Truth<'_>, host: &dyn Host) {
        let pair = &mut self.pairs[index];
        let given = matches!(truth, Truth::Given(_));
        let is_read = pair.sides[0].state == Reading::Done && (given || pair.sides[1].state == Reading::Done);
        let Some(part) = pair.part.filter(|_| is_read) else {
            return;
        };
        let at = [pair.sides[0].whole.addr(), pair.sides[1].whole.addr()];
        pair.part = None;
        pair.sides.iter_mut().for_each(|side| side.state = Reading::Due);
        let len = part.len_bytes as usize;
        let (Some(found), Some(expected)) = (self.found.get_mut(..len), self.expected.get_mut(..len)) else {
            return;
        };
        let read = match truth {
            Truth::Given(give) => {
                give(part.offset_bytes, expected);
                Ok(())
            }
            Truth::Source(_) => host.read_ram(at[1], expected),
        };
        let read = read.and_then(|()| host.read_ram(at[0], found));
        if let Err(why) = read {
            return self.fail(0, part.offset_bytes, Trouble::Memory(why));
        }
        self.checked_bytes += u64::from(part.len_bytes);
        let differs = found
            .iter()
            .zip(expected.iter())
            .position(|(found, expected)| found != expected);
        if let Some(within) = differs {
            let len = (found.len() - within).min(16);
            let mut mismatch = Mismatch {
                offset_bytes: part.offset_bytes + within as u64,
                lba: 0,
                len: len as u8,
                expected: [0; 16],
                found: [0; 16],
            };
            mismatch.found[..len].copy_from_slice(&found[within..within + len]);
            mismatch.expected[..len].copy_from_slice(&expected[within..within + len]);
            mismatch.lba = self.lba(0, mismatch.offset_bytes);
            if self
                .mismatch
                .is_none_or(|earlier| mismatch.offset_bytes < earlier.offset_bytes)
            {
                self.mismatch = Some(mismatch);
            }
        }
    }

    /// Reads the next chunk into a pair that is free, and what was not begun of one that is not.
    fn read(&mut self, index: usize, destination: &mut dyn Volume, truth: &mut Truth<'_>, host: &dyn Host) {
        let bad = self.first_bad_bytes();
        if self.pairs[index].part.is_none() {
            let part = self.part(self.next);
            if self.next == self.chunks || part.offset_bytes >= bad {
                return;
            }
            if let Err(why) = self.poison(index, host) {
                return self.fail(0, part.offset_bytes, Trouble::Memory(why));
            }
            self.pairs[index].part = Some(part);
            self.next += 1;
        }
        // What comes before the first bad byte is still read: it may be bad too.
        if self.pairs[index].part.is_none_or(|part| part.offset_bytes >= bad) {
            return;
        }
        self.begin(index, 0, destination);
        if let Truth::Source(source) = truth {
            self.begin(index, 1, &mut **source);
        }
    }

    /// Where the first byte lies that is wrong or could not be read; `u64::MAX` while there is none.
    fn first_bad_bytes(&self) -> u64 {
        let mismatch = self.mismatch.map_or(u64::MAX, |mismatch| mismatch.offset_bytes);
        let failure = self
            .failure
            .as_ref()
            .map_or(u64::MAX, |failure| failure.offset_bytes);
        mismatch.min(failure)
    }

    fn poison(&mut self, index: usize, host: &dyn Host) -> Result<(), DeviceError> {
        for (side, poison) in self.pairs[index].sides.iter().zip(POISON) {
            self.found.fill(poison);
            host.write_ram(side.whole.addr(), &self.found)?;
        }
        Ok(())
    }

    fn part(&self, chunk: u64) -> Part {
        let offset_bytes = chunk.saturating_mul(self.chunk_bytes.into());
        let left = self.job.len_bytes.saturating_sub(offset_bytes);
        Part {
            chunk,
            offset_bytes,
            len_bytes: u32::try_from(left).unwrap_or(u32::MAX).min(self.chunk_bytes),
        }
    }

    fn begin(&mut self, index: usize, side: usize, volume: &mut dyn Volume) {
        let pair = &mut self.pairs[index];
        let Some(part) = pair.part.filter(|_| pair.sides[side].state == Reading::Due) else {
            return;
        };
        let lba = self.lba(side, part.offset_bytes);
        let reading = &mut self.pairs[index].sides[side];
        let Ok(piece) = PhysVec::new(reading.whole.addr(), part.len_bytes, Origin::Ram) else {
            return;
        };
        reading.vector.clear();
        reading.vector.push(piece);
        let bio = Bio {
            operation: Operation::Read,
            lba,
            blocks: part.len_bytes / self.block_bytes[side].max(1),
            data: Data::Vector(core::mem::take(&mut reading.vector)),
        };
        match volume.submit(bio) {
            Ok(ticket) => {
                reading.state = Reading::UnderWay(ticket);
                self.idle_polls = 0;
            }
            Err(rejected) => {
                if let Data::Vector(vector) = rejected.bio.data {
                    reading.vector = vector;
                }
                if rejected.why != SubmitError::QueueFull {
                    return self.fail(side, part.offset_bytes, Trouble::Submit(rejected.why));
                }
                self.idle_polls += u32::from(volume.under_way() == 0);
                if self.idle_polls >= IDLE_POLLS {
                    self.fail(side, part.offset_bytes, Trouble::Stuck);
                }
            }
        }
    }

    fn fail(&mut self, side: usize, offset_bytes: u64, trouble: Trouble) {
        let failure = Failure {
            end: if side == 0 {
                CopyEnd::Destination
            } else {
                CopyEnd::Source
            },
            step: Step::Read,
            offset_bytes,
            lba: self.lba(side, offset_bytes),
            trouble,
        };
        if self
            .failure
            .as_ref()
            .is_none_or(|earlier| offset_bytes < earlier.offset_bytes)
        {
            self.failure = Some(failure);
        }
    }

    fn lba(&self, side: usize, offset_bytes: u64) -> u64 {
        let first = if side == 0 {
            self.job.destination_lba
        } else {
            self.job.source_lba
        };
        first.saturating_add(offset_bytes / u64::from(self.block_bytes[side].max(1)))
    }
}
