//! From a bio to an operation of the kernel.
#![allow(unsafe_code)]

use super::failure::Asked;
use super::pages::Pages;
use super::transfer::Peer;
use super::uring::{Operation as Queued, Vector, Wait, What};
use super::volume::{Busy, RingVolume, dead};
use crate::process::Kind;
use peerdma::block::{Bio, CommandError, Data, Operation, SubmitError, Ticket};
use peerdma::dma::{Direction, DmaSegment, Locks, Mapping};
use peerdma::memory::{Memory, MemoryMap};
use peerdma::route::Access;

/// A bio that only has to be begun; the slot's transfer has its memory.
pub(super) struct Prepared {
    slot: u16,
    mapping: Option<Mapping>,
    asked: Asked,
}

impl<L: Locks, P: Pages> RingVolume<L, P> {
    /// All that can refuse a bio.
    ///
    /// # Errors
    /// [`SubmitError`]; nothing is mapped.
    pub(super) fn prepare(&mut self, bio: &Bio) -> Result<Prepared, SubmitError> {
        if let Some(error) = self.dead {
            return Err(SubmitError::Failed(dead(error)));
        }
        let slot = *self.free.last().ok_or(SubmitError::QueueFull)?;
        let blocks_bytes = self.limits.check(bio)?;
        let (access, direction) = match bio.operation {
            // The device writes memory.
            Operation::Read => (Access::Write, Direction::DeviceWrites),
            Operation::Write | Operation::Flush => (Access::Read, Direction::DeviceReads),
        };
        let mut asked = Asked {
            initiator: self.limits.initiator,
            access,
            peer: None,
            is_forced: false,
        };
        let mapping = match &bio.data {
            Data::None if bio.operation == Operation::Flush => None,
            Data::None => return Err(wrong_length(blocks_bytes, 0)),
            Data::Mapped(mapping) => {
                if mapping.initiator() != self.limits.initiator || mapping.direction() != direction {
                    return Err(SubmitError::ForeignMapping);
                }
                let data_bytes = mapping.list().len_bytes();
                if data_bytes != blocks_bytes {
                    return Err(wrong_length(blocks_bytes, data_bytes));
                }
                asked.is_forced = mapping.is_forced();
                self.resolve(slot, mapping.list().segments())?;
                None
            }
            Data::Vector(vector) => {
                let data_bytes = bio.data.len_bytes();
                if data_bytes != blocks_bytes {
                    return Err(wrong_length(blocks_bytes, data_bytes));
                }
                let located = self.mapper.look_up(vector).map_err(SubmitError::LookUp)?;
                let constraints = &self.limits.constraints;
                let mapping = self.mapper.map(located, direction, constraints);
                let mapping = mapping.map_err(SubmitError::Map)?;
                asked.is_forced = mapping.is_forced();
                if let Err(why) = self.resolve(slot, mapping.list().segments()) {
                    // The kernel's address spaces translate nothing: there is nothing that could fail to be undone.
                    let _ = self.mapper.unmap(mapping);
                    return Err(why);
                }
                Some(mapping)
            }
        };
        Ok(Prepared { slot, mapping, asked })
    }

    /// Begins what is prepared.
    pub(super) fn begin(&mut self, bio: Bio, prepared: Prepared) -> Ticket {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        let Prepared { slot, mapping, asked } = prepared;
        self.free.pop();
        if let Some(of) = self.slots.get_mut(usize::from(slot)) {
            of.sequence = of.sequence.wrapping_add(1);
            of.busy = Some(Busy {
                ticket,
                bio,
                mapping,
                asked,
                put_off: 0,
                cancelled: 0,
                is_aborted: false,
            });
        }
        self.queue(slot);
        ticket
    }

    /// Queues what is left of a slot's bio.
    pub(super) fn queue(&mut self, slot: u16) {
        let Some(of) = self.slots.get_mut(usize::from(slot)) else {
            return;
        };
        let id = of.id(slot);
        let Some(busy) = &mut of.busy else { return };
        let first_bytes = (busy.bio.lba).saturating_mul(self.limits.block_bytes.into());
        let what = match (busy.bio.operation, of.transfer.operation()) {
            (Operation::Flush, _) => What::Flush,
            (operation, Some((pieces, count, into_bytes, peer))) => {
                busy.asked.peer = peer;
                let vector = Vector {
                    pieces,
                    count,
                    offset_bytes: first_bytes.saturating_add(into_bytes),
                };
                match operation {
                    Operation::Read => What::Read(vector),
                    _ => What::Write(vector),
                }
            }
            // `prepare` has found some.
            (_, None) => {
                self.ended
                    .push((slot, CommandError::Protocol("there was nothing to do")));
                return;
            }
        };
        for _ in 0..2 {
            // SAFETY: the transfer of a busy slot is neither advanced, asked for its next operation, cleared nor dropped before the completion of this
            // one was taken or it was given up, and keeps the memory mapped, of which all that is accessed are atomic cells and single volatile loads and
            // stores; a volume that is dropped waits for that, or leaks the transfer.
            if unsafe { self.kernel.push(Queued { what, id }) }.is_ok() {
                self.is_entry_due = true;
                return;
            }
            self.enter(Wait::No);
        }
        // The kernel takes nothing although it was asked.
        self.ended.push((slot, CommandError::Aborted));
    }

    /// Fills a slot's transfer with what the segments lead to in this process; on an error it keeps nothing of it.
    fn resolve(&mut self, slot: u16, segments: &[DmaSegment]) -> Result<(), SubmitError> {
        let filled = self.fill(slot, segments);
        if let (Err(_), Some(of)) = (&filled, self.slots.get_mut(usize::from(slot))) {
            of.transfer.clear();
        }
        filled
    }

    fn fill(&mut self, slot: u16, segments: &[DmaSegment]) -> Result<(), SubmitError> {
        let not = |why| SubmitError::NotAddressable { why };
        let ioas = self.mapper.ioas().clone();
        let map = ioas.map_snapshot();
        let initiator = self.limits.initiator;
        let of = self
            .slots
            .get_mut(usize::from(slot))
            .ok_or(SubmitError::QueueFull)?;
        of.transfer.clear();
        for segment in segments {
            let mut rest = *segment;
            while rest.len_bytes > 0 {
                let (phys, part_bytes) = (ioas.resolve_part(initiator, &rest))
                    .ok_or_else(|| not("an address leads to no memory that is registered"))?;
                let peer = peer_at(&map, phys, segment)?;
                let found = (self.pages.resolve(phys, part_bytes.into()))
                    .ok_or_else(|| not("the memory is not mapped in this process, as a whole"))?;
                match found.kind {
                    Kind::Bar => return Err(not(VFIO)),
                    Kind::P2pmem if !self.device.takes_peer_memory() => {
                        return Err(SubmitError::NoPeerMemory);
                    }
                    Kind::Ram if peer.is_some() => return Err(not("RAM lies where a BAR is registered")),
                    Kind::P2pmem | Kind::Ram => {}
                }
                (of.transfer).push(found.memory, found.offset_bytes, part_bytes.into(), peer)?;
                rest.addr = rest.addr.wrapping_add(part_bytes.into());
                rest.len_bytes -= part_bytes;
            }
        }
        of.transfer.check_runs(self.limits.block_bytes)
    }
}

const VFIO: &str = "a BAR that is open by VFIO cannot be pinned by the kernel; use p2pmem of a device that the kernel drives, or RAM";

/// Whose memory lies there, if it is not RAM.
fn peer_at(
    map: &MemoryMap,
    phys: peerdma::addr::PhysAddr,
    segment: &DmaSegment,
) -> Result<Option<Peer>, SubmitError> {
    let region = map.find(phys);
    match region.map(|region| region.memory) {
        Some(Memory::Bar(bar)) => Ok(Some(Peer {
            provider: bar.provider,
            judged: segment.kind,
        })),
        Some(Memory::Ram) => Ok(None),
        None => Err(SubmitError::NotAddressable {
            why: "the memory was taken out of the memory map",
        }),
    }
}

fn wrong_length(blocks_bytes: u64, data_bytes: u64) -> SubmitError {
    SubmitError::WrongLength {
        blocks_bytes,
        data_bytes,
    }
}
