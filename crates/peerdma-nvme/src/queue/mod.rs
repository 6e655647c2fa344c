//! A volume on a queue pair of its own.
//!
//! ```text
//! open     the pair's memory, its making                                        (`open`)
//! submit   check, look up, map, list, entry                                     (`submit`)
//! poll     doorbell, once for all that were submitted since
//!          completions: one acquiring load each; unmap, hand back               (`reap`)
//!          now and then: deadlines, aborts, resets, making and deleting queues  (`attend`)
//! ```
//!
//! On the way of a command no lock is taken and nothing is allocated: slots, list memory and the slice where lists are written are made
//! when the queue is. A command that is under way owns its bio and its mapping; only the device's answer, or the controller's stop, ends it.

mod attend;
mod open;
mod reap;
mod submit;

use crate::buffer::Buffer;
use crate::controller::Shared;
use crate::error::{Cause, Error};
use crate::memory::SharedMemory;
use crate::phase::Ended;
use crate::pointer::Forms;
use crate::ring::{CompletionRing, SubmissionRing};
use crate::slots::{CommandId, Slots};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use peerdma::block::{
    Bio, CommandError, CompletionPlace, Data, Done, Limits, Rejected, SubmitError, Ticket, Volume,
    VolumeError,
};
use peerdma::device::{Function, Host};
use peerdma::dma::{Locks, Mapper, Mapping};
use peerdma::memory::RegionId;

/// A volume of a namespace, on a queue pair of its own.
///
/// Dropping it closes it: what is under way is aborted, or the controller reset, before its memory is unmapped.
pub struct Queue<F: Function, H: Host + Clone, L: Locks> {
    shared: Arc<Shared<F, H, L>>,
    host: H,
    registers: F::Mmio,
    mapper: Mapper<L>,
    limits: Limits,
    layout: Layout,
    buffer: Option<Buffer>,
    timeout_ns: u64,
    /// Nothing once its memory was given back.
    pair: Option<Pair>,
    slots: Slots<Busy>,
    /// Where a list is written before it goes to its memory.
    scratch: Vec<u8>,
    /// Commands that have ended, and whose memory the IOMMU did not unmap.
    kept: Vec<Kept>,
    stage: Stage,
    /// Which of the controller's stops came before its pair was made.
    generation: u32,
    /// When something is to be looked at beside completions.
    attention_ns: u64,
    /// What the device did wrong: it has to be stopped.
    fault: Option<Fault>,
    /// What it will have failed of once it is gone.
    doomed: Option<VolumeError>,
    /// Why it could not be made.
    refused: Option<Cause>,
    progress: Progress,
    tickets: u64,
}

/// Numbers that do not change.
#[derive(Debug, Clone, Copy)]
struct Layout {
    id: u16,
    namespace: u32,
    page_bytes: u64,
    forms: Forms,
    /// From one command's list memory to the next.
    list_stride_bytes: usize,
    tail_at: u64,
    head_at: u64,
}

/// The memory of a queue pair.
#[derive(Debug)]
struct Pair {
    submission: SubmissionRing,
    completion: CompletionRing,
    lists: SharedMemory,
}

/// A command under way.
#[derive(Debug)]
struct Busy {
    ticket: Ticket,
    bio: Bio,
    /// Of its vector.
    mapping: Option<Mapping>,
    deadline_ns: u64,
    abort: Abort,
}

/// A command that has ended, and whose memory is still mapped.
#[derive(Debug)]
struct Kept {
    mapping: Mapping,
    /// Nothing where the bio was rejected.
    done: Option<Done>,
}

/// Is a command being aborted?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Abort {
    No,
    Wanted(For),
    Sent(For),
}

/// Why it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Time,
    Caller,
}

/// How far the queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It works.
    Active,
    /// It waits for the controller to come to a stop.
    Resetting,
    /// It waits for the controller to run.
    Recovering,
    /// One of its rings is being made, or will be asked for.
    Making(Ring, Option<CommandId>),
    /// One of its rings is being deleted, or will be asked for.
    Dropping(Ring, Option<CommandId>),
    /// Nothing is under way, and its memory was given back.
    Gone,
    /// The controller could not be stopped: what it may still reach stays mapped, for ever.
    Stuck,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ring {
    Submission,
    Completion,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The device broke its rules.
    Protocol(&'static str),
    /// A command did not end, not even by an abort.
    Late,
    /// The device does not do what a queue needs to end.
    Unwilling,
}

/// Has a command ended since the controller was told?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    None,
    Some,
}

impl<F: Function, H: Host + Clone, L: Locks> Queue<F, H, L> {
    /// Ends what is under way, gives it to `done`, and deletes the queue pair.
    ///
    /// # Errors
    /// [`Error`] where something is still mapped: the controller could not be stopped, or the IOMMU did not unmap it.
    pub fn close(mut self, done: &mut dyn FnMut(Done)) -> Result<(), Error> {
        self.shut(done).map_err(|cause| cause.of(self.shared.bdf))
    }

    fn shut(&mut self, done: &mut dyn FnMut(Done)) -> Result<(), Cause> {
        self.retire(VolumeError::Dead("the volume was closed"));
        while !matches!(self.stage, Stage::Gone | Stage::Stuck) {
            self.reap(done);
            let now_ns = self.host.now_ns();
            self.attend(now_ns, done);
            if !matches!(self.stage, Stage::Gone | Stage::Stuck) {
                self.host.relax();
            }
        }
        self.let_go(done);
        let clean = self.stage == Stage::Gone && self.kept.is_empty() && self.pair.is_none();
        match (clean, self.refused.clone()) {
            (true, Some(Cause::StillMapped)) | (false, _) => Err(Cause::StillMapped),
            (true, _) => Ok(()),
        }
    }

    /// Begins to end the queue, for this reason.
    fn retire(&mut self, why: VolumeError) {
        if matches!(self.stage, Stage::Gone | Stage::Stuck) || self.doomed.is_some() {
            return;
        }
        if self.stage == Stage::Active {
            self.ring();
        }
        self.doomed = Some(why);
        self.want_aborts(|_| true);
        if self.stage == Stage::Active {
            self.stage = Stage::Dropping(Ring::Submission, None);
        }
    }

    /// Marks commands to be aborted.
    fn want_aborts(&mut self, which: impl Fn(&Busy) -> bool) {
        for (_, busy) in self.slots.iter_mut() {
            if busy.abort == Abort::No && which(busy) {
                busy.abort = Abort::Wanted(For::Caller);
            }
        }
        self.attention_ns = 0;
    }

    /// Is this failure the first one that was seen?
    fn fail(&mut self, fault: Fault) {
        self.fault = self.fault.or(Some(fault));
    }
}

impl<F: Function, H: Host + Clone, L: Locks> Volume for Queue<F, H, L> {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn completion_place(&self) -> CompletionPlace {
        let ring = self
            .pair
            .as_ref()
            .map(|pair| pair.completion.memory.completion_place());
        ring.unwrap_or(CompletionPlace::Ram)
    }

    fn submit(&mut self, bio: Bio) -> Result<Ticket, Rejected> {
        match self.prepare(&bio) {
            Ok(prepared) => self.send(bio, prepared),
            Err(why) => Err(Rejected { bio, why }),
        }
    }

    fn poll(&mut self, done: &mut dyn FnMut(Done)) -> Result<(), VolumeError> {
        if self.stage == Stage::Active {
            self.ring();
        }
        self.reap(done);
        let now_ns = self.host.now_ns();
        if self.needs_attention(now_ns) {
            self.attend(now_ns, done);
        }
        match self.stage {
            Stage::Gone => Err(self.failure()),
            Stage::Stuck => Err(VolumeError::Dead(STUCK)),
            _ => Ok(()),
        }
    }

    fn under_way(&self) -> usize {
        self.slots.under_way() + self.kept.iter().filter(|kept| kept.done.is_some()).count()
    }

    fn abort_uses(&mut self, region: RegionId) {
        self.want_aborts(|busy| busy.uses(region));
        let of_its_own = self.pair.as_ref().is_some_and(|pair| {
            pair.submission.memory.uses(region)
                || pair.completion.memory.uses(region)
                || pair.lists.uses(region)
        });
        if of_its_own {
            self.retire(VolumeError::Dead("the memory of its queue was taken away"));
        }
    }
}

const STUCK: &str = "the controller could not be stopped: what it may still reach stays mapped";

impl<F: Function, H: Host + Clone, L: Locks> Queue<F, H, L> {
    /// What it failed of, or will.
    fn failure(&self) -> VolumeError {
        self.doomed.unwrap_or(VolumeError::Dead("the volume was closed"))
    }
}

impl<F: Function, H: Host + Clone, L: Locks> Drop for Queue<F, H, L> {
    fn drop(&mut self) {
        let mut left = Vec::new();
        let _ = self.shut(&mut |done| left.push(done));
        for done in left {
            // Nobody is left to give it back to.
            if let Data::Mapped(mapping) = done.bio.data {
                let _ = self.mapper.unmap(mapping);
            }
        }
    }
}

impl<F: Function, H: Host + Clone, L: Locks> fmt::Debug for Queue<F, H, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("bdf", &self.shared.bdf)
            .field("layout", &self.layout)
            .field("stage", &self.stage)
            .field("under_way", &self.slots.under_way())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Busy {
    fn uses(&self, region: RegionId) -> bool {
        let given = match &self.bio.data {
            Data::Mapped(mapping) => Some(mapping),
            _ => None,
        };
        let mut mappings = self.mapping.iter().chain(given);
        mappings.any(|mapping| mapping.uses(region))
    }
}

/// What a volume has failed of whose controller has ended.
fn failure_of(ended: Ended) -> VolumeError {
    match ended {
        Ended::Closed => VolumeError::Dead("its controller was closed"),
        Ended::Removed => VolumeError::Removed,
        Ended::Dead => VolumeError::Dead("its controller has failed, and resets did not help"),
        Ended::Loose => VolumeError::Dead(STUCK),
    }
}

impl Fault {
    /// How what was under way has failed.
    fn result(self) -> Option<CommandError> {
        match self {
            Self::Protocol(what) => Some(CommandError::Protocol(what)),
            Self::Late | Self::Unwilling => None,
        }
    }
}

/// A bio is refused by a queue that does not work.
fn refused_at(stage: Stage, failure: VolumeError, doomed: Option<VolumeError>) -> Option<SubmitError> {
    match (stage, doomed) {
        (Stage::Active, None) => None,
        (Stage::Gone | Stage::Stuck, _) | (_, Some(_)) => Some(SubmitError::Failed(failure)),
        _ => Some(SubmitError::QueueFull),
    }
}
