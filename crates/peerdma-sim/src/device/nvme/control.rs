//! Turning the controller on and off: what writes to its registers do (NVM Express Base 3.1.3, 3.5, 3.6, 3.7).
//!
//! Settings that the specification forbids, or whose effect it leaves undefined, end in CSTS.CFS when the controller is
//! enabled. What may only be written while it is disabled is not taken while it is enabled.

use super::cmb::{COMPLETION_QUEUES, QueueMemory, SUBMISSION_QUEUES};
use super::command::Command;
use super::events::Events;
use super::features::Features;
use super::queue::{CompletionQueue, SubmissionQueue};
use super::registers::{self as at, Flag, Registers, Shutdown};
use super::traits::{DISABLING_PS, ENABLING_PS, SHUTDOWN_PS};
use super::work::Wake;
use super::{Controller, Delay, Phase, Purpose};
use crate::device::Wire;

const ENABLE: u32 = 1;

impl Controller {
    /// A dword was written to a register; `offset` is a multiple of 4.
    pub(super) fn write_register(&mut self, offset: u64, value: u32, wire: &mut dyn Wire) {
        let low = |old: u64, mask: u64| old & !0xffff_ffff | u64::from(value) & mask;
        let high = |old: u64| old & 0xffff_ffff | u64::from(value) << 32;
        let registers = &mut self.registers;
        let disabled = !registers.enabled();
        match offset {
            at::INTMS => registers.mask |= value,
            at::INTMC => self.unmask(value, wire),
            at::CC => self.configure(value, wire),
            at::CSTS if value & 1 << 4 != 0 => registers.subsystem_was_reset = Flag::Clear,
            at::NSSR if value == at::SUBSYSTEM_RESET => {
                self.power_on();
                self.registers.subsystem_was_reset = Flag::Set;
                if let Some(cmb) = &mut self.cmb {
                    cmb.set_control(0);
                }
            }
            at::AQA if disabled => registers.admin_sizes = value & at::AQA_MASK,
            at::ASQ if disabled => {
                registers.admin_submission = low(registers.admin_submission, at::BASE_MASK)
            }
            0x2c if disabled => registers.admin_submission = high(registers.admin_submission),
            at::ACQ if disabled => {
                registers.admin_completion = low(registers.admin_completion, at::BASE_MASK)
            }
            0x34 if disabled => registers.admin_completion = high(registers.admin_completion),
            at::CMBMSC => {
                if let Some(cmb) = &mut self.cmb {
                    cmb.set_control(low(cmb.control(), at::CMBMSC_MASK));
                }
            }
            0x54 => {
                if let Some(cmb) = &mut self.cmb {
                    cmb.set_control(high(cmb.control()));
                }
            }
            _ => {}
        }
    }

    /// Everything as after power on, but for CMBMSC, which outlives a function level reset.
    pub(super) fn power_on(&mut self) {
        self.forget();
        self.transfers.clear();
        let subsystem_was_reset = self.registers.subsystem_was_reset;
        self.registers = Registers {
            subsystem_was_reset,
            ..Registers::default()
        };
        self.phase = Phase::Off;
    }

    /// Its time to start is over.
    pub(super) fn started(&mut self, wire: &mut dyn Wire) {
        let shut_down = self.registers.shutdown != Shutdown::None;
        if self.phase != Phase::Starting || self.registers.fatal.is_set() || shut_down {
            return;
        }
        if self.registers.can_be_enabled() && self.make_admin_queues(wire).is_some() {
            self.phase = Phase::On;
            self.registers.ready = Flag::Set;
        } else {
            self.registers.fatal = Flag::Set;
        }
        self.pump(wire);
    }

    /// Ends a reset once its delay is over and no transfer of before is under way: after CSTS.RDY is clear, nothing of the
    /// time before reaches memory.
    pub(super) fn stop_if_idle(&mut self, wire: &mut dyn Wire) {
        if self.phase != (Phase::Stopping { delay: Delay::Over }) || !self.transfers.is_empty() {
            return;
        }
        self.phase = Phase::Off;
        self.registers.ready = Flag::Clear;
        if self.registers.enabled() {
            self.start(wire);
        }
    }

    /// Does it fetch commands?
    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::On
            && !self.registers.fatal.is_set()
            && self.registers.shutdown == Shutdown::None
            && self.registers.enabled()
    }

    /// Something happened that no completion queue can tell.
    pub(super) fn die(&mut self) {
        self.registers.fatal = Flag::Set;
    }

    pub(super) fn wake_in(&mut self, ps: u64, why: Wake, wire: &mut dyn Wire) {
        let cookie = self.works.serial();
        self.wakes.insert(cookie, why);
        wire.wake_at(wire.now().after_ps(ps), cookie);
    }

    fn configure(&mut self, value: u32, wire: &mut dyn Wire) {
        let before = self.registers.configuration;
        let (was_on, is_on) = (before & ENABLE != 0, value & ENABLE != 0);
        let kept = if was_on && is_on { at::CC_LATCHED } else { 0 };
        let value = value & at::CC_MASK & !kept | before & kept;
        let notified = |value: u32| value >> 14 & 3;
        self.registers.configuration = value;
        if was_on && !is_on {
            self.reset_controller(wire);
        }
        match notified(value) {
            1 | 2 if notified(before) != notified(value) && self.registers.shutdown == Shutdown::None => {
                self.registers.shutdown = Shutdown::Underway;
                self.wake_in(SHUTDOWN_PS, Wake::ShutDown, wire);
            }
            // Enabling it and taking the notification back, in one write, starts it again after a shutdown while disabled.
            0 if !was_on && is_on && self.registers.shutdown == Shutdown::Complete => {
                self.registers.shutdown = Shutdown::None;
            }
            _ => {}
        }
        if !was_on && is_on && self.phase == Phase::Off {
            self.start(wire);
        }
    }

    fn start(&mut self, wire: &mut dyn Wire) {
        self.phase = Phase::Starting;
        self.wake_in(ENABLING_PS, Wake::Start, wire);
    }

    /// CC.EN went from 1 to 0: AQA, ASQ, ACQ and CMBMSC stay, all else begins anew (Base 3.7.2).
    fn reset_controller(&mut self, wire: &mut dyn Wire) {
        self.forget();
        self.transfers
            .values_mut()
            .for_each(|purpose| *purpose = Purpose::Nothing);
        self.registers.fatal = Flag::Clear;
        self.registers.shutdown = Shutdown::None;
        self.registers.mask = 0;
        self.phase = Phase::Stopping {
            delay: Delay::Running,
        };
        self.wake_in(DISABLING_PS, Wake::Stop, wire);
    }

    fn forget(&mut self) {
        self.works.forget();
        self.wakes.clear();
        self.submission.iter_mut().for_each(|queue| *queue = None);
        self.completion.iter_mut().for_each(|queue| *queue = None);
        self.features = Features::new(self.traits.io_queues, self.traits.vectors);
        self.events = Events::default();
        self.suppressed = 0;
        self.turn = 0;
    }

    fn make_admin_queues(&mut self, wire: &dyn Wire) -> Option<()> {
        let registers = &self.registers;
        let page_bytes = registers.page_bytes();
        let window = self.buffer(wire);
        let memory =
            |base, len_bytes, ability| QueueMemory::new(base, len_bytes, page_bytes, window, ability).ok();
        let entries = registers.admin_submission_entries();
        let submission = memory(
            registers.admin_submission,
            entries * Command::BYTES,
            SUBMISSION_QUEUES,
        )?;
        *self.submission.first_mut()? = Some(SubmissionQueue::new(submission, entries, 0));
        let entries = registers.admin_completion_entries();
        let len_bytes = entries * CompletionQueue::ENTRY_BYTES;
        let completion = memory(registers.admin_completion, len_bytes, COMPLETION_QUEUES)?;
        *self.completion.first_mut()? = Some(CompletionQueue::new(completion, entries, Some(0)));
        Some(())
    }
}
