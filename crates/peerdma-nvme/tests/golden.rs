//! What the driver writes to a controller, word for word: registers, and entries of queues as they are when their doorbell rings. A
//! change here is a change of what hardware sees.

mod support;

use peerdma::addr::{Address, Bdf, BusAddr, PhysAddr, Span};
use peerdma::block::{Operation, Volume};
use peerdma::device::{BusMaster, DeviceError, Function, Host, Mmio, Presence};
use peerdma::dma::SingleThread;
use peerdma_nvme::{Controller, Options, Queue, QueueOptions};
use peerdma_sim::host::{Computer, PciFunction, Registers};
use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;
use support::{Rig, bio, flush, piece};

/// A function that notes what is written.
struct Noted {
    function: PciFunction,
    computer: Computer,
    notes: Rc<RefCell<Notes>>,
}

#[derive(Default)]
struct Notes {
    text: String,
    /// Where submission queues lie, and how far their tails were.
    queues: [(u64, u32); 2],
}

#[derive(Clone)]
struct NotedRegisters {
    registers: Registers,
    computer: Computer,
    notes: Rc<RefCell<Notes>>,
}

impl Function for Noted {
    type Mmio = NotedRegisters;

    fn bdf(&self) -> Bdf {
        self.function.bdf()
    }

    fn bar(&self, bar: u8) -> Option<Span<PhysAddr>> {
        Function::bar(&self.function, bar)
    }

    fn bar_address(&self, bar: u8) -> Option<BusAddr> {
        self.function.bar_address(bar)
    }

    fn registers(&self, bar: u8) -> Result<NotedRegisters, DeviceError> {
        Ok(NotedRegisters {
            registers: self.function.registers(bar)?,
            computer: self.computer.clone(),
            notes: self.notes.clone(),
        })
    }

    fn set_bus_master(&self, to: BusMaster) -> Result<(), DeviceError> {
        writeln!(self.notes.borrow_mut().text, "bus master {to:?}").unwrap();
        self.function.set_bus_master(to)
    }

    fn reset(&self) -> Result<(), DeviceError> {
        self.function.reset()
    }

    fn presence(&self) -> Presence {
        self.function.presence()
    }
}

impl NotedRegisters {
    /// The entries that a doorbell tells of: their dwords that are not zero.
    fn entries(&self, queue: usize, tail: u32) {
        let mut notes = self.notes.borrow_mut();
        let Some((base, before)) = notes.queues.get(queue).copied() else {
            return;
        };
        for index in before..tail {
            let mut entry = [0; 64];
            let at = PhysAddr::from_u64(base + u64::from(index) * 64);
            self.computer.read_ram(at, &mut entry).unwrap();
            write!(notes.text, "  queue {queue}:").unwrap();
            for (number, dword) in entry.chunks_exact(4).enumerate() {
                let dword = u32::from_le_bytes(dword.try_into().unwrap());
                if dword != 0 {
                    write!(notes.text, " {number}={dword:x}").unwrap();
                }
            }
            notes.text.push('\n');
            // Create I/O Submission Queue tells where the next one lies.
            if queue == 0 && entry[0] == 1 {
                notes.queues[1].0 = u64::from_le_bytes(entry[24..32].try_into().unwrap());
            }
        }
        notes.queues[queue].1 = tail;
    }
}

impl Mmio for NotedRegisters {
    fn len_bytes(&self) -> u64 {
        self.registers.len_bytes()
    }

    fn read32(&self, offset: u64) -> u32 {
        self.registers.read32(offset)
    }

    fn write32(&self, offset: u64, value: u32) {
        match offset {
            0x1000 => self.entries(0, value),
            0x1008 => self.entries(1, value),
            _ => {}
        }
        writeln!(self.notes.borrow_mut().text, "{offset:x} = {value:x}").unwrap();
        self.registers.write32(offset, value);
    }

    fn read64(&self, offset: u64) -> u64 {
        self.registers.read64(offset)
    }

    fn write64(&self, offset: u64, value: u64) {
        if offset == 0x28 {
            self.notes.borrow_mut().queues[0].0 = value;
        }
        writeln!(self.notes.borrow_mut().text, "{offset:x} = {value:x} (qword)").unwrap();
        self.registers.write64(offset, value);
    }
}

type NotedController = Controller<Noted, Computer, SingleThread>;
type NotedQueue = Queue<Noted, Computer, SingleThread>;

fn noted(rig: &Rig, options: &QueueOptions) -> (NotedController, NotedQueue, Rc<RefCell<Notes>>) {
    let bdf = rig.bdf("nvme0");
    let notes = Rc::new(RefCell::new(Notes::default()));
    let function = Noted {
        function: rig.computer.function(bdf).unwrap(),
        computer: rig.computer.clone(),
        notes: notes.clone(),
    };
    let mapper = || rig.ioas.mapper(bdf).unwrap();
    let computer = rig.computer.clone();
    let controller = NotedController::open(function, computer, mapper(), &Options::default()).unwrap();
    let volume = controller.volume(1, mapper(), options).unwrap();
    (controller, volume, notes)
}

#[test]
fn a_session_is_written_word_for_word_as_it_was() {
    let rig = Rig::new("two-ssds.toml");
    let ram = rig.ram(1 << 16);
    let (controller, mut volume, notes) = noted(&rig, &QueueOptions::default());
    let block_bytes = u64::from(volume.limits().block_bytes);
    let vectors = [
        vec![piece(ram, 512, 4096)],
        vec![piece(ram, 0, 8192), piece(ram, 16384, 8192)],
        vec![piece(ram, 0x100, 256), piece(ram, 0x1000, 256)],
    ];
    for (lba, vector) in (7..).zip(vectors) {
        let bytes: u64 = vector.iter().map(|piece| u64::from(piece.len_bytes())).sum();
        let next = bio(Operation::Write, lba, (bytes / block_bytes) as u32, vector);
        volume.submit(next).unwrap();
        while volume.under_way() > 0 {
            volume.poll(&mut |done| done.result.unwrap()).unwrap();
            rig.computer.relax();
        }
    }
    volume.submit(flush()).unwrap();
    volume.close(&mut |_| ()).unwrap();
    controller.close().unwrap();
    let written = notes.borrow().text.clone();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/session.txt");
    if std::env::var_os("PEERDMA_BLESS").is_some() {
        std::fs::write(path, &written).unwrap();
    }
    assert_eq!(written, std::fs::read_to_string(path).unwrap());
}

#[test]
fn what_is_submitted_together_is_told_together_and_completions_are_told_of_before_there_is_no_room() {
    const TOGETHER: usize = 4;
    const ROUNDS: usize = 300;
    let rig = Rig::new("two-ssds.toml");
    let ram = rig.ram(4096);
    let options = QueueOptions {
        depth: TOGETHER as u16,
        ..QueueOptions::default()
    };
    let (controller, mut volume, notes) = noted(&rig, &options);
    notes.borrow_mut().text.clear();
    let told = |register: &str| {
        let notes = notes.borrow();
        notes
            .text
            .lines()
            .filter(|line| line.starts_with(register))
            .count()
    };
    let block_bytes = volume.limits().block_bytes;
    for _ in 0..ROUNDS {
        for lba in 0..TOGETHER as u64 {
            let read = bio(Operation::Read, lba, 1, vec![piece(ram, 0, block_bytes.into())]);
            volume.submit(read).unwrap();
        }
        while volume.under_way() > 0 {
            volume.poll(&mut |done| done.result.unwrap()).unwrap();
            rig.computer.relax();
        }
    }
    // The first of each round at once, so that the device begins; the others by the poll that follows.
    assert_eq!(told("1008 = "), 2 * ROUNDS);
    // A page has room for 256 completions, of which 4 are always to come.
    assert_eq!(told("100c = "), TOGETHER * ROUNDS / (256 - TOGETHER));
    volume.close(&mut |_| ()).unwrap();
    controller.close().unwrap();
}
