//! Admin commands (NVM Express Base 5), but for queues.

use super::Controller;
use super::command::Command;
use super::events::{ERROR_LOG, Events};
use super::features::IoQueues;
use super::fetch::Answer;
use super::identify::{self, FIRMWARE, MOST_BYTES};
use super::log;
use super::registers::version;
use super::status::Status;
use super::work::{Effect, Job, Stage, Works};
use crate::device::{Direction, Wire};

const DELETE_SUBMISSION: u8 = 0x00;
const CREATE_SUBMISSION: u8 = 0x01;
const GET_LOG_PAGE: u8 = 0x02;
const DELETE_COMPLETION: u8 = 0x04;
const CREATE_COMPLETION: u8 = 0x05;
const IDENTIFY: u8 = 0x06;
const ABORT: u8 = 0x08;
const SET_FEATURES: u8 = 0x09;
const GET_FEATURES: u8 = 0x0a;
const ASYNC_EVENT: u8 = 0x0c;

const SMART: u8 = 2;
const FIRMWARE_SLOTS: u8 = 3;
const HOUR_PS: u64 = 3_600_000_000_000_000;

impl Controller {
    /// Looks at an admin command.
    pub(super) fn admin(
        &mut self,
        slot: usize,
        command: &Command,
        wire: &mut dyn Wire,
    ) -> Result<Answer, Status> {
        // Admin commands over PCIe have PRPs (Base 4.1.2).
        if command.pointer_kind() != 0 {
            return Err(Status::INVALID_FIELD);
        }
        match command.opcode() {
            DELETE_SUBMISSION => self.delete_submission(slot, command),
            CREATE_SUBMISSION => self.create_submission(command, wire),
            GET_LOG_PAGE => self.log_page(slot, command, wire),
            DELETE_COMPLETION => self.delete_completion(command),
            CREATE_COMPLETION => self.create_completion(command, wire),
            IDENTIFY => {
                let version = version(self.cmb.as_ref());
                let page = identify::page(command, &self.traits, version, &self.namespaces)?;
                self.give(slot, &page, identify::PAGE_BYTES as u64, wire)
            }
            ABORT => self.abort(command, wire),
            SET_FEATURES => {
                let io = self.submission.iter().skip(1).flatten().count()
                    + self.completion.iter().skip(1).flatten().count();
                let io = if io == 0 { IoQueues::None } else { IoQueues::Exist };
                self.features.set(command, io).map(Answer::Done)
            }
            GET_FEATURES => self.features.get(command).map(Answer::Done),
            ASYNC_EVENT => {
                if self.events.requests.len() >= Events::MOST {
                    return Err(Status::ASYNC_EVENT_LIMIT_EXCEEDED);
                }
                self.events.requests.push_back(slot);
                // It may be held for ever, and is no reason to fetch less.
                if let Some(queue) = self.completion.first_mut().and_then(Option::as_mut) {
                    queue.promised = queue.promised.saturating_sub(1);
                }
                Ok(Answer::Held)
            }
            _ => Err(Status::INVALID_OPCODE),
        }
    }

    fn log_page(&mut self, slot: usize, command: &Command, wire: &mut dyn Wire) -> Result<Answer, Status> {
        const RETAIN_EVENT: u32 = 1 << 15;
        let low = command.dword(10) >> 16;
        let high = command.dword(11) & 0xffff;
        let len_bytes = (u64::from(high << 16 | low) + 1) * 4;
        let offset = command.qword(12);
        let page = match command.dword(10) as u8 {
            ERROR_LOG => self.errors.page(),
            // About the controller: it has no page for a single namespace.
            SMART if !matches!(command.namespace(), 0 | 0xffff_ffff) => return Err(Status::INVALID_FIELD),
            SMART => log::smart(&self.counts, self.errors.count(), wire.now().as_ps() / HOUR_PS),
            FIRMWARE_SLOTS => log::firmware_slots(&FIRMWARE),
            _ => return Err(Status::INVALID_LOG_PAGE),
        };
        if len_bytes > MOST_BYTES || !offset.is_multiple_of(4) {
            return Err(Status::INVALID_FIELD);
        }
        let offset = usize::try_from(offset).map_err(|_| Status::INVALID_FIELD)?;
        let page = page.get(offset..).ok_or(Status::INVALID_FIELD)?;
        if command.dword(10) as u8 == ERROR_LOG && command.dword(10) & RETAIN_EVENT == 0 {
            self.events.log_was_read();
        }
        self.give(slot, page, len_bytes, wire)
    }

    /// Sends `len_bytes` of a page, filled up with zeros.
    fn give(
        &mut self,
        slot: usize,
        page: &[u8],
        len_bytes: u64,
        wire: &mut dyn Wire,
    ) -> Result<Answer, Status> {
        let stage = Works::stage(self.scratch, slot);
        let page = &page[..page.len().min(len_bytes as usize)];
        // A command that a reset cut off may have left something there.
        wire.banks()
            .clear(stage, len_bytes)
            .map_err(|_| Status::INTERNAL_ERROR)?;
        wire.banks()
            .write(stage, page)
            .map_err(|_| Status::INTERNAL_ERROR)?;
        Ok(Answer::Job(Job::staged(
            Direction::Out,
            stage,
            len_bytes,
            Effect::Nothing,
        )))
    }

    /// Dword 0 says whether it was too late. What waits can be aborted; what moves data, or has, cannot.
    fn abort(&mut self, command: &Command, wire: &mut dyn Wire) -> Result<Answer, Status> {
        const ABORTED: Answer = Answer::Done(0);
        const NOT_ABORTED: Answer = Answer::Done(1);
        let (queue, id) = (command.dword(10) as u16, (command.dword(10) >> 16) as u16);
        let Some(slot) = self.works.find(queue, id) else {
            return Ok(NOT_ABORTED);
        };
        if let Some(position) = self.events.requests.iter().position(|&request| request == slot) {
            self.events.requests.remove(position);
            if let Some(queue) = self.completion.first_mut().and_then(Option::as_mut) {
                queue.promised += 1;
            }
        } else if !self
            .works
            .get(slot)
            .is_some_and(|work| matches!(work.stage, Stage::Blocked { .. } | Stage::Before { .. }))
        {
            return Ok(NOT_ABORTED);
        }
        self.complete(slot, Status::ABORT_REQUESTED, 0, wire);
        Ok(ABORTED)
    }
}
