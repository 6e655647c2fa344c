//! A copy under way.

use super::slot::{Slot, State};
use super::window::Window;
use super::{CopyEnd, Failure, Job, JobError, SlotMappings, Step, Trouble};
use crate::block::{Done, Ticket, Volume};
use crate::plan::CopyPlan;
use alloc::vec::Vec;

/// A copy under way. It begins nothing by itself: [`Self::poll`] does all.
///
/// The two volumes must not be used by others until it has ended, but for [`Self::take_foreign`].
#[derive(Debug)]
pub struct Copy {
    pub(super) job: Job,
    pub(super) chunk_bytes: u32,
    /// Bytes of a block of either end.
    pub(super) block_bytes: [u32; 2],
    pub(super) slots: Vec<Slot>,
    pub(super) window: Window,
    /// The next chunk to be read.
    pub(super) next: u64,
    pub(super) chunks: u64,
    pub(super) phase: Phase,
    pub(super) failure: Option<Failure>,
    pub(super) counts: Counts,
    /// How often nothing could be begun although nothing was under way.
    pub(super) idle_polls: u32,
    /// Does the destination still take a flush?
    pub(super) can_flush: bool,
    pub(super) foreign: Vec<Done>,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Bytes that the source has given, in this run.
    pub read_bytes: u64,
    /// Bytes that the destination has written, in this run.
    pub written_bytes: u64,
    /// Bytes from the beginning of the job all of which are written.
    pub proven_bytes: u64,
    /// Bytes from the beginning of the job all of which are written and flushed: from here a copy resumes.
    pub durable_bytes: u64,
    /// Operations under way.
    pub under_way: u32,
    /// Operations that a failed volume never gave back.
    pub lost: u32,
}

/// Does a copy go on?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Poll again.
    UnderWay(Counts),
    /// Nothing is under way any more; [`Copy::outcome`] tells how it ended.
    Ended(Counts),
}

/// How a copy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// All is written and flushed.
    Whole,
    /// It was cancelled before that.
    Cancelled,
    /// It failed.
    Failed(&'a Failure),
}

/// What a copy is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Moving chunks.
    Moving,
    /// Waiting for what is under way; then what was written is flushed.
    Draining,
    /// A flush is to begin.
    FlushDue,
    /// The flush is under way.
    Flushing(Ticket),
    Ended,
}

/// Chunks that may be done ahead of the first that is not, for each slot.
const AHEAD_PER_SLOT: usize = 8;

/// After so many polls in a row in which a volume took nothing, although nothing was under way, it never will. A volume that recovers takes
/// nothing for a while, and has deadlines of its own: this is for one that has none.
pub(super) const IDLE_POLLS: u32 = 1 << 24;

impl Copy {
    /// A copy that carries out `plan`.
    ///
    /// # Errors
    /// [`JobError`]; nothing was begun.
    pub fn new(
        plan: &CopyPlan,
        job: Job,
        source: &dyn Volume,
        destination: &dyn Volume,
    ) -> Result<Self, JobError> {
        job.check(plan, source, destination)?;
        let layout = &plan.layout;
        let slot = |index| layout.slot(index, layout.chunk_bytes).map(Slot::new);
        let slots: Option<Vec<Slot>> = (0..layout.slots).map(slot).collect();
        let slots = slots.filter(|slots| !slots.is_empty()).ok_or(JobError::NoSlots)?;
        let left_bytes = job.len_bytes - job.resume_bytes;
        Ok(Self {
            job,
            chunk_bytes: layout.chunk_bytes,
            block_bytes: [source.limits().block_bytes, destination.limits().block_bytes],
            window: Window::new(slots.len().saturating_mul(AHEAD_PER_SLOT)),
            slots,
            next: 0,
            chunks: left_bytes.div_ceil(layout.chunk_bytes.into()),
            phase: Phase::Moving,
            failure: None,
            counts: Counts {
                proven_bytes: job.resume_bytes,
                durable_bytes: job.resume_bytes,
                ..Counts::default()
            },
            idle_polls: 0,
            can_flush: true,
            foreign: Vec::new(),
        })
    }

    /// Uses slots that were mapped earlier, one entry for each, in order. A last chunk that is shorter is mapped when its turn comes.
    /// After the copy has ended [`Self::detach`] gives the mappings back.
    ///
    /// # Errors
    /// [`JobError::NoSlots`] where there are not as many as slots, [`JobError::ForeignMapping`]; all mappings come back.
    pub fn attach(
        &mut self,
        plan: &CopyPlan,
        mut mappings: Vec<SlotMappings>,
    ) -> Result<(), (JobError, Vec<SlotMappings>)> {
        if mappings.len() != self.slots.len() || self.counts.under_way != 0 {
            return Err((JobError::NoSlots, mappings));
        }
        let ends = [plan.crossings[0].initiator, plan.crossings[1].initiator];
        for index in (0..self.slots.len()).rev() {
            let Some(mapping) = mappings.pop() else {
                break;
            };
            if let Err(back) = self.slots[index].attach(mapping, ends) {
                mappings.push(back);
                mappings.extend(self.detach());
                return Err((JobError::ForeignMapping, mappings));
            }
        }
        Ok(())
    }

    /// The mappings of slots of which both have come back; all of them once the copy has ended, but for those that were lost.
    pub fn detach(&mut self) -> Vec<SlotMappings> {
        let both = |slot: &mut Slot| match slot.detach() {
            (Some(source), Some(destination)) => Some(SlotMappings { source, destination }),
            (source, destination) => {
                slot.put_back(source, destination);
                None
            }
        };
        self.slots.iter_mut().filter_map(both).collect()
    }

    /// Takes what has ended, and begins what can be begun. Never waits.
    pub fn poll(&mut self, source: &mut dyn Volume, destination: &mut dyn Volume) -> Progress {
        if self.phase == Phase::Ended {
            return Progress::Ended(self.counts);
        }
        self.take_from(CopyEnd::Source, source);
        self.take_from(CopyEnd::Destination, destination);
        if self.phase == Phase::Moving {
            self.write_what_is_filled(destination);
            self.read_what_is_next(source);
            if self.window.first() == self.chunks && self.counts.under_way == 0 {
                self.phase = Phase::FlushDue;
            }
        }
        if self.phase == Phase::Draining && self.counts.under_way == 0 {
            let nothing_new = self.counts.proven_bytes == self.counts.durable_bytes;
            self.phase = match !self.can_flush || nothing_new {
                true => Phase::Ended,
                false => Phase::FlushDue,
            };
        }
        if self.phase == Phase::FlushDue {
            self.flush(destination);
        }
        match self.phase {
            Phase::Ended => Progress::Ended(self.counts),
            _ => Progress::UnderWay(self.counts),
        }
    }

    /// Begins nothing more. What is under way ends by itself, and what was written is flushed: poll on until it has ended. Once more, and
    /// a flush that the destination has not taken yet is not begun either.
    pub fn cancel(&mut self) {
        match self.phase {
            Phase::Moving => self.stop(),
            Phase::FlushDue => self.phase = Phase::Ended,
            Phase::Draining | Phase::Flushing(_) | Phase::Ended => {}
        }
    }

    /// How far it is.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How it ended; nothing while it goes on.
    pub fn outcome(&self) -> Option<Outcome<'_>> {
        if self.phase != Phase::Ended {
            return None;
        }
        Some(match &self.failure {
            Some(failure) => Outcome::Failed(failure),
            None if self.counts.durable_bytes == self.job.len_bytes => Outcome::Whole,
            None => Outcome::Cancelled,
        })
    }

    /// Operations of others that the volumes gave to this copy.
    pub fn take_foreign(&mut self) -> Vec<Done> {
        core::mem::take(&mut self.foreign)
    }

    /// Begins no more chunks, and leaves those that the destination has not begun to take.
    fn stop(&mut self) {
        self.phase = Phase::Draining;
        for slot in &mut self.slots {
            if let State::Filled(_) = slot.state {
                slot.state = State::Free;
            }
        }
    }

    pub(super) fn flush_failed(&mut self, trouble: Trouble) {
        if self.failure.is_none() {
            self.failure = Some(self.failure_at(
                CopyEnd::Destination,
                Step::Flush,
                self.counts.durable_bytes,
                trouble,
            ));
        }
    }

    pub(super) fn fail(&mut self, end: CopyEnd, offset_bytes: u64, trouble: Trouble) {
        let step = match end {
            CopyEnd::Source => Step::Read,
            CopyEnd::Destination => Step::Write,
        };
        let failure = self.failure_at(end, step, offset_bytes, trouble);
        match &self.failure {
            Some(earlier) if earlier.offset_bytes <= offset_bytes => {}
            _ => self.failure = Some(failure),
        }
        self.stop();
    }

    fn failure_at(&self, end: CopyEnd, step: Step, offset_bytes: u64, trouble: Trouble) -> Failure {
        Failure {
            end,
            step,
            offset_bytes,
            lba: self.lba(end, offset_bytes),
            trouble,
        }
    }

    pub(super) fn lba(&self, end: CopyEnd, offset_bytes: u64) -> u64 {
        let first = match end {
            CopyEnd::Source => self.job.source_lba,
            CopyEnd::Destination => self.job.destination_lba,
        };
        // Checked when the job was: the whole of it lies within the volume.
        first.saturating_add(offset_bytes / u64::from(self.block_bytes(end)))
    }

    pub(super) fn block_bytes(&self, end: CopyEnd) -> u32 {
        let [source, destination] = self.block_bytes;
        match end {
            CopyEnd::Source => source.max(1),
            CopyEnd::Destination => destination.max(1),
        }
    }
}
