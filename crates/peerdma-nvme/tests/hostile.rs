//! A controller that says anything: opening it ends, with a controller or a typed error, and nothing is left behind.

use peerdma::addr::{Address, Bdf, BusAddr, PhysAddr, Span};
use peerdma::block::{Bio, Data, Operation, Volume};
use peerdma::device::{BusMaster, DeviceError, Function, Host, Mmio, Presence};
use peerdma::dma::{Initiator, Ioas, PeerRoute, Refused, Routes, SingleThread, Threads, Translation};
use peerdma::memory::MemoryMap;
use peerdma::route::{Access, TlpClass};
use peerdma_nvme::{Controller, Options, Queue, QueueOptions};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

const RAM_BYTES: u64 = 4 << 20;
const RAM_AT: u64 = 0x10_0000;

/// A machine with some RAM and one device that answers at random.
#[derive(Clone)]
struct Machine(Rc<Inside>);

struct Inside {
    ram: RefCell<Vec<u8>>,
    taken: RefCell<BTreeMap<u64, u64>>,
    now_ns: Cell<u64>,
    relaxed: Cell<u64>,
    registers: RefCell<BTreeMap<u64, u32>>,
    seed: Cell<u64>,
    /// How often, of 16, it does what it should.
    good: u64,
    admin_tail: Cell<u32>,
    admin_posted: Cell<u32>,
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

    /// Answers admin commands up to the new tail, in its own way.
    fn answer(&self, tail: u32) {
        let (submissions, completions) = (self.register(0x28), self.register(0x30));
        while self.admin_tail.get() != tail % 32 {
            let head = self.admin_tail.get();
            self.admin_tail.set((head + 1) % 32);
            let command: [u8; 64] = self.get(u64::from(submissions) + u64::from(head) * 64);
            let page = u64::from_le_bytes(command[24..32].try_into().unwrap());
            if command[0] == 6 && self.behaves() {
                let mut bytes = [0_u8; 4096];
                let random = self.random();
                for byte in &mut bytes {
                    *byte = if random & 1 == 0 { self.random() as u8 } else { 0 };
                }
                match command[40] {
                    0 => {
                        bytes[..8].copy_from_slice(&4096_u64.to_le_bytes());
                        bytes[26] = 0;
                        bytes[128..132].copy_from_slice(&[0, 0, 9, 0]);
                    }
                    2 => bytes[..8].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]),
                    _ => bytes[77] = 5,
                }
                self.put(page, &bytes);
            } else if command[0] == 6 {
                let bytes: Vec<u8> = (0..4096).map(|_| self.random() as u8).collect();
                self.put(page, &bytes);
            }
            let posted = self.admin_posted.get();
            let mut entry = [0; 16];
            entry[8..10].copy_from_slice(&(self.admin_tail.get() as u16).to_le_bytes());
            entry[12..14].copy_from_slice(&command[2..4]);
            let phase = 1 - (posted / 32 % 2) as u8;
            entry[14] = phase;
            if !self.behaves() {
                let at = self.random() as usize % 16;
                entry[at] = self.random() as u8;
            }
            if self.behaves() {
                self.put(u64::from(completions) + u64::from(posted % 32) * 16, &entry);
                self.admin_posted.set(posted + 1);
            }
        }
    }
}

impl Mmio for Machine {
    fn len_bytes(&self) -> u64 {
        0x2000
    }

    fn read32(&self, offset: u64) -> u32 {
        let sane = match offset {
            0x00 => 0x0201_003f,
            0x04 => 0x20,
            0x08 => 0x0001_0400,
            0x1c => self.0.register(0x14) & 1,
            _ => self.0.register(offset),
        };
        match self.0.behaves() {
            true => sane,
            false => self.0.random() as u32 & self.0.random() as u32,
        }
    }

    fn write32(&self, offset: u64, value: u32) {
        match offset {
            0x1000 => return self.0.answer(value),
            0x14 if value & 1 == 0 => {
                self.0.admin_tail.set(0);
                self.0.admin_posted.set(0);
            }
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

    fn set_bus_master(&self, _: BusMaster) -> Result<(), DeviceError> {
        Ok(())
    }

    fn reset(&self) -> Result<(), DeviceError> {
        self.0.registers.borrow_mut().clear();
        Ok(())
    }

    fn presence(&self) -> Presence {
        Presence::Present
    }
}

impl Host for Machine {
    fn allocate(&self, len_bytes: u64, _: u64) -> Result<PhysAddr, DeviceError> {
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

/// How far it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Nothing,
    Controller,
    Volume,
}

fn use_it(seed: u64, good: u64) -> Reached {
    let machine = Machine(Rc::new(Inside {
        ram: RefCell::new(vec![0; RAM_BYTES as usize]),
        taken: RefCell::default(),
        now_ns: Cell::new(0),
        relaxed: Cell::new(0),
        registers: RefCell::default(),
        seed: Cell::new(seed | 1),
        good,
        admin_tail: Cell::new(0),
        admin_posted: Cell::new(0),
    }));
    let at = |address| PhysAddr::from_u64(address);
    let ram = Span::new(at(RAM_AT), at(RAM_AT + RAM_BYTES - 1)).unwrap();
    let (map, region) = MemoryMap::new().with_ram(ram).unwrap();
    let ioas = Ioas::<SingleThread>::new(Translation::Direct, map, &[]);
    let bdf = machine.bdf();
    let initiator = Initiator {
        bdf,
        address_mask: u64::MAX,
        class: TlpClass::Strict,
        inbound_offset: 0,
    };
    ioas.add_initiator(initiator, &NoRoutes).unwrap();
    let mapper = ioas.mapper(bdf).unwrap();
    let mut reached = Reached::Nothing;
    if let Ok(controller) = Controller::open(machine.clone(), machine.clone(), mapper, &Options::default()) {
        reached = Reached::Controller;
        let id = controller
            .namespaces()
            .first()
            .map_or(1, |namespace| namespace.id);
        let options = QueueOptions {
            depth: 4,
            max_transfer_bytes: 65536,
            ..QueueOptions::default()
        };
        if let Ok(mut volume) = controller.volume(id, ioas.mapper(bdf).unwrap(), &options) {
            reached = Reached::Volume;
            let flush = Bio {
                operation: Operation::Flush,
                lba: 0,
                blocks: 0,
                data: Data::None,
            };
            // It never answers I/O commands: this takes the way of time-outs and resets.
            let mut begun = usize::from(volume.submit(flush).is_ok());
            while begun > 0 {
                let _ = volume.poll(&mut |_| begun -= 1);
                machine.relax();
            }
            volume.close(&mut |_| ()).unwrap();
        }
        controller.close().unwrap();
    }
    assert!(machine.0.taken.borrow().is_empty(), "something is left allocated");
    ioas.begin_revoke(region);
    assert_eq!(ioas.finish_revoke(region), Ok(()), "something is left mapped");
    reached
}

#[test]
fn a_controller_that_behaves_is_opened() {
    assert_eq!(use_it(1, 16), Reached::Volume);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_answers_end_in_a_volume_or_a_typed_error(seed in any::<u64>(), good in 0_u64..17) {
        use_it(seed, good);
    }
}

/// With locks of the standard library a controller and its volumes can be handed to other threads, if what they drive can be.
#[allow(dead_code, reason = "it is only compiled")]
fn controllers_and_volumes_can_be_sent<F, H>(one: Controller<F, H, Threads>, two: Queue<F, H, Threads>)
where
    F: Function + Send,
    F::Mmio: Send,
    H: Host + Clone + Send,
{
    fn is_send<T: Send>(_: T) {}
    is_send(one);
    is_send(two);
}
