//! Where writes end: in memory, in registers, as interrupts, or nowhere.

use super::Machine;
use super::gear::{Bulk, Piece};
use super::issue::RAM_PS_PER_BYTE;
use super::landing::Landings;
use super::queue::Event;
use crate::device::{Purpose, Region};
use crate::fabric::{End, Loss, Packet, Why};
use crate::memory::Place;
use crate::tlp::Request;

/// A write that was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) request: Request,
    /// Where its data is.
    pub(super) local: Place,
    /// Bytes of the transfer from its first on.
    pub(super) rest_bytes: u64,
    pub(super) purpose: Purpose,
    pub(super) arrived_ps: u64,
    /// What follows the transfer is not sent before.
    pub(super) next_ps: u64,
}

impl Machine {
    /// A write that was sent reaches its end.
    pub(super) fn deliver_write(&mut self, path: u32, sent: &Sent, bulk: &mut Bulk) {
        let request = &sent.request;
        let arrived_ps = sent.arrived_ps;
        let len_bytes = u64::from(request.len_bytes);
        let (end, holds_bytes) = self.core.paths.get(path).end_at(request.address);
        let (place, follow_bytes, owner) = match end {
            End::Lost(loss) => return self.core.lose(arrived_ps, *request, loss),
            End::Ram { phys } => {
                let carried = &mut self.core.ram_carried;
                carried.add(sent.purpose, len_bytes, len_bytes);
                carried.busy_ps += len_bytes * RAM_PS_PER_BYTE;
                match self.core.ram.find(phys) {
                    Some((place, follow_bytes)) if follow_bytes >= len_bytes => {
                        (place, follow_bytes, Landings::NOBODY)
                    }
                    _ => {
                        let loss = self.nobody_there(path, end);
                        return self.core.lose(arrived_ps, *request, loss);
                    }
                }
            }
            End::Function {
                function,
                bar,
                offset,
            } => {
                let who = function.index();
                let region = match self.devices.get(who) {
                    Some(Some(device)) if self.core.senders[who].writes_arriving == 0 => {
                        device.decode(bar, offset)
                    }
                    _ => Region::Registers,
                };
                match region {
                    Region::Memory {
                        place,
                        len_bytes: follow_bytes,
                    } if follow_bytes >= len_bytes => (place, follow_bytes, who as u32),
                    _ => return self.write_later(who, bar, offset, sent),
                }
            }
            End::Interrupt => {
                let mut data = [0; 2];
                let wanted = request.len_bytes.min(2) as usize;
                // What cannot be read is 0.
                let _ = self.core.banks.read(sent.local, &mut data[..wanted]);
                return self.interrupt_later(request, u16::from_le_bytes(data), arrived_ps);
            }
            End::Requester => return,
        };
        let piece = Piece {
            from: sent.local,
            to: place,
            len_bytes,
            span_bytes: sent.rest_bytes.min(follow_bytes).min(holds_bytes),
            arrived_ps,
            // Nothing that this function does next can be earlier.
            unseen_until_ps: sent.next_ps,
            owner,
        };
        self.deliver(&piece, bulk);
    }

    pub(super) fn nobody_there(&self, path: u32, end: End) -> Loss {
        Loss {
            at: self.core.refuser(path, end),
            why: Why::UnsupportedRequest,
            packet: Packet::Request,
        }
    }

    /// The write has to be decoded when it arrives.
    fn write_later(&mut self, who: usize, bar: u8, offset: u64, sent: &Sent) {
        let core = &mut self.core;
        let buffer = core.buffers.take(sent.request.len_bytes as usize);
        if core.banks.read(sent.local, core.buffers.get_mut(buffer)).is_err() {
            core.buffers.get_mut(buffer).fill(0);
        }
        if let Some(sender) = core.senders.get_mut(who) {
            sender.writes_arriving += 1;
        }
        let event = Event::Write {
            function: who as u32,
            bar,
            offset,
            buffer,
            request: sent.request,
        };
        core.queue.push(sent.arrived_ps, event);
    }

    pub(super) fn interrupt_later(&mut self, request: &Request, vector: u16, arrived_ps: u64) {
        let event = Event::Interrupt {
            requester: request.requester,
            vector,
        };
        self.core.queue.push(arrived_ps, event);
    }
}
