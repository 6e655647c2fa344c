//! A machine of a few pages whose device may say anything; without a simulator behind it.
#![allow(dead_code, reason = "each test uses a part of it")]

use peerdma::addr::{Address, Bdf, BusAddr, PhysAddr, Span};
use peerdma::device::{BusMaster, DeviceError, Function, Host, Mmio, Presence};
use peerdma::dma::{Initiator, Ioas, PeerRoute, Refused, Routes, SingleThread, Translation};
use peerdma::memory::{MemoryMap, RegionId};
use peerdma::route::{Access, TlpClass};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

const RAM_BYTES: u64 = 4 << 20;
const RAM_AT: u64 = 0x10_0000;

/// A machine with some RAM and one device that answers at random.
#[derive(Clone)]
pub(crate) struct Machine(Rc<Inside>);

impl Machine {
    /// A machine whose device does what it should so often of 16.
    pub(crate) fn new(seed: u64, good: u64) -> Self {
        Self(Rc::new(Inside {
            ram: RefCell::new(vec![0; RAM_BYTES as usize]),
            taken: RefCell::default(),
            now_ns: Cell::new(0),
            relaxed: Cell::new(0),
            registers: RefCell::default(),
            seed: Cell::new(seed | 1),
            good,
            refusals: RefCell::default(),
            queues: Default::default(),
            looks_left: Cell::new(u64::MAX),
            cap_high: Cell::new(0x20),
            asked_bytes: Cell::new(0),
            sgls: Cell::new(0),
        }))
    }

    /// An address space for its device, and the region of its RAM.
    pub(crate) fn ioas(&self) -> (Arc<Ioas<SingleThread>>, RegionId) {
        let at = |address| PhysAddr::from_u64(address);
        let ram = Span::new(at(RAM_AT), at(RAM_AT + RAM_BYTES - 1)).unwrap();
        let (map, region) = MemoryMap::new().with_ram(ram).unwrap();
        let ioas = Ioas::new(Translation::Direct, map, &[]);
        let initiator = Initiator {
            bdf: self.bdf(),
            address_mask: u64::MAX,
            class: TlpClass::Strict,
            inbound_offset: 0,
        };
        ioas.add_initiator(initiator, &NoRoutes).unwrap();
        (ioas, region)
    }

    /// From now on it does not do this.
    pub(crate) fn refuse(&self, refusals: &[Refusal]) {
        self.0.refusals.borrow_mut().extend(refusals);
    }

    fn refuses(&self, refusal: Refusal) -> bool {
        self.0.refusals.borrow().contains(&refusal)
    }

    /// It breaks down (CSTS.CFS) for good once CSTS was looked at so often.
    pub(crate) fn break_down_after(&self, looks: u64) {
        self.0.looks_left.set(looks);
    }

    /// CAP.MPSMIN: the least page has so many bytes.
    pub(crate) fn set_least_page(&self, bytes: u64) {
        self.0.cap_high.set(0x20 | (bytes / 4096).trailing_zeros() << 16);
    }

    /// CAP, bits 63:32; below are zeros, too, where these are.
    pub(crate) fn set_capabilities(&self, high: u32) {
        self.0.cap_high.set(high);
    }

    /// SGLS, bits 7:0.
    pub(crate) fn set_sgl_support(&self, sgls: u8) {
        self.0.sgls.set(sgls);
    }

    /// The most RAM that was asked for at once.
    pub(crate) fn asked_bytes(&self) -> u64 {
        self.0.asked_bytes.get()
    }

    /// Is no RAM allocated?
    pub(crate) fn is_free(&self) -> bool {
        self.0.taken.borrow().is_empty()
    }
}

struct Inside {
    ram: RefCell<Vec<u8>>,
    taken: RefCell<BTreeMap<u64, u64>>,
    now_ns: Cell<u64>,
    relaxed: Cell<u64>,
    registers: RefCell<BTreeMap<u64, u32>>,
    seed: Cell<u64>,
    /// How often, of 16, it does what it should.
    good: u64,
    /// What it does not do.
    refusals: RefCell<Vec<Refusal>>,
    looks_left: Cell<u64>,
    cap_high: Cell<u32>,
    asked_bytes: Cell<u64>,
    sgls: Cell<u8>,
    /// The admin queues and one I/O pair.
    queues: [Cell<Pair>; 2],
}

/// What a device, or its system, may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Answer I/O commands.
    Answer,
    /// Clear CSTS.RDY.
    Stop,
    /// Be reset.
    Reset,
    /// Keep it from issuing requests.
    Quiet,
}

/// A queue pair as the device knows it.
#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    submissions: u64,
    completions: u64,
    entries: u32,
    completion_entries: u32,
    head: u32,
    /// How many completion entries it has written.
    posted: u32,
}

impl Inside {
    fn random(&self) -> u64 {
        let mut seed = self.seed.get();
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        self.seed.set(seed);
        seed.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn behaves(&self) -> bool {
        self.random() >> 60 < self.good
    }

    fn register(&self, offset: u64) -> u32 {
        self.registers.borrow().get(&offset).copied().unwrap_or(0)
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        let Some(at) = at.checked_sub(RAM_AT) else { return };
        let mut ram = self.ram.borrow_mut();
        if let Some(place) = ram
            .get_mut(at as usize..)
            .and_then(|rest| rest.get_mut(..bytes.len()))
        {
            place.copy_from_slice(bytes);
        }
    }

    fn get<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        let ram = self.ram.borrow();
        let from = at
            .checked_sub(RAM_AT)
            .and_then(|at| ram.get(at as usize..)?.get(..N));
        bytes.copy_from_slice(from.unwrap_or(&[0; N]));
        bytes
    }

    /// Answers commands up to the new tail, in its own way.
    fn answer(&self, number: usize, tail: u32) {
        let mut pair = self.queues[number].get();
        if number == 0 {
            let address = |low| u64::from(self.register(low)) | u64::from(self.register(low + 4)) << 32;
            (pair.submissions, pair.completions) = (address(0x28), address(0x30));
            (pair.entries, pair.completion_entries) = (32, 32);
        }
        while pair.entries > 1 && pair.completion_entries > 1 && pair.head != tail % pair.entries {
            let command: [u8; 64] = self.get(pair.submissions.wrapping_add(u64::from(pair.head) * 64));
            pair.head = (pair.head + 1) % pair.entries;
            if number == 0 {
                self.admin(&command);
            }
            let mut entry = [0; 16];
            entry[8..10].copy_from_slice(&(pair.head as u16).to_le_bytes());
            entry[10] = number as u8;
            entry[12..14].copy_from_slice(&command[2..4]);
            entry[14] = 1 - (pair.posted / pair.completion_entries % 2) as u8;
            if !self.behaves() {
                let at = self.random() as usize % 16;
                entry[at] = self.random() as u8;
            }
            if self.behaves() {
                let at = u64::from(pair.posted % pair.completion_entries) * 16;
                self.put(pair.completions.wrapping_add(at), &entry);
                pair.posted += 1;
            }
        }
        self.queues[number].set(pair);
    }

    /// Does what an admin command asks for, more or less.
    fn admin(&self, command: &[u8; 64]) {
        let address = u64::from_le_bytes(command[24..32].try_into().unwrap());
        let mut io = self.queues[1].get();
        let entries = u32::from(u16::from_le_bytes([command[42], command[43]])) + 1;
        match command[0] {
            1 => (io.submissions, io.entries) = (address, entries),
            5 => {
                io = Pair {
                    completions: address,
                    completion_entries: entries,
                    ..Pair::default()
                };
            }
            6 => self.identify(command[40], address),
            _ => {}
        }
        self.queues[1].set(io);
    }

    fn identify(&self, what: u8, page: u64) {
        let is_good = self.behaves();
        let is_blank = is_good && self.random() & 1 == 0 || self.good == 16;
        let mut bytes: Vec<u8> = (0..4096)
            .map(|_| if is_blank { 0 } else { self.random() as u8 })
            .collect();
        match what {
            _ if !is_good => {}
            0 => {
                bytes[..8].copy_from_slice(&4096_u64.to_le_bytes());
                bytes[26] = 0;
                bytes[128..132].copy_from_slice(&[0, 0, 9, 0]);
            }
            2 => bytes[..8].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]),
            _ => {
                bytes[77] = 5;
                if self.good == 16 {
                    bytes[536] = self.sgls.get();
                }
            }
        }
        self.put(page, &bytes);
    }
}

impl Mmio for Machine {
    fn len_bytes(&self) -> u64 {
        0x2000
    }

    fn read32(&self, offset: u64) -> u32 {
        let sane = match offset {
            0x00 if self.0.cap_high.get() == 0 => 0,
            0x00 => 0x0201_003f,
            0x04 => self.0.cap_high.get(),
            0x08 => 0x0001_0400,
            0x1c => {
                let left = self.0.looks_left.get().saturating_sub(1);
                self.0.looks_left.set(left);
                let fatal = u32::from(left == 0) << 1;
                fatal | u32::from(self.refuses(Refusal::Stop)) | self.0.register(0x14) & 1
            }
            _ => self.0.register(offset),
        };
        match self.0.behaves() {
            true => sane,
            false => self.0.random() as u32 & self.0.random() as u32,
        }
    }

    fn write32(&self, offset: u64, value: u32) {
        match offset {
            0x1000 => return self.0.answer(0, value),
            0x1008 if self.refuses(Refusal::Answer) => return,
            0x1008 => return self.0.answer(1, value),
            0x14 if value & 1 == 0 => self.0.queues.iter().for_each(|queue| queue.set(Pair::default())),
            _ => {}
        }
        self.0.registers.borrow_mut().insert(offset, value);
    }

    fn read64(&self, offset: u64) -> u64 {
        u64::from(self.read32(offset)) | u64::from(self.read32(offset + 4)) << 32
    }

    fn write64(&self, offset: u64, value: u64) {
        self.write32(offset, value as u32);
        self.write32(offset + 4, (value >> 32) as u32);
    }
}

impl Function for Machine {
    type Mmio = Machine;

    fn bdf(&self) -> Bdf {
        Bdf::new(0, 1, 0, 0).unwrap()
    }

    fn bar(&self, bar: u8) -> Option<Span<PhysAddr>> {
        let at = |address| PhysAddr::from_u64(address);
        (bar < 3).then(|| Span::new(at(0xf000_0000), at(0xf000_ffff)).unwrap())
    }

    fn bar_address(&self, bar: u8) -> Option<BusAddr> {
        (bar < 3).then(|| BusAddr::from_u64(0xf000_0000))
    }

    fn registers(&self, _: u8) -> Result<Machine, DeviceError> {
        Ok(self.clone())
    }

    fn set_bus_master(&self, to: BusMaster) -> Result<(), DeviceError> {
        match to == BusMaster::Off && self.refuses(Refusal::Quiet) {
            true => Err(DeviceError::System(5)),
            false => Ok(()),
        }
    }

    fn reset(&self) -> Result<(), DeviceError> {
        if self.refuses(Refusal::Reset) {
            return Err(DeviceError::NoReset);
        }
        self.0
            .refusals
            .borrow_mut()
            .retain(|refusal| *refusal != Refusal::Stop);
        self.0.queues.iter().for_each(|queue| queue.set(Pair::default()));
        self.0.registers.borrow_mut().clear();
        Ok(())
    }

    fn presence(&self) -> Presence {
        Presence::Present
    }
}

impl Host for Machine {
    fn allocate(&self, len_bytes: u64, _: u64) -> Result<PhysAddr, DeviceError> {
        self.0.asked_bytes.set(self.0.asked_bytes.get().max(len_bytes));
        let mut taken = self.0.taken.borrow_mut();
        let end = taken.last_key_value().map_or(RAM_AT, |(at, len)| at + len);
        let len_bytes = len_bytes.next_multiple_of(4096);
        if end + len_bytes > RAM_AT + RAM_BYTES {
            return Err(DeviceError::NoMemory { len_bytes });
        }
        taken.insert(end, len_bytes);
        self.0.put(end, &vec![0; len_bytes as usize]);
        Ok(PhysAddr::from_u64(end))
    }

    fn free(&self, at: PhysAddr) {
        self.0.taken.borrow_mut().remove(&at.to_u64());
    }

    fn read_ram(&self, at: PhysAddr, into: &mut [u8]) -> Result<(), DeviceError> {
        let ram = self.0.ram.borrow();
        let at = (at.to_u64() - RAM_AT) as usize;
        into.copy_from_slice(&ram[at..at + into.len()]);
        Ok(())
    }

    fn write_ram(&self, at: PhysAddr, from: &[u8]) -> Result<(), DeviceError> {
        self.0.put(at.to_u64(), from);
        Ok(())
    }

    fn load_acquire(&self, at: PhysAddr) -> Result<u32, DeviceError> {
        Ok(u32::from_le_bytes(self.0.get(at.to_u64())))
    }

    fn load_bar(&self, at: PhysAddr, _: u8) -> Result<u64, DeviceError> {
        Err(DeviceError::NoSuchMemory { at })
    }

    fn store_bar(&self, at: PhysAddr, _: u8, _: u64) -> Result<(), DeviceError> {
        Err(DeviceError::NoSuchMemory { at })
    }

    fn now_ns(&self) -> u64 {
        self.0.now_ns.get()
    }

    fn relax(&self) {
        self.0.now_ns.set(self.0.now_ns.get() + 50_000_000);
        self.0.relaxed.set(self.0.relaxed.get() + 1);
        assert!(self.0.relaxed.get() < 200_000, "it waits for ever");
    }
}

struct NoRoutes;

impl Routes for NoRoutes {
    fn route(&self, _: Bdf, provider: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
        PeerRoute::Refused(Refused::NoSuchFunction(provider))
    }
}
