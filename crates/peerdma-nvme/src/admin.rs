//! The admin queues: commands that the controller itself answers. Nothing here waits; who asked looks again.

use crate::command::Command;
use crate::entry;
use crate::error::Cause;
use crate::identify::{PAGE_BYTES, Page};
use crate::memory::SharedMemory;
use crate::register::Doorbell;
use crate::ring::{CompletionRing, SubmissionRing};
use crate::slots::{CommandId, Slots};
use peerdma::device::{DeviceError, Host, Mmio};
use peerdma::dma::{Direction, Locks, Mapper};

/// How many admin commands may be under way.
const DEPTH: u16 = 31;
/// Entries of its queues.
pub(crate) const ENTRIES: u32 = DEPTH as u32 + 1;

/// The admin queues and a page for what Identify gives.
#[derive(Debug)]
pub(crate) struct Admin {
    submission: SubmissionRing,
    completion: CompletionRing,
    page: SharedMemory,
    slots: Slots<Asked>,
    stride_bytes: u64,
}

/// A command that was asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    deadline_ns: u64,
    asker: Asker,
    /// Once it has ended.
    end: Option<End>,
}

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Somebody who will look for the end.
    Waits,
    /// Somebody who does not mind the end: an Abort.
    Left,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Well; dword 0.
    Done(u32),
    /// With this status.
    Refused(u16),
    /// The controller was stopped before it ended.
    Lost,
}

/// Something is wrong with the controller: it has to be reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsound(pub(crate) &'static str);

impl From<DeviceError> for Unsound {
    fn from(_: DeviceError) -> Self {
        Self("the memory of its admin queues cannot be reached")
    }
}

impl Admin {
    /// Queues in RAM.
    ///
    /// # Errors
    /// [`Cause::Device`], [`Cause::LookUp`], [`Cause::Map`]: nothing is left allocated or mapped.
    pub(crate) fn new<H: Host, L: Locks>(
        host: &H,
        mapper: &mut Mapper<L>,
        page_bytes: u64,
        stride_bytes: u64,
    ) -> Result<Self, Cause> {
        let mut ram =
            |len_bytes, direction| SharedMemory::allocate(host, mapper, len_bytes, page_bytes, direction);
        let submission = ram(u64::from(ENTRIES) * Command::BYTES, Direction::DeviceReads)?;
        let completion = ram(u64::from(ENTRIES) * entry::BYTES, Direction::DeviceWrites);
        let page = ram(PAGE_BYTES as u64, Direction::DeviceWrites);
        match (completion, page) {
            (Ok(completion), Ok(page)) => Ok(Self {
                submission: SubmissionRing::new(submission, ENTRIES),
                completion: CompletionRing::new(completion, ENTRIES, ENTRIES - 1),
                page,
                slots: Slots::new(DEPTH),
                stride_bytes,
            }),
            (completion, page) => {
                let mut why = None;
                for memory in [Ok(submission), completion, page] {
                    match memory {
                        // One that stays mapped is no reason to keep the others.
                        Ok(memory) => why = memory.release(host, mapper).err().or(why),
                        Err(cause) => why = why.or(Some(cause)),
                    }
                }
                Err(why.unwrap_or(Cause::StillMapped))
            }
        }
    }

    /// Where the device finds the submission queue, the completion queue and the page.
    pub(crate) fn addresses(&self) -> [u64; 3] {
        [
            self.submission.memory.address(),
            self.completion.memory.address(),
            self.page.address(),
        ]
    }

    /// What the page holds.
    ///
    /// # Errors
    /// [`DeviceError`]
    pub(crate) fn read_page<H: Host>(&self, host: &H, page: &mut Page) -> Result<(), DeviceError> {
        self.page.read(host, page)
    }

    /// Begins a command; nothing where as much as can be is under way.
    ///
    /// # Errors
    /// [`Unsound`]
    pub(crate) fn ask<H: Host, M: Mmio>(
        &mut self,
        host: &H,
        registers: &M,
        command: Command,
        asker: Asker,
        deadline_ns: u64,
    ) -> Result<Option<CommandId>, Unsound> {
        let Some((_, id)) = self.slots.next().filter(|_| !self.submission.is_full()) else {
            return Ok(None);
        };
        self.submission.push(host, &command.to_bytes(id.0))?;
        self.slots.take_next(Asked {
            deadline_ns,
            asker,
            end: None,
        });
        if let Some(tail) = self.submission.tell() {
            registers.write32(Doorbell::Tail(0).offset(self.stride_bytes), tail);
        }
        Ok(Some(id))
    }

    /// Takes what has been answered.
    ///
    /// # Errors
    /// [`Unsound`]: an answer that cannot be, or a command that did not end in time.
    pub(crate) fn poll<H: Host, M: Mmio>(
        &mut self,
        host: &H,
        registers: &M,
        now_ns: u64,
    ) -> Result<(), Unsound> {
        while let Some(tail) = self.completion.peek(host)? {
            let origin = self.completion.origin(host)?;
            let result = self.completion.result(host)?;
            if origin.submission_queue() != 0 || self.submission.fetched(origin.submission_head()).is_err() {
                return Err(Unsound("an admin completion that belongs to no queue of its own"));
            }
            let id = CommandId(tail.id());
            let asked = self.slots.get_mut(id).filter(|asked| asked.end.is_none());
            let asked = asked.ok_or(Unsound("an admin completion for a command that is not under way"))?;
            asked.end = Some(match tail.status() {
                0 => End::Done(result),
                status => End::Refused(status),
            });
            if asked.asker == Asker::Left {
                self.slots.remove(id);
            }
            self.completion.advance();
        }
        if let Some(head) = self.completion.tell() {
            registers.write32(Doorbell::Head(0).offset(self.stride_bytes), head);
        }
        let late = |asked: &Asked| asked.end.is_none() && now_ns >= asked.deadline_ns;
        match self.slots.iter().any(|(_, asked)| late(asked)) {
            true => Err(Unsound("an admin command did not end in time")),
            false => Ok(()),
        }
    }

    /// The end of a command, once; nothing while it is under way.
    pub(crate) fn end_of(&mut self, id: CommandId) -> Option<End> {
        match self.slots.get_mut(id) {
            Some(asked) => {
                let end = asked.end?;
                self.slots.remove(id);
                Some(end)
            }
            None => Some(End::Lost),
        }
    }

    /// How many commands are under way for which nobody waits.
    pub(crate) fn left(&self) -> usize {
        let left = |asked: &Asked| asked.asker == Asker::Left;
        self.slots.iter().filter(|(_, asked)| left(asked)).count()
    }

    /// The controller was stopped: what was under way is lost, and the rings begin anew.
    ///
    /// # Errors
    /// [`DeviceError`]
    pub(crate) fn restart<H: Host>(&mut self, host: &H) -> Result<(), DeviceError> {
        // Whoever waits finds that nobody is under way, which means the same.
        while self.slots.remove_any().is_some() {}
        self.submission.restart();
        self.completion.restart(host)
    }

    /// Gives its memory back. The controller must have been stopped.
    ///
    /// # Errors
    /// [`Cause::StillMapped`]
    pub(crate) fn release<H: Host, L: Locks>(self, host: &H, mapper: &mut Mapper<L>) -> Result<(), Cause> {
        let memories = [self.submission.memory, self.completion.memory, self.page];
        let mut result = Ok(());
        for memory in memories {
            result = memory.release(host, mapper).and(result);
        }
        result
    }
}
