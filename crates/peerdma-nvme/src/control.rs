//! The controller as a whole: turning it on, stopping it, and what happens when it fails (NVM Express Base 2.0, 3.5 to 3.7).
//!
//! Nothing here waits. Whoever has something to wait for calls [`Control::step`] again and again; it moves on from one
//! [`Phase`] to the next:
//!
//! ```text
//! Stopping -> Starting -> Counting -> Running      CC.EN to 0; RDY is 0, CC.EN to 1; RDY is 1, Number of Queues; I/O queues
//!    ^           |           |           |
//!    +-----------+-----------+-----------+          it failed, or somebody asked for a reset; too often: Ended
//! ```
//!
//! Each time the controller has come to a stop, and reaches no memory any more, the *generation* goes up: every queue sees
//! that what it had under way is lost and may be unmapped, without a lock.

use crate::admin::{Admin, Asker, End, Unsound};
use crate::buffer::{self, Buffer};
use crate::command::Command;
use crate::error::Cause;
use crate::options::Options;
use crate::pairs::Pairs;
use crate::phase::{Ended, Next, Phase, Standing, Why};
use crate::register::{self, Capabilities, State};
use crate::slots::CommandId;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use peerdma::device::{BusMaster, DeviceError, Function, Host, Mmio, Presence};
use peerdma::dma::{Locks, Mapper};

/// The controller: behind a lock, for rare steps.
pub(crate) struct Control<F: Function, H, L: Locks> {
    pub(crate) function: F,
    pub(crate) host: H,
    pub(crate) registers: F::Mmio,
    pub(crate) mapper: Mapper<L>,
    pub(crate) admin: Option<Admin>,
    pub(crate) options: Options,
    pub(crate) capabilities: Capabilities,
    pub(crate) page_bytes: u64,
    pub(crate) buffer: Option<Buffer>,
    /// How many aborts it takes at once.
    pub(crate) aborts: u16,
    pub(crate) pairs: Pairs,
    phase: Phase,
    /// Resets since something was done.
    resets: u8,
    /// Why it was stopped last.
    why: Why,
    /// It was found stopped, or without registers, and nobody here had done that.
    was_disturbed: bool,
    generation: Arc<AtomicU32>,
}

impl<F: Function, H: Host, L: Locks> Control<F, H, L> {
    pub(crate) fn new(
        (function, registers): (F, F::Mmio),
        host: H,
        mapper: Mapper<L>,
        capabilities: Capabilities,
        options: Options,
        generation: Arc<AtomicU32>,
    ) -> Self {
        Self {
            function,
            host,
            registers,
            mapper,
            admin: None,
            options,
            capabilities,
            page_bytes: capabilities.least_page_bytes(),
            buffer: None,
            aborts: 1,
            pairs: Pairs::default(),
            phase: Phase::Ended(Ended::Dead),
            resets: 0,
            why: Why::Opened,
            was_disturbed: false,
            generation,
        }
    }

    /// Moves on as far as it can without waiting.
    pub(crate) fn step(&mut self, now_ns: u64) {
        if matches!(self.phase, Phase::Ended(_)) {
            return;
        }
        let state = State(self.registers.read32(register::CSTS));
        // All zeros is what some machines read where nothing answers: that is no stop.
        if state.is_gone() || !state.is_ready() && !self.answers() {
            self.was_disturbed = true;
            return self.gone();
        }
        match self.phase {
            Phase::Stopping { next, .. } if !state.is_ready() => self.stopped(next, now_ns),
            Phase::Stopping { until_ns, next } if now_ns >= until_ns => self.force(next, now_ns),
            Phase::Starting { .. } | Phase::Counting { .. } | Phase::Running if state.is_fatal() => {
                self.reset(Why::Fatal, now_ns);
            }
            Phase::Counting { .. } | Phase::Running if !state.is_ready() => {
                self.was_disturbed = true;
                self.reset(Why::Foreign, now_ns);
            }
            Phase::Starting { .. } if state.is_ready() => self.count(now_ns),
            Phase::Starting { until_ns } if now_ns >= until_ns => {
                self.reset(Why::NotReady, now_ns);
            }
            Phase::Counting { asked } => self.counted(asked, now_ns),
            Phase::Running => self.poll_admin(now_ns),
            Phase::Stopping { .. } | Phase::Starting { .. } | Phase::Ended(_) => {}
        }
    }

    /// Was it reset by somebody else, or did it not answer, since it was opened?
    pub(crate) fn was_disturbed(&self) -> bool {
        self.was_disturbed
    }

    /// Do its registers say what they said first? CAP never changes.
    fn answers(&self) -> bool {
        self.registers.read64(register::CAP) == self.capabilities.0
    }

    /// What a queue may do now.
    pub(crate) fn standing(&self) -> Standing {
        match self.phase {
            Phase::Running => Standing::Run,
            Phase::Ended(ended) => Standing::Ended(ended),
            _ => Standing::Wait,
        }
    }

    /// A queue has seen a command end: resets count anew.
    pub(crate) fn progressed(&mut self) {
        self.resets = 0;
    }

    /// Begins a reset, unless one is under way. After too many with nothing done in between it is the end.
    pub(crate) fn reset(&mut self, why: Why, now_ns: u64) {
        if matches!(self.phase, Phase::Stopping { .. } | Phase::Ended(_)) {
            return;
        }
        self.why = why;
        self.resets = self.resets.saturating_add(1);
        let next = match self.resets > self.options.most_resets {
            true => Next::End(Ended::Dead),
            false => Next::Start,
        };
        self.stop(next, now_ns);
    }

    /// Clears CC.EN. Nothing that the controller does ends before CSTS.RDY is clear.
    pub(crate) fn stop(&mut self, next: Next, now_ns: u64) {
        if matches!(
            self.phase,
            Phase::Ended(Ended::Closed | Ended::Removed | Ended::Loose)
        ) {
            return;
        }
        let configuration = self.registers.read32(register::CC);
        let off = configuration & !(register::ENABLE | register::SHUT_DOWN_MASK);
        self.registers.write32(register::CC, off);
        self.phase = Phase::Stopping {
            until_ns: now_ns.saturating_add(self.ready_timeout_ns()),
            next,
        };
    }

    /// How long CSTS.RDY may take.
    pub(crate) fn ready_timeout_ns(&self) -> u64 {
        let told = match self.capabilities.has_ready_timeouts() {
            true => register::ready_timeout_ns(self.registers.read32(register::CRTO)),
            false => 0,
        };
        self.capabilities.timeout_ns().max(told)
    }

    /// Why it was stopped last, as a cause.
    pub(crate) fn cause(&self) -> Cause {
        match (self.phase, self.why) {
            (Phase::Ended(Ended::Removed), _) => Cause::Removed,
            (_, Why::Fatal) => Cause::Fatal,
            (_, Why::NotReady) => Cause::NotReady {
                after_ns: self.ready_timeout_ns(),
            },
            (_, Why::Foreign) => Cause::Dead("somebody else reset it, again and again"),
            (_, Why::Unsound(what)) => Cause::Dead(what),
            (_, Why::Device(source)) => source.into(),
            (_, Why::Opened) => Cause::Dead("it could not be stopped"),
        }
    }

    /// Begins an admin command; nothing where it cannot now.
    pub(crate) fn ask(&mut self, command: Command, asker: Asker, now_ns: u64) -> Option<CommandId> {
        if self.phase != Phase::Running {
            return None;
        }
        self.begin(command, asker, now_ns)
    }

    /// How an admin command ended; nothing while it is under way.
    pub(crate) fn end_of(&mut self, asked: CommandId) -> Option<End> {
        match &mut self.admin {
            Some(admin) => admin.end_of(asked),
            None => Some(End::Lost),
        }
    }

    /// Begins an Abort; nothing where as many as the controller takes, or as leave room for other commands, are under way.
    pub(crate) fn abort(&mut self, command: Command, now_ns: u64) -> Option<CommandId> {
        const MOST: u16 = 16;
        let most = usize::from(self.aborts.min(MOST));
        self.admin.as_ref().filter(|admin| admin.left() < most)?;
        self.ask(command, Asker::Left, now_ns)
    }

    fn begin(&mut self, command: Command, asker: Asker, now_ns: u64) -> Option<CommandId> {
        let deadline_ns = now_ns.saturating_add(self.options.admin_timeout_ns);
        let admin = self.admin.as_mut()?;
        match admin.ask(&self.host, &self.registers, command, asker, deadline_ns) {
            Ok(asked) => asked,
            Err(Unsound(what)) => {
                self.reset(Why::Unsound(what), now_ns);
                None
            }
        }
    }

    fn poll_admin(&mut self, now_ns: u64) {
        let Some(admin) = &mut self.admin else { return };
        if let Err(Unsound(what)) = admin.poll(&self.host, &self.registers, now_ns) {
            self.reset(Why::Unsound(what), now_ns);
        }
    }

    /// CSTS.RDY is clear: nothing of before goes on.
    fn stopped(&mut self, next: Next, now_ns: u64) {
        self.generation.fetch_add(1, Ordering::Release);
        match next {
            Next::Start => {
                if let Err(source) = self.start(now_ns) {
                    self.why = Why::Device(source);
                    self.end(Ended::Dead);
                }
            }
            Next::End(ended) => self.end(ended),
        }
    }

    /// It does not stop by itself.
    fn force(&mut self, next: Next, now_ns: u64) {
        match self.function.reset() {
            Ok(()) => self.stopped(next, now_ns),
            Err(DeviceError::Removed) => self.gone(),
            // What may not issue requests reaches nothing, whatever it thinks of itself.
            Err(_) => match self.function.set_bus_master(BusMaster::Off) {
                Ok(()) => self.stopped(Next::End(Ended::Dead), now_ns),
                Err(DeviceError::Removed) => self.gone(),
                Err(source) => {
                    self.why = Why::Device(source);
                    self.phase = Phase::Ended(Ended::Loose);
                }
            },
        }
    }

    /// Its registers do not answer.
    fn gone(&mut self) {
        let ended = match self.function.presence() {
            Presence::Removed => Ok(Ended::Removed),
            // It is there, and its registers are not: it must at least be quiet.
            Presence::Present => match self.function.set_bus_master(BusMaster::Off) {
                Ok(()) => Ok(Ended::Dead),
                Err(DeviceError::Removed) => Ok(Ended::Removed),
                Err(source) => Err(source),
            },
        };
        match ended {
            Ok(ended) => {
                self.why = match ended {
                    Ended::Removed => Why::Device(DeviceError::Removed),
                    _ => Why::Unsound("its registers do not answer"),
                };
                self.generation.fetch_add(1, Ordering::Release);
                self.end(ended);
            }
            Err(source) => {
                self.why = Why::Device(source);
                self.phase = Phase::Ended(Ended::Loose);
            }
        }
    }

    fn end(&mut self, ended: Ended) {
        if ended != Ended::Removed {
            if let Some(buffer) = &self.buffer {
                buffer::disable(&self.registers, buffer);
            }
            // It is stopped already; this keeps it so.
            let _ = self.function.set_bus_master(BusMaster::Off);
        }
        self.phase = Phase::Ended(ended);
    }

    /// Tells it where the admin queues are, and sets CC.EN.
    fn start(&mut self, now_ns: u64) -> Result<(), DeviceError> {
        self.function.set_bus_master(BusMaster::On)?;
        let Some(admin) = &mut self.admin else {
            return Ok(());
        };
        admin.restart(&self.host)?;
        let registers = &self.registers;
        if let Some(buffer) = &self.buffer {
            buffer::write_base(registers, buffer);
        }
        let [submission, completion, _] = admin.addresses();
        let less_one = crate::admin::ENTRIES - 1;
        registers.write32(register::INTMS, u32::MAX);
        registers.write32(register::AQA, less_one << 16 | less_one);
        registers.write64(register::ASQ, submission);
        registers.write64(register::ACQ, completion);
        let command_set = self.capabilities.command_set().unwrap_or(0);
        let configuration = register::configuration(self.page_bytes, command_set);
        // The settings first: they may only change while it is off.
        registers.write32(register::CC, configuration & !register::ENABLE);
        registers.write32(register::CC, configuration);
        self.phase = Phase::Starting {
            until_ns: now_ns.saturating_add(self.ready_timeout_ns()),
        };
        Ok(())
    }

    /// It is ready: asks for queues.
    fn count(&mut self, now_ns: u64) {
        let command = Command::set_queue_count(self.options.queue_pairs.max(1));
        if let Some(asked) = self.begin(command, Asker::Waits, now_ns) {
            self.phase = Phase::Counting { asked };
        }
    }

    fn counted(&mut self, asked: CommandId, now_ns: u64) {
        self.poll_admin(now_ns);
        if self.phase != (Phase::Counting { asked }) {
            return;
        }
        match self.end_of(asked) {
            None => {}
            Some(End::Done(granted)) => {
                let (submission, completion) = (granted & 0xffff, granted >> 16);
                let granted = (submission.min(completion) + 1).min(self.options.queue_pairs.max(1).into());
                let stride_bytes = self.capabilities.doorbell_stride_bytes();
                let last = register::last_queue(self.registers.len_bytes(), stride_bytes).unwrap_or(0);
                self.pairs.grow((granted as u16).min(last));
                self.phase = Phase::Running;
            }
            Some(End::Refused(_) | End::Lost) => {
                let why = Why::Unsound("it does not tell how many queues it has");
                self.reset(why, now_ns);
            }
        }
    }
}
