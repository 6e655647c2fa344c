//! What a job goes through: its pointer is followed, it waits for earlier ones on the same blocks and for the medium, its
//! data moves, its effect takes place.
//!
//! The completion entry is started after the last transfer has ended. Pieces that follow each other are one transfer.

use super::cmb::{Placement, READ_DATA, Spot, WRITE_DATA};
use super::identify::MOST_BYTES;
use super::pointer::{LIST_BYTES, Piece, Pointer, Target, Want};
use super::status::Status;
use super::work::{Effect, End, Job, Stage, Wake, Works};
use super::{Controller, Purpose};
use crate::device::{Direction, Outcome, Wire};
use crate::memory::{Banks, MemoryError, Place};

/// Bytes that are moved at once inside the controller.
const PIECE_BYTES: u64 = 64 << 10;

impl Controller {
    /// Begins a job.
    pub(super) fn begin(&mut self, slot: usize, job: Job, wire: &mut dyn Wire) {
        let page_bytes = self.registers.page_bytes();
        let window = self.buffer(wire);
        let Some(work) = self.works.get_mut(slot) else {
            return;
        };
        let (command, direction, len_bytes) = (work.command, job.direction, job.len_bytes);
        let queue = self
            .submission
            .get(usize::from(work.queue))
            .and_then(Option::as_ref);
        work.job = Some(job);
        if len_bytes == 0 {
            return self.proceed(slot, Vec::new(), wire);
        }
        let inside = queue.is_some_and(|queue| queue.memory.at(0, 1).0.is_inside());
        let placement = Placement {
            window,
            ability: if direction == Direction::Out {
                READ_DATA
            } else {
                WRITE_DATA
            },
            command_is_inside: inside,
            lists_are_inside: None,
            data_is_inside: None,
        };
        match Pointer::new(&command, len_bytes, page_bytes, direction, placement) {
            Ok((pointer, want)) => self.follow(slot, pointer, want, wire),
            Err(status) => self.complete(slot, status, 0, wire),
        }
    }

    /// Bytes of a list came.
    pub(super) fn list_came(&mut self, slot: usize, outcome: Outcome, wire: &mut dyn Wire) {
        let list = Works::list(self.scratch, slot);
        let Some(work) = self.works.get_mut(slot) else {
            return;
        };
        let Stage::List {
            mut pointer,
            len_bytes,
        } = std::mem::replace(&mut work.stage, Stage::Held)
        else {
            return;
        };
        if outcome != Outcome::Done {
            return self.complete(slot, Status::DATA_TRANSFER_ERROR, 0, wire);
        }
        match take(&mut pointer, list, len_bytes, wire.banks()) {
            Ok(want) => self.follow(slot, pointer, want, wire),
            Err(status) => self.complete(slot, status, 0, wire),
        }
    }

    /// An earlier command on the same blocks has ended.
    pub(super) fn unblock(&mut self, slot: usize, wire: &mut dyn Wire) {
        let Some(work) = self.works.get_mut(slot) else {
            return;
        };
        if let Stage::Blocked { pieces } = &mut work.stage {
            let pieces = std::mem::take(pieces);
            self.proceed(slot, pieces, wire);
        }
    }

    /// The medium is ready.
    pub(super) fn media_ready(&mut self, slot: usize, serial: u64, wire: &mut dyn Wire) {
        // The slot may have been taken over since the command was aborted.
        let Some(work) = self.works.get_mut(slot).filter(|work| work.serial == serial) else {
            return;
        };
        match std::mem::replace(&mut work.stage, Stage::Held) {
            Stage::Before { pieces } => self.move_data(slot, &pieces, wire),
            Stage::After => self.take_effect(slot, wire),
            stage => work.stage = stage,
        }
    }

    /// A transfer of data has ended.
    pub(super) fn data_moved(&mut self, slot: usize, outcome: Outcome, wire: &mut dyn Wire) {
        let Some(work) = self.works.get_mut(slot) else {
            return;
        };
        let Stage::Data { transfers, ended } = &mut work.stage else {
            return;
        };
        if outcome != Outcome::Done && *ended == End::Good {
            *ended = End::Bad(Status::DATA_TRANSFER_ERROR);
        }
        *transfers = transfers.saturating_sub(1);
        if *transfers == 0 {
            let ended = *ended;
            self.data_ended(slot, ended, wire);
        }
    }

    fn follow(&mut self, slot: usize, mut pointer: Pointer, mut want: Want, wire: &mut dyn Wire) {
        loop {
            let (spot, len_bytes) = match want {
                Want::Nothing => return self.proceed(slot, pointer.into_pieces(), wire),
                Want::List { spot, len_bytes } => (spot, len_bytes),
            };
            match spot {
                Spot::Wire(address) => {
                    if let Some(work) = self.works.get_mut(slot) {
                        work.stage = Stage::List { pointer, len_bytes };
                    }
                    let range = (address, Works::list(self.scratch, slot), len_bytes);
                    return self.start_transfer(Direction::In, range, Purpose::List { slot }, wire);
                }
                Spot::Cmb(place) => match take(&mut pointer, place, len_bytes, wire.banks()) {
                    Ok(next) => want = next,
                    Err(status) => return self.complete(slot, status, 0, wire),
                },
            }
        }
    }

    /// All pieces are known.
    fn proceed(&mut self, slot: usize, pieces: Vec<Piece>, wire: &mut dyn Wire) {
        let blocked = self.works.is_blocked(slot);
        let Some(work) = self.works.get_mut(slot) else {
            return;
        };
        let before_ps = work.job.as_ref().map_or(0, |job| job.before_ps);
        if blocked {
            work.stage = Stage::Blocked { pieces };
        } else if before_ps > 0 {
            work.stage = Stage::Before { pieces };
            let serial = work.serial;
            self.wake_in(before_ps, Wake::Media { slot, serial }, wire);
        } else {
            self.move_data(slot, &pieces, wire);
        }
    }

    fn move_data(&mut self, slot: usize, pieces: &[Piece], wire: &mut dyn Wire) {
        let Some(work) = self.works.get_mut(slot) else {
            return;
        };
        let Some(job) = &work.job else { return };
        let (direction, start) = (job.direction, job.local);
        let is_compared_or_moved = matches!(job.effect, Effect::Nothing | Effect::Wrote | Effect::Compare);
        if let Some(touch) = job.touches.clone().filter(|_| is_compared_or_moved)
            && let Some(namespace) = self.namespaces.get_mut(touch.namespace)
            && namespace
                .make_room(|| self.works.touched(touch.namespace), wire.banks())
                .and_then(|()| namespace.fetch(touch.span, wire.banks()))
                .is_err()
        {
            self.counts.media_errors += 1;
            return self.complete(slot, Status::UNRECOVERED_READ_ERROR, 0, wire);
        }
        let Some(work) = self.works.get_mut(slot) else {
            return;
        };
        let on_wire = |piece: &&Piece| matches!(piece.target, Target::At(Spot::Wire(_)));
        let transfers = pieces.iter().filter(on_wire).count() as u64;
        work.stage = Stage::Data {
            transfers,
            ended: End::Good,
        };
        let mut ended = End::Good;
        let mut offset = start.offset;
        for piece in pieces {
            let local = Place {
                bank: start.bank,
                offset,
            };
            offset += piece.len_bytes;
            match piece.target {
                Target::Nowhere => {}
                Target::At(Spot::Wire(address)) => {
                    let range = (address, local, piece.len_bytes);
                    self.start_transfer(direction, range, Purpose::Data { slot }, wire);
                }
                Target::At(Spot::Cmb(place)) => {
                    let (from, to) = match direction {
                        Direction::Out => (local, place),
                        Direction::In => (place, local),
                    };
                    if copy(wire.banks(), from, to, piece.len_bytes).is_err() {
                        ended = End::Bad(Status::INTERNAL_ERROR);
                    }
                }
            }
        }
        if let Some(Stage::Data { ended: at_last, .. }) = self.works.get_mut(slot).map(|work| &mut work.stage)
        {
            *at_last = ended;
        }
        if transfers == 0 {
            self.data_ended(slot, ended, wire);
        }
    }

    fn data_ended(&mut self, slot: usize, ended: End, wire: &mut dyn Wire) {
        let Some(work) = self.works.get_mut(slot) else {
            return;
        };
        let Some(job) = &work.job else { return };
        if let End::Bad(status) = ended {
            // What reached the blocks is in the bank: the file is to say the same.
            if job.effect == Effect::Wrote {
                let _ = self.write_through(slot, wire);
            }
            return self.complete(slot, status, 0, wire);
        }
        let (after_ps, serial) = (job.after_ps, work.serial);
        if after_ps > 0 {
            work.stage = Stage::After;
            self.wake_in(after_ps, Wake::Media { slot, serial }, wire);
        } else {
            self.take_effect(slot, wire);
        }
    }

    fn take_effect(&mut self, slot: usize, wire: &mut dyn Wire) {
        let Some(job) = self.works.get(slot).and_then(|work| work.job.clone()) else {
            return;
        };
        let touched = job
            .touches
            .as_ref()
            .map(|touch| (touch.namespace, touch.span.clone()));
        let stage = Works::stage(self.scratch, slot);
        let namespaces = &mut self.namespaces;
        let ended = match (job.effect, touched) {
            (Effect::Wrote, _) => self.write_through(slot, wire),
            (Effect::Compare, Some((namespace, span))) => match namespaces.get(namespace) {
                Some(namespace) => same(
                    wire.banks(),
                    stage,
                    namespace.place(span.start),
                    span.end - span.start,
                ),
                None => Ok(()),
            },
            (Effect::Clear, Some((namespace, span))) => match namespaces.get_mut(namespace) {
                Some(namespace) => namespace
                    .clear(span, wire.banks())
                    .map_err(|_| Status::WRITE_FAULT),
                None => Ok(()),
            },
            (Effect::Deallocate { namespace, ranges }, _) => self.deallocate(namespace, stage, ranges, wire),
            (Effect::Flush { namespaces: which }, _) => {
                let mut chosen = namespaces.get_mut(which).unwrap_or_default().iter_mut();
                chosen.try_for_each(|namespace| namespace.flush().map_err(|_| Status::WRITE_FAULT))
            }
            (Effect::Nothing | Effect::Compare | Effect::Clear, _) => Ok(()),
        };
        if ended == Err(Status::WRITE_FAULT) {
            self.counts.media_errors += 1;
        }
        self.complete(slot, ended.err().unwrap_or(Status::SUCCESS), 0, wire);
    }

    fn write_through(&mut self, slot: usize, wire: &mut dyn Wire) -> Result<(), Status> {
        let touch = self
            .works
            .get(slot)
            .and_then(|work| work.job.as_ref()?.touches.clone());
        let Some(touch) = touch else { return Ok(()) };
        let Some(namespace) = self.namespaces.get_mut(touch.namespace) else {
            return Ok(());
        };
        namespace
            .write_through(touch.span, wire.banks())
            .map_err(|_| Status::WRITE_FAULT)
    }
}

fn take(pointer: &mut Pointer, place: Place, len_bytes: u64, banks: &Banks) -> Result<Want, Status> {
    let mut bytes = [0; LIST_BYTES as usize];
    let bytes = &mut bytes[..len_bytes.min(LIST_BYTES) as usize];
    banks.read(place, bytes).map_err(|_| Status::INTERNAL_ERROR)?;
    pointer.take(bytes)
}

fn copy(banks: &mut Banks, from: Place, to: Place, len_bytes: u64) -> Result<(), MemoryError> {
    let mut buffer = vec![0; len_bytes.min(PIECE_BYTES) as usize];
    for done in (0..len_bytes.min(MOST_BYTES)).step_by(PIECE_BYTES as usize) {
        let now = &mut buffer[..(len_bytes - done).min(PIECE_BYTES) as usize];
        banks.read(
            Place {
                offset: from.offset + done,
                ..from
            },
            now,
        )?;
        banks.write(
            Place {
                offset: to.offset + done,
                ..to
            },
            now,
        )?;
    }
    Ok(())
}

fn same(banks: &Banks, one: Place, other: Place, len_bytes: u64) -> Result<(), Status> {
    let (mut left, mut right) = (vec![0; PIECE_BYTES as usize], vec![0; PIECE_BYTES as usize]);
    for done in (0..len_bytes).step_by(PIECE_BYTES as usize) {
        let count = (len_bytes - done).min(PIECE_BYTES) as usize;
        let (left, right) = (&mut left[..count], &mut right[..count]);
        let read = |at: Place, into: &mut [u8]| {
            banks.read(
                Place {
                    offset: at.offset + done,
                    ..at
                },
                into,
            )
        };
        read(one, left)
            .and_then(|()| read(other, right))
            .map_err(|_| Status::UNRECOVERED_READ_ERROR)?;
        if left != right {
            return Err(Status::COMPARE_FAILURE);
        }
    }
    Ok(())
}
