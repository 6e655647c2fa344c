//! From a bio to an entry in the submission queue.

use super::{Abort, Busy, Kept, Queue, refused_at};
use crate::command::{Command, Transfer};
use crate::pointer::{self, ListArea, Pointer};
use core::sync::atomic::Ordering;
use peerdma::block::{Bio, Data, Operation, Rejected, SubmitError, Ticket, VolumeError};
use peerdma::device::{Function, Host, Mmio};
use peerdma::dma::{Direction, DmaSegment, Locks, Mapping, MemoryKind};

/// A command that only has to be queued.
pub(super) struct Prepared {
    command: Command,
    mapping: Option<Mapping>,
}

impl<F: Function, H: Host + Clone, L: Locks> Queue<F, H, L> {
    /// All that can refuse a bio but for the queue's memory.
    ///
    /// # Errors
    /// [`SubmitError`]; nothing is mapped.
    pub(super) fn prepare(&mut self, bio: &Bio) -> Result<Prepared, SubmitError> {
        if let Some(why) = refused_at(self.stage, self.failure(), self.doomed) {
            return Err(why);
        }
        // The controller was stopped for somebody else: it does not know of the queue until a poll has made it anew.
        let is_lost = self.shared.generation.load(Ordering::Acquire) != self.generation;
        let full = is_lost || self.pair.as_ref().is_none_or(|pair| pair.submission.is_full());
        if full || self.fault.is_some() || self.slots.next().is_none() {
            return Err(SubmitError::QueueFull);
        }
        let blocks_bytes = self.limits.check(bio)?;
        let (what, direction) = match bio.operation {
            Operation::Read => (Transfer::Read, Direction::DeviceWrites),
            Operation::Write => (Transfer::Write, Direction::DeviceReads),
            Operation::Flush => {
                return Ok(Prepared {
                    command: Command::flush(self.layout.namespace),
                    mapping: None,
                });
            }
        };
        let (pointer, mapping) = match &bio.data {
            Data::None => return Err(wrong_length(blocks_bytes, 0)),
            Data::Vector(vector) => {
                let bytes = vector.iter().map(|piece| u64::from(piece.len_bytes()));
                let data_bytes = bytes.fold(0, u64::saturating_add);
                if data_bytes != blocks_bytes {
                    return Err(wrong_length(blocks_bytes, data_bytes));
                }
                let located = self.mapper.look_up(vector).map_err(SubmitError::LookUp)?;
                let constraints = &self.limits.constraints;
                let mapping = self.mapper.map(located, direction, constraints);
                let mapping = mapping.map_err(SubmitError::Map)?;
                match self.point(mapping.list().segments(), what) {
                    Ok(pointer) => (pointer, Some(mapping)),
                    Err(why) => {
                        self.give_up(mapping);
                        return Err(why);
                    }
                }
            }
            Data::Mapped(mapping) => {
                let access = mapping.direction() == direction || mapping.direction() == Direction::Both;
                if mapping.initiator() != self.limits.initiator || !access {
                    return Err(SubmitError::ForeignMapping);
                }
                if mapping.list().len_bytes() != blocks_bytes {
                    return Err(wrong_length(blocks_bytes, mapping.list().len_bytes()));
                }
                let align_mask = u64::from(self.limits.constraints.align_bytes) - 1;
                let is_odd =
                    |segment: &DmaSegment| (segment.addr | u64::from(segment.len_bytes)) & align_mask != 0;
                if mapping.list().segments().iter().any(is_odd) {
                    let why = "it was mapped without the alignment that the controller needs";
                    return Err(SubmitError::NotAddressable { why });
                }
                (self.point(mapping.list().segments(), what)?, None)
            }
        };
        let command = Command::transfer(what, self.layout.namespace, bio.lba, bio.blocks, pointer);
        Ok(Prepared { command, mapping })
    }

    /// Queues a command, and rings where nothing else will.
    pub(super) fn send(&mut self, bio: Bio, prepared: Prepared) -> Result<Ticket, Rejected> {
        let Prepared { command, mapping } = prepared;
        let pushed = match (&mut self.pair, self.slots.next()) {
            (Some(pair), Some((_, id))) => {
                let pushed = pair.submission.push(&self.host, &command.to_bytes(id.0));
                pushed.map_err(|source| SubmitError::Failed(VolumeError::Device(source)))
            }
            _ => Err(SubmitError::QueueFull),
        };
        if let Err(why) = pushed {
            if let Some(mapping) = mapping {
                self.give_up(mapping);
            }
            return Err(Rejected { bio, why });
        }
        let deadline_ns = self.host.now_ns().saturating_add(self.timeout_ns);
        self.attention_ns = self.attention_ns.min(deadline_ns);
        let ticket = Ticket(self.tickets);
        self.tickets = self.tickets.wrapping_add(1);
        self.slots.take_next(Busy {
            ticket,
            bio,
            mapping,
            deadline_ns,
            abort: Abort::No,
        });
        // The first is told at once. While the device has work, those that come together are told together, by the next poll.
        if self.slots.under_way() == 1 {
            self.ring();
        }
        Ok(ticket)
    }

    /// Tells the device of what was queued.
    pub(super) fn ring(&mut self) {
        // Stopped for somebody else, the controller knows no such queue.
        if self.shared.generation.load(Ordering::Acquire) != self.generation {
            return;
        }
        if let Some(tail) = self.pair.as_mut().and_then(|pair| pair.submission.tell()) {
            self.registers.write32(self.layout.tail_at, tail);
        }
    }

    /// The data pointer for these segments, its list written where the next command has its own.
    fn point(&mut self, segments: &[DmaSegment], what: Transfer) -> Result<Pointer, SubmitError> {
        self.check_own_memory(segments, what)?;
        let (Some(pair), Some((index, _))) = (&self.pair, self.slots.next()) else {
            return Err(SubmitError::QueueFull);
        };
        let offset = (index * self.layout.list_stride_bytes) as u64;
        let area = ListArea {
            bytes: &mut self.scratch,
            address: pair.lists.address().wrapping_add(offset),
        };
        let built = pointer::build(segments, self.layout.page_bytes, self.layout.forms, area);
        let built = built.map_err(|error| SubmitError::NotAddressable { why: error.why() })?;
        if let Some(list) = self
            .scratch
            .get(..built.list_bytes)
            .filter(|list| !list.is_empty())
        {
            let written = pair.lists.write(&self.host, offset, list);
            written.map_err(|source| SubmitError::Failed(VolumeError::Device(source)))?;
        }
        Ok(built.pointer)
    }

    /// May this command have its data where the segments lie, as far as the controller's own memory goes (CMBSZ.RDS, WDS,
    /// CMBLOC.CDMMMS)?
    fn check_own_memory(&self, segments: &[DmaSegment], what: Transfer) -> Result<(), SubmitError> {
        let not = |why| Err(SubmitError::NotAddressable { why });
        let mut own = 0;
        for segment in segments {
            let last = segment.addr.saturating_add(u64::from(segment.len_bytes) - 1);
            let window = self.buffer.map(|buffer| {
                let base = buffer.own_base.base;
                (base, base.saturating_add(buffer.own_base.len_bytes - 1))
            });
            let touches = window.is_some_and(|(first, end)| segment.addr <= end && first <= last);
            let within = window.is_some_and(|(first, end)| first <= segment.addr && last <= end);
            match segment.kind == MemoryKind::OwnBar {
                true if !within => return not("its own memory is not enabled, or does not reach that far"),
                true => own += 1,
                false if touches => return not("the controller would take the address for its own memory"),
                false => {}
            }
        }
        let Some(buffer) = self.buffer.filter(|_| own != 0) else {
            return Ok(());
        };
        let abilities = buffer.abilities;
        match what {
            Transfer::Read if !abilities.data_of_reads() => {
                not("its memory takes no data of reads (CMBSZ.RDS)")
            }
            Transfer::Write if !abilities.data_of_writes() => {
                not("its memory takes no data for writes (CMBSZ.WDS)")
            }
            _ if own != segments.len() && !abilities.mixed_data() => Err(SubmitError::Mixed),
            _ => Ok(()),
        }
    }

    /// Unmaps what was mapped for a bio that is rejected.
    fn give_up(&mut self, mapping: Mapping) {
        if let Err(error) = self.mapper.unmap(mapping) {
            self.kept.push(Kept {
                mapping: error.mapping,
                done: None,
            });
            self.attention_ns = 0;
        }
    }
}

fn wrong_length(blocks_bytes: u64, data_bytes: u64) -> SubmitError {
    SubmitError::WrongLength {
        blocks_bytes,
        data_bytes,
    }
}
