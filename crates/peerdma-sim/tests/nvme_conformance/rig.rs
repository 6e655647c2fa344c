//! The simplest machine: flat memory behind the controller's link.

use crate::bench::{Bench, CMB_BAR, CMB_BYTES};
use peerdma_sim::blueprint::NvmeKind;
use peerdma_sim::device::nvme::{Controller, Traits};
use peerdma_sim::device::{Device, Direction, Outcome, Region, Transfer, TransferId, Wire};
use peerdma_sim::memory::{BankId, Banks, Place};
use peerdma_sim::time::Time;
use peerdma_sim::tlp::{Access, Failure};
use std::collections::BTreeMap;
use std::ops::Range;

const RAM_BYTES: u64 = 64 << 20;
const CMB_BUS_ADDRESS: u64 = 0x20_0000_0000;

/// A controller with flat memory behind its link.
#[derive(Debug)]
pub(crate) struct Rig {
    controller: Controller,
    link: Link,
}

#[derive(Debug)]
struct Link {
    now: u64,
    banks: Banks,
    ram: BankId,
    due: BTreeMap<(u64, u64), Due>,
    next: u64,
    last_out: u64,
    jitter: u64,
    sent: Vec<Transfer>,
    interrupts: Vec<u16>,
    broken: Vec<Range<u64>>,
}

#[derive(Debug)]
enum Due {
    Transfer(TransferId, Transfer),
    Wake(u64),
}

impl Rig {
    pub(crate) fn new(kind: &NvmeKind, traits: Traits) -> Self {
        let mut banks = Banks::new(512 << 20);
        let ram = banks.add(RAM_BYTES);
        let mut bars = [0; 6];
        bars[0] = Controller::REGISTER_BAR_BYTES;
        if let Some(cmb) = kind.cmb {
            bars[usize::from(cmb.bar)] = CMB_BYTES;
        }
        let controller = Controller::with_traits(kind, &bars, &mut banks, traits).expect("a sound kind");
        let link = Link {
            now: 0,
            banks,
            ram,
            due: BTreeMap::new(),
            next: 0,
            last_out: 0,
            jitter: 1,
            sent: Vec::new(),
            interrupts: Vec::new(),
            broken: Vec::new(),
        };
        Self { controller, link }
    }
}

impl Bench for Rig {
    fn mmio_read(&mut self, bar: u8, offset: u64, into: &mut [u8]) {
        match self.controller.decode(bar, offset) {
            Region::Registers => {
                self.controller
                    .read_registers(bar, offset, into, &mut self.link)
                    .expect("registers");
            }
            Region::Memory { place, .. } => self.link.banks.read(place, into).expect("inside"),
            Region::Nothing => into.fill(0xff),
        }
    }

    fn mmio_write(&mut self, bar: u8, offset: u64, from: &[u8]) {
        match self.controller.decode(bar, offset) {
            Region::Registers => self.controller.write_registers(bar, offset, from, &mut self.link),
            Region::Memory { place, .. } => self.link.banks.write(place, from).expect("inside"),
            Region::Nothing => {}
        }
    }

    fn memory_read(&mut self, address: u64, into: &mut [u8]) {
        self.link
            .banks
            .read(
                Place {
                    bank: self.link.ram,
                    offset: address,
                },
                into,
            )
            .expect("RAM");
    }

    fn memory_write(&mut self, address: u64, from: &[u8]) {
        self.link
            .banks
            .write(
                Place {
                    bank: self.link.ram,
                    offset: address,
                },
                from,
            )
            .expect("RAM");
    }

    fn pass(&mut self, ps: u64) {
        let until = self.link.now + ps;
        match self.link.due.first_key_value() {
            Some((&(at, _), _)) if at <= until => {}
            _ => return self.link.now = until,
        }
        let Some(((at, _), due)) = self.link.due.pop_first() else {
            return;
        };
        self.link.now = at;
        match due {
            Due::Wake(cookie) => self.controller.woken(cookie, &mut self.link),
            Due::Transfer(id, transfer) => {
                let outcome = self.link.carry(&transfer);
                self.controller.transfer_ended(id, outcome, &mut self.link);
            }
        }
    }

    fn now_ps(&self) -> u64 {
        self.link.now
    }

    fn interrupts(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.link.interrupts)
    }

    fn sent(&mut self) -> Vec<Transfer> {
        std::mem::take(&mut self.link.sent)
    }

    fn break_memory(&mut self, addresses: Range<u64>) {
        self.link.broken.push(addresses);
    }

    fn reset(&mut self) {
        // As a machine does: what was under way, and what it asked for, is no more.
        self.link.due.clear();
        self.controller.reset(&mut self.link);
    }

    fn fail(&mut self) {
        self.controller.fail(&mut self.link);
    }

    fn buffer_address(&self) -> u64 {
        CMB_BUS_ADDRESS
    }
}

impl Link {
    fn carry(&mut self, transfer: &Transfer) -> Outcome {
        let end = transfer.address.saturating_add(transfer.len_bytes);
        let broken = self
            .broken
            .iter()
            .any(|range| transfer.address < range.end && range.start < end);
        if broken || end > RAM_BYTES {
            // A posted write that fails tells nobody.
            return match transfer.direction {
                Direction::Out => Outcome::Done,
                Direction::In => Outcome::Failed {
                    good_bytes: 0,
                    failure: Failure::UnsupportedRequest,
                },
            };
        }
        let there = Place {
            bank: self.ram,
            offset: transfer.address,
        };
        let (from, to) = match transfer.direction {
            Direction::In => (there, transfer.local),
            Direction::Out => (transfer.local, there),
        };
        let mut bytes = vec![0; transfer.len_bytes as usize];
        self.banks.read(from, &mut bytes).expect("a transfer's memory");
        self.banks.write(to, &bytes).expect("a transfer's memory");
        Outcome::Done
    }

    /// Some nanoseconds, different each time.
    fn delay(&mut self) -> u64 {
        self.jitter = self
            .jitter
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        300_000 + (self.jitter >> 33) % 900_000
    }

    fn later(&mut self, at: u64, due: Due) -> TransferId {
        self.next += 1;
        self.due.insert((at, self.next), due);
        TransferId(self.next)
    }
}

impl Wire for Link {
    fn now(&self) -> Time {
        Time::from_ps(self.now)
    }

    fn start(&mut self, transfer: Transfer) -> TransferId {
        assert!(transfer.len_bytes > 0, "an empty transfer");
        self.sent.push(transfer);
        // Writes leave in order; answers to reads may come in any.
        let at = match transfer.direction {
            Direction::In => self.now + self.delay(),
            Direction::Out => self.last_out.max(self.now) + transfer.len_bytes * 40,
        };
        if transfer.direction == Direction::Out {
            self.last_out = at;
        }
        let id = TransferId(self.next + 1);
        self.later(at, Due::Transfer(id, transfer))
    }

    fn translate(&mut self, _: u64, _: u64, _: Access) -> TransferId {
        panic!("the controller has no translation cache")
    }

    fn wake_at(&mut self, at: Time, cookie: u64) {
        self.later(at.as_ps().max(self.now), Due::Wake(cookie));
    }

    fn interrupt(&mut self, vector: u16) {
        self.interrupts.push(vector);
    }

    fn bar_address(&self, bar: u8) -> Option<u64> {
        (bar == CMB_BAR).then_some(CMB_BUS_ADDRESS)
    }

    fn banks(&mut self) -> &mut Banks {
        &mut self.banks
    }
}
