//! Operations of a volume, one after the other or several at once, each waited for.

use super::outcome::Outcome;
use crate::addr::{Origin, PhysAddr, PhysVec, Span};
use crate::block::{Bio, CommandError, Data, Operation, SubmitError, Ticket, Volume};
use crate::device::{DeviceError, Host};
use crate::engine::Trouble;
use alloc::vec;
use alloc::vec::Vec;

/// How long operations may take before they are given up. A volume's own time-outs come first; what is given up is never used again.
const PATIENCE_NS: u64 = 120_000_000_000;
/// The clock is looked at once in so many idle polls.
const IDLE_POLLS: u32 = 64;

/// Why bytes were not brought to or from blocks by way of RAM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MoveError {
    Ram(DeviceError),
    Volume(Trouble),
}

/// Blocks and bytes of ours, by way of RAM.
pub(super) struct Ferry<'f> {
    host: &'f dyn Host,
    volume: &'f mut dyn Volume,
    ram: Span<PhysAddr>,
}

impl<'f> Ferry<'f> {
    pub(super) fn new(host: &'f dyn Host, volume: &'f mut dyn Volume, ram: Span<PhysAddr>) -> Self {
        Self { host, volume, ram }
    }

    fn block_bytes(&self) -> usize {
        self.volume.limits().block_bytes.max(1) as usize
    }

    fn part_bytes(&self) -> usize {
        let ram_bytes = self.ram.len_bytes().unwrap_or(u64::MAX);
        let most = u64::from(self.volume.limits().max_transfer_bytes).min(ram_bytes);
        let block = self.block_bytes();
        (usize::try_from(most).unwrap_or(usize::MAX) / block * block).max(block)
    }

    /// Reads blocks.
    pub(super) fn load(&mut self, lba: u64, into: &mut [u8]) -> Result<(), MoveError> {
        let (mut lba, part_bytes) = (lba, self.part_bytes());
        for part in into.chunks_mut(part_bytes) {
            // What a transfer that moves nothing leaves there is not what is expected.
            let poison = vec![0x5a; part.len()];
            self.host
                .write_ram(self.ram.first(), &poison)
                .map_err(MoveError::Ram)?;
            self.one(Operation::Read, lba, self.ram_piece(part.len())?)?;
            self.host
                .read_ram(self.ram.first(), part)
                .map_err(MoveError::Ram)?;
            lba += (part.len() / self.block_bytes()) as u64;
        }
        Ok(())
    }

    /// Writes blocks.
    pub(super) fn store(&mut self, lba: u64, from: &[u8]) -> Result<(), MoveError> {
        let (mut lba, part_bytes) = (lba, self.part_bytes());
        for part in from.chunks(part_bytes) {
            self.host
                .write_ram(self.ram.first(), part)
                .map_err(MoveError::Ram)?;
            self.one(Operation::Write, lba, self.ram_piece(part.len())?)?;
            lba += (part.len() / self.block_bytes()) as u64;
        }
        Ok(())
    }

    fn ram_piece(&self, len_bytes: usize) -> Result<PhysVec, MoveError> {
        let at = self.ram.first();
        let none = MoveError::Ram(DeviceError::NoSuchMemory { at });
        let len_bytes = u32::try_from(len_bytes).map_err(|_| none.clone())?;
        let piece = PhysVec::new(at, len_bytes, Origin::Ram).map_err(|_| none.clone())?;
        (piece.last() <= self.ram.last()).then_some(piece).ok_or(none)
    }

    /// One operation with a piece of memory.
    pub(super) fn one(&mut self, operation: Operation, lba: u64, memory: PhysVec) -> Result<(), MoveError> {
        let bio = Bio {
            operation,
            lba,
            blocks: memory.len_bytes() / self.volume.limits().block_bytes.max(1),
            data: Data::Vector(Vec::from([memory])),
        };
        let ended = all(self.host, self.volume, Vec::from([bio]));
        ended.map_err(|outcome| {
            MoveError::Volume(match outcome {
                Outcome::Refused(why) => Trouble::Submit(why),
                Outcome::DeviceError(why) => Trouble::Command(why),
                Outcome::RefusedBySystem(why) => Trouble::Command(CommandError::PeerRefused(why)),
                Outcome::Lost(why) => why,
                Outcome::TimedOut | Outcome::Delivered | Outcome::Corrupt(_) => Trouble::Stuck,
            })
        })
    }
}

/// Several operations at once; waits until all have ended, also where one does not go well.
///
/// # Errors
/// How the first that did not go well ended.
pub(super) fn all(host: &dyn Host, volume: &mut dyn Volume, bios: Vec<Bio>) -> Result<(), Outcome> {
    let mut waiting: Vec<Bio> = bios;
    waiting.reverse();
    let mut tickets: Vec<Ticket> = Vec::with_capacity(waiting.len());
    let mut bad = None;
    let mut since_ns = host.now_ns();
    let mut idle = 0_u32;
    loop {
        while let Some(bio) = waiting.pop() {
            match volume.submit(bio) {
                Ok(ticket) => tickets.push(ticket),
                Err(rejected) if rejected.why == SubmitError::QueueFull && !tickets.is_empty() => {
                    waiting.push(rejected.bio);
                    break;
                }
                Err(rejected) => {
                    waiting.clear();
                    bad.get_or_insert(Outcome::Refused(rejected.why));
                }
            }
        }
        if tickets.is_empty() {
            return bad.map_or(Ok(()), Err);
        }
        let before = tickets.len();
        let polled = volume.poll(&mut |done| {
            let Some(index) = tickets.iter().position(|ticket| *ticket == done.ticket) else {
                return;
            };
            tickets.swap_remove(index);
            if let Err(why) = done.result {
                bad.get_or_insert(match why {
                    CommandError::TimedOut => Outcome::TimedOut,
                    CommandError::PeerRefused(why) => Outcome::RefusedBySystem(why),
                    why => Outcome::DeviceError(why),
                });
            }
        });
        if let Err(why) = polled {
            return Err(Outcome::Lost(Trouble::Volume(why)));
        }
        if tickets.len() < before {
            (idle, since_ns) = (0, host.now_ns());
            continue;
        }
        if volume.under_way() == 0 {
            return Err(Outcome::Lost(Trouble::Lost));
        }
        idle = idle.wrapping_add(1);
        if idle.is_multiple_of(IDLE_POLLS) && host.now_ns().saturating_sub(since_ns) > PATIENCE_NS {
            return Err(Outcome::Lost(Trouble::Stuck));
        }
        host.relax();
    }
}
