//! The processor: loads and stores by physical address, and configuration accesses.

use super::Machine;
use super::arrival::Sent;
use super::gear::Bulk;
use super::queue::ItemKind;
use super::sender::{Arriving, Read};
use crate::device::{Direction, Outcome, Purpose, Transfer};
use crate::fabric::{End, Width};
use crate::memory::Place;
use crate::time::Time;
use crate::tlp::{Access, AddressType, Ordering, Request};
use peerdma::addr::Bdf;

/// A load or a store of RAM.
const RAM_PS: u64 = 80_000;
/// A configuration access, there and back.
const CONFIG_PS: u64 = 1_000_000;
/// What one load or store of an uncached register carries at most.
const REGISTER_BYTES: usize = 8;
/// What a write-combining buffer holds: a line that is stored as a whole leaves as one TLP.
const LINE_BYTES: usize = 64;

impl Machine {
    /// Loads from physical addresses: from RAM without a TLP, else by TLPs of up to 8 bytes, one after the other, each of
    /// which takes until its completion has come. What fails reads as all ones.
    pub fn cpu_read(&mut self, phys: u64, into: &mut [u8]) {
        let mut done = 0;
        while done < into.len() {
            let address = phys.wrapping_add(done as u64);
            let rest = &mut into[done..];
            done += match self.core.ram.find(address) {
                Some((place, follow_bytes)) => {
                    let count = rest
                        .len()
                        .min(usize::try_from(follow_bytes).unwrap_or(usize::MAX));
                    self.run_until(Time::from_ps(self.core.now_ps.saturating_add(RAM_PS)));
                    if self.core.banks.read(place, &mut rest[..count]).is_err() {
                        rest[..count].fill(0xff);
                    }
                    count
                }
                None => {
                    let count = aligned(address, rest.len(), REGISTER_BYTES);
                    self.load(address, &mut rest[..count]);
                    count
                }
            };
        }
    }

    /// Stores to physical addresses: to RAM without a TLP, else by TLPs of 64 bytes for whole lines of 64, and of up to 8
    /// bytes for what is less. It goes on when the last has left the root complex.
    pub fn cpu_write(&mut self, phys: u64, from: &[u8]) {
        let mut done = 0;
        while done < from.len() {
            let address = phys.wrapping_add(done as u64);
            let rest = &from[done..];
            done += match self.core.ram.find(address) {
                Some((place, follow_bytes)) => {
                    let count = rest
                        .len()
                        .min(usize::try_from(follow_bytes).unwrap_or(usize::MAX));
                    self.run_until(Time::from_ps(self.core.now_ps.saturating_add(RAM_PS)));
                    if let Err(error) = self.core.banks.write(place, &rest[..count]) {
                        self.core.landings.refuse(error);
                    }
                    count
                }
                None => {
                    let is_line = address.is_multiple_of(LINE_BYTES as u64) && rest.len() >= LINE_BYTES;
                    let count = match is_line {
                        true => LINE_BYTES,
                        false => aligned(address, rest.len(), REGISTER_BYTES),
                    };
                    self.store(address, &rest[..count]);
                    count
                }
            };
        }
    }

    /// Reads configuration space: all ones where nothing answers. Takes a microsecond.
    pub fn config_read(&mut self, bdf: Bdf, offset: u16, width: Width) -> u32 {
        self.run_until(Time::from_ps(self.core.now_ps.saturating_add(CONFIG_PS)));
        match self.core.fabric.find(bdf) {
            Some(function) => self.core.fabric.config_read(function, offset, width),
            None => u32::MAX >> (32 - 8 * width.bytes()),
        }
    }

    /// Writes configuration space. Takes a microsecond; a reset that it asks for has happened then.
    pub fn config_write(&mut self, bdf: Bdf, offset: u16, width: Width, value: u32) {
        self.run_until(Time::from_ps(self.core.now_ps.saturating_add(CONFIG_PS)));
        let Some(function) = self.core.fabric.find(bdf) else {
            return;
        };
        let effect = self.core.fabric.config_write(function, offset, width, value);
        if effect.routes_changed() {
            self.core.routes_changed();
        }
        if effect.function_reset {
            self.reset(function.index());
        }
        if effect.bus_reset {
            self.reset_below(function);
        }
    }

    fn cpu_request(access: Access, address: u64, len_bytes: usize) -> Request {
        Request {
            requester: Bdf::from_devfn(0, 0, 0),
            access,
            address,
            len_bytes: len_bytes as u32,
            address_type: AddressType::Untranslated,
            ordering: Ordering::Strict,
        }
    }

    /// A path for the processor.
    fn cpu_path(&mut self, request: &Request) -> u32 {
        let core = &mut self.core;
        let index = core.paths.take();
        let path = core.paths.get_mut(index);
        core.fabric.route_cpu(
            request.access,
            request.address,
            request.len_bytes,
            &mut path.route,
        );
        path.base = request.address;
        core.map.lay(path, &mut core.channels);
        index
    }

    fn store(&mut self, address: u64, data: &[u8]) {
        let local = Place {
            bank: self.core.cpu_bank,
            offset: 0,
        };
        // The bank is made for it.
        if let Err(error) = self.core.banks.write(local, data) {
            self.core.landings.refuse(error);
        }
        let request = Self::cpu_request(Access::Write, address, data.len());
        let path = self.cpu_path(&request);
        let passage = self.walk(path, &request, Purpose::Queue, 0);
        let sent = Sent {
            request,
            local,
            rest_bytes: data.len() as u64,
            purpose: Purpose::Queue,
            arrived_ps: passage.arrived_ps,
            next_ps: passage.left_ps,
        };
        self.deliver_write(path, &sent, &mut Bulk::off());
        self.core.paths.release(path);
        self.run_until(Time::from_ps(passage.left_ps));
    }

    fn load(&mut self, address: u64, into: &mut [u8]) {
        let cpu = self.core.cpu();
        let local = Place {
            bank: self.core.cpu_bank,
            offset: LINE_BYTES as u64,
        };
        let request = Self::cpu_request(Access::Read, address, into.len());
        let path = self.cpu_path(&request);
        let id = self.core.name();
        let transfer = Transfer {
            direction: Direction::In,
            address,
            local,
            len_bytes: into.len() as u64,
            address_type: AddressType::Untranslated,
            ordering: Ordering::Strict,
            purpose: Purpose::Queue,
        };
        let index = self
            .core
            .open_read(Read::new(id, ItemKind::Device, request, &transfer));
        let read = &mut self.core.reads[index as usize];
        (read.unanswered, read.is_all_sent) = (1, true);
        let now_ps = self.core.now_ps;
        self.core.senders[cpu].has_room(now_ps, 0);
        let tag = self.core.senders[cpu].ask(request.len_bytes);
        let passage = self.walk(path, &request, Purpose::Queue, tag);
        let arriving = Arriving {
            at: self.core.queue.moment(passage.arrived_ps),
            read: index,
            path,
            address,
            len_bytes: request.len_bytes,
            tag,
            offset: 0,
            sent_ps: now_ps,
        };
        match self.core.paths.get(path).route.end {
            End::Lost(loss) => self.refuse_read(cpu, arriving, loss),
            _ => {
                self.core.senders[cpu].arrive(arriving);
                self.core.requeue(cpu);
            }
        }
        // The end is in the queue, or comes there when the request is answered: the machine cannot fall idle before.
        let outcome = loop {
            if let Some((_, outcome)) = self.core.outcomes.remove(&id) {
                break outcome;
            }
            if !self.step() {
                break Outcome::Failed {
                    good_bytes: 0,
                    failure: crate::tlp::Failure::CompletionTimeout,
                };
            }
        };
        let is_read = outcome == Outcome::Done && self.core.banks.read(local, into).is_ok();
        if !is_read {
            into.fill(0xff);
        }
    }
}

/// How many bytes of so many one access carries: a power of two, at an address that it divides.
fn aligned(address: u64, rest_bytes: usize, most_bytes: usize) -> usize {
    let mut count = most_bytes;
    while count > 1 && (count > rest_bytes || !address.is_multiple_of(count as u64)) {
        count /= 2;
    }
    count
}
