//! One channel of the engine: its registers, and the transfer that they describe, piece by piece.
//!
//! A transfer is started in pieces so that no more reads are outstanding than the accelerator can hold, and so that
//! translated addresses are looked up page by page. Pieces end in any order.

use super::registers::{Error, State, channel, command};
use super::translations::{self, Translations};
use crate::blueprint::OnFailure;
use crate::device::{Direction, Outcome, Purpose, Transfer, TransferId, Translation, Wire};
use crate::memory::{BankId, Place};
use crate::tlp::{Access, AddressType, Failure, Ordering};

/// What channels share.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) memory: BankId,
    pub(super) memory_bytes: u64,
    pub(super) outstanding_bytes: u32,
    pub(super) on_failure: OnFailure,
    pub(super) translations: Translations,
}

#[derive(Debug, Default)]
pub(super) struct Channel {
    source: u64,
    destination: u64,
    length: u64,
    command: u32,
    state: State,
    error: Option<Error>,
    good_bytes: u64,
    job: Option<Job>,
    owes_interrupt: bool,
}

/// A transfer under way.
#[derive(Debug)]
struct Job {
    direction: Direction,
    address: u64,
    local: u64,
    len_bytes: u64,
    address_type: AddressType,
    ordering: Ordering,
    /// Bytes from the start that were asked for.
    asked_bytes: u64,
    pieces: Vec<Piece>,
    lookup: Option<Lookup>,
    /// Offset of the first bad byte so far, and what was wrong with it.
    bad: Option<(u64, Error)>,
}

#[derive(Debug)]
struct Piece {
    id: TransferId,
    offset: u64,
    len_bytes: u64,
}

/// A translation that was asked for.
#[derive(Debug)]
struct Lookup {
    id: TransferId,
    iova: u64,
    /// It was invalidated before it came.
    stale: bool,
}

/// Pieces that are outstanding at once, so that answers to one arrive while others are on their way.
const PIECES: u64 = 4;
/// The smallest piece worth asking for.
const LEAST_PIECE_BYTES: u64 = 256;
/// Writes wait for nobody; a piece is cut where looking after it again costs nothing any more.
const WRITE_PIECE_BYTES: u64 = 1 << 20;

impl Channel {
    pub(super) fn read(&self, register: u64) -> u32 {
        let low = |value: u64| value as u32;
        let high = |value: u64| (value >> 32) as u32;
        match register {
            channel::SOURCE => low(self.source),
            0x04 => high(self.source),
            channel::DESTINATION => low(self.destination),
            0x0c => high(self.destination),
            channel::LENGTH => low(self.length),
            0x14 => high(self.length),
            channel::COMMAND => self.command,
            channel::STATUS => self.state as u32 | self.error.map_or(0, |error| (error as u32) << 8),
            channel::GOOD => low(self.good_bytes),
            0x24 => high(self.good_bytes),
            _ => 0,
        }
    }

    /// Takes a value, and says whether a transfer has to be started.
    pub(super) fn write(&mut self, register: u64, value: u32) -> bool {
        if self.state == State::Running {
            return false;
        }
        let low = |old: u64| old & !0xffff_ffff | u64::from(value);
        let high = |old: u64| old & 0xffff_ffff | u64::from(value) << 32;
        match register {
            channel::SOURCE => self.source = low(self.source),
            0x04 => self.source = high(self.source),
            channel::DESTINATION => self.destination = low(self.destination),
            0x0c => self.destination = high(self.destination),
            channel::LENGTH => self.length = low(self.length),
            0x14 => self.length = high(self.length),
            channel::COMMAND => {
                self.command = value & ALL_FLAGS;
                return value & command::START != 0;
            }
            _ => {}
        }
        false
    }

    /// Starts what the registers say.
    pub(super) fn start(&mut self, engine: &mut Engine, wire: &mut dyn Wire) {
        match self.job(engine) {
            Ok(job) => {
                self.job = Some(job);
                self.state = State::Running;
                self.error = None;
                self.good_bytes = 0;
                self.go_on(engine, wire);
            }
            Err(error) => self.refuse(error),
        }
    }

    /// Ends a transfer before it began.
    pub(super) fn refuse(&mut self, error: Error) {
        self.end(0, Some(error));
    }

    /// Fails what is under way; pieces that end later are no longer known.
    pub(super) fn break_down(&mut self) {
        if let Some(job) = self.job.take() {
            let first = job.pieces.iter().map(|piece| piece.offset).min();
            self.end(first.unwrap_or(job.asked_bytes), Some(Error::Broken));
        }
    }

    /// Does the transfer's end have to be told? Asked once for every end.
    pub(super) fn take_interrupt(&mut self) -> bool {
        std::mem::take(&mut self.owes_interrupt)
    }

    /// Takes the end of a piece, if it is one of this channel.
    pub(super) fn piece_ended(
        &mut self,
        id: TransferId,
        outcome: Outcome,
        engine: &mut Engine,
        wire: &mut dyn Wire,
    ) -> bool {
        let Some(job) = &mut self.job else { return false };
        let Some(index) = job.pieces.iter().position(|piece| piece.id == id) else {
            return false;
        };
        let piece = job.pieces.swap_remove(index);
        if let Outcome::Failed { good_bytes, failure } = outcome {
            let good_bytes = good_bytes.min(piece.len_bytes);
            let takes_ones = engine.on_failure == OnFailure::AllOnes
                && job.direction == Direction::In
                && failure != Failure::MasterDisabled;
            if takes_ones {
                let from = job.local + piece.offset + good_bytes;
                fill_with_ones(engine.memory, from, piece.len_bytes - good_bytes, wire);
            } else {
                job.fail(piece.offset + good_bytes, error_of(failure));
            }
        }
        self.go_on(engine, wire);
        true
    }

    /// Takes a translation, if it is one that this channel waits for.
    pub(super) fn translated(
        &mut self,
        id: TransferId,
        found: Option<Translation>,
        engine: &mut Engine,
        wire: &mut dyn Wire,
    ) -> bool {
        let Some(job) = &mut self.job else { return false };
        let Some(lookup) = job.lookup.take_if(|lookup| lookup.id == id) else {
            return false;
        };
        match found.filter(|found| found.len_bytes > 0) {
            // What came is no longer true: ask again.
            _ if lookup.stale => {}
            Some(found) if translations::allows(&found, job.access()) => {
                engine.translations.insert(lookup.iova, found);
            }
            _ => job.fail(job.asked_bytes, Error::TranslationRefused),
        }
        self.go_on(engine, wire);
        true
    }

    pub(super) fn invalidate(&mut self, iova: u64, len: u64) {
        if let Some(job) = &mut self.job
            && let Some(lookup) = &mut job.lookup
        {
            // How far the answer will reach is not known, so what lies ahead of the address counts too.
            let last = iova.saturating_add(len.saturating_sub(1));
            lookup.stale |= len > 0 && last >= lookup.iova;
        }
    }

    fn job(&self, engine: &Engine) -> Result<Job, Error> {
        let has = |flag| self.command & flag != 0;
        let (direction, address, local) =
            match (has(command::SOURCE_REMOTE), has(command::DESTINATION_REMOTE)) {
                (true, false) => (Direction::In, self.source, self.destination),
                (false, true) => (Direction::Out, self.destination, self.source),
                _ => return Err(Error::BadCommand),
            };
        let ends_by = |start: u64, limit: u64| start.checked_add(self.length).is_some_and(|end| end <= limit);
        if !ends_by(local, engine.memory_bytes) || !ends_by(address, u64::MAX) {
            return Err(Error::BadRange);
        }
        Ok(Job {
            direction,
            address,
            local,
            len_bytes: self.length,
            address_type: match has(command::TRANSLATED) {
                true => AddressType::Translated,
                false => AddressType::Untranslated,
            },
            ordering: match has(command::RELAXED) {
                true => Ordering::Relaxed,
                false => Ordering::Strict,
            },
            asked_bytes: 0,
            pieces: Vec::new(),
            lookup: None,
            bad: None,
        })
    }

    /// Starts as many pieces as may be outstanding; ends the transfer when nothing is left to wait for.
    fn go_on(&mut self, engine: &mut Engine, wire: &mut dyn Wire) {
        let Some(job) = &mut self.job else { return };
        while job.may_start(engine) {
            job.start_piece(engine, wire);
        }
        if job.pieces.is_empty() && job.lookup.is_none() {
            let (good_bytes, error) = match job.bad {
                Some((offset, error)) => (offset, Some(error)),
                None => (job.len_bytes, None),
            };
            self.job = None;
            self.end(good_bytes, error);
        }
    }

    fn end(&mut self, good_bytes: u64, error: Option<Error>) {
        self.state = match error {
            Some(_) => State::Failed,
            None => State::Done,
        };
        self.error = error;
        self.good_bytes = good_bytes;
        self.command &= !command::START;
        self.owes_interrupt = self.command & command::INTERRUPT != 0;
    }
}

impl Job {
    fn access(&self) -> Access {
        match self.direction {
            Direction::In => Access::Read,
            Direction::Out => Access::Write,
        }
    }

    fn fail(&mut self, offset: u64, error: Error) {
        if self.bad.is_none_or(|(first, _)| offset < first) {
            self.bad = Some((offset, error));
        }
    }

    fn piece_bytes(&self, engine: &Engine) -> u64 {
        match self.direction {
            Direction::In => (u64::from(engine.outstanding_bytes) / PIECES).max(LEAST_PIECE_BYTES),
            Direction::Out => WRITE_PIECE_BYTES,
        }
    }

    fn may_start(&self, engine: &Engine) -> bool {
        let under_way: u64 = self.pieces.iter().map(|piece| piece.len_bytes).sum();
        self.asked_bytes < self.len_bytes
            && self.bad.is_none()
            && self.lookup.is_none()
            && under_way + self.piece_bytes(engine) <= self.piece_bytes(engine) * PIECES
    }

    /// Starts the next piece, or asks for the translation that it needs. Pieces end where addresses are multiples of
    /// their size, so that a transfer is cut into the same requests as a whole one.
    fn start_piece(&mut self, engine: &Engine, wire: &mut dyn Wire) {
        let wanted = self.address + self.asked_bytes;
        let piece_bytes = self.piece_bytes(engine);
        let mut len_bytes = (piece_bytes - wanted % piece_bytes).min(self.len_bytes - self.asked_bytes);
        let address = match self.address_type {
            AddressType::Untranslated => wanted,
            AddressType::Translated => match engine.translations.find(wanted) {
                None => {
                    let id = wire.translate(wanted, self.len_bytes - self.asked_bytes, self.access());
                    self.lookup = Some(Lookup {
                        id,
                        iova: wanted,
                        stale: false,
                    });
                    return;
                }
                Some(found) if !translations::allows(&found, self.access()) => {
                    return self.fail(self.asked_bytes, Error::TranslationRefused);
                }
                Some(found) => {
                    len_bytes = len_bytes.min(found.len_bytes);
                    found.address
                }
            },
        };
        let id = wire.start(Transfer {
            direction: self.direction,
            address,
            local: Place {
                bank: engine.memory,
                offset: self.local + self.asked_bytes,
            },
            len_bytes,
            address_type: self.address_type,
            ordering: self.ordering,
            purpose: Purpose::Payload,
        });
        self.pieces.push(Piece {
            id,
            offset: self.asked_bytes,
            len_bytes,
        });
        self.asked_bytes += len_bytes;
    }
}

const ALL_FLAGS: u32 = command::START
    | command::SOURCE_REMOTE
    | command::DESTINATION_REMOTE
    | command::RELAXED
    | command::TRANSLATED
    | command::INTERRUPT;

fn error_of(failure: Failure) -> Error {
    match failure {
        Failure::UnsupportedRequest => Error::UnsupportedRequest,
        Failure::CompleterAbort => Error::CompleterAbort,
        Failure::CompletionTimeout => Error::CompletionTimeout,
        Failure::Poisoned => Error::Poisoned,
        Failure::MasterDisabled => Error::MasterDisabled,
    }
}

/// What a read that nobody answers leaves in memory.
fn fill_with_ones(bank: BankId, mut offset: u64, mut len_bytes: u64, wire: &mut dyn Wire) {
    const ONES: [u8; 4096] = [0xff; 4096];
    while len_bytes > 0 {
        let count = len_bytes.min(ONES.len() as u64);
        // A machine whose memory is used up is told so by its owner; there is nobody here to tell.
        if wire
            .banks()
            .write(Place { bank, offset }, &ONES[..count as usize])
            .is_err()
        {
            return;
        }
        offset += count;
        len_bytes -= count;
    }
}
