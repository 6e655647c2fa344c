//! A driver as small as the tests allow: commands are dwords as the specification prints them.

use crate::bench::{Bench, Rig};
pub(crate) use crate::command::{Cmd, Cqe, read, sc, write};
use peerdma_sim::blueprint::{CmbAbilities, CmbKind, CmbStyle, NamespaceKind, NvmeKind, Protection};
use peerdma_sim::device::nvme::Traits;

pub(crate) const ASQ: u64 = 0x1_0000;
pub(crate) const ACQ: u64 = 0x2_0000;
pub(crate) const DATA: u64 = 0x100_0000;
pub(crate) const ADMIN_ENTRIES: u64 = 32;

/// Where a ring lies: in memory, or in a BAR.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lies {
    At(u64),
    InBar(u8, u64),
}

/// A submission queue and its completion queue, as software keeps them.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) number: u16,
    pub(crate) submission: Lies,
    pub(crate) completion: Lies,
    pub(crate) entries: u64,
    pub(crate) tail: u64,
    pub(crate) head: u64,
    pub(crate) phase: u16,
    next_id: u16,
}

impl Pair {
    pub(crate) fn new(number: u16, submission: Lies, completion: Lies, entries: u64) -> Self {
        Self {
            number,
            submission,
            completion,
            entries,
            tail: 0,
            head: 0,
            phase: 1,
            next_id: 1,
        }
    }
}

/// A driver.
#[derive(Debug)]
pub(crate) struct Driver<B> {
    pub(crate) bench: B,
    pub(crate) admin: Pair,
    pub(crate) io: Pair,
    stride: u64,
}

/// One namespace of 1024 blocks of 512 bytes, and one of 256 of 4096.
pub(crate) fn kind() -> NvmeKind {
    let namespace = |block_bytes, blocks| NamespaceKind {
        block_bytes,
        blocks,
        file: None,
        protection: Protection::None,
    };
    NvmeKind {
        namespaces: vec![namespace(512, 8192), namespace(4096, 1024)],
        cmb: None,
    }
}

/// The same with a buffer of 1 MiB in BAR 2.
pub(crate) fn kind_with_buffer(size_bits: u8, location_bits: u16) -> NvmeKind {
    let abilities = CmbAbilities {
        size_bits,
        location_bits,
    };
    NvmeKind {
        cmb: Some(CmbKind {
            bar: crate::bench::CMB_BAR,
            abilities,
            style: CmbStyle::V1_4,
        }),
        ..kind()
    }
}

/// The same with a buffer as controllers before NVM Express 1.4 have it.
pub(crate) fn kind_with_old_buffer(size_bits: u8) -> NvmeKind {
    let mut kind = kind_with_buffer(size_bits, 0);
    if let Some(cmb) = &mut kind.cmb {
        cmb.style = CmbStyle::V1_2;
    }
    kind
}

impl Driver<Rig> {
    /// Switched on, nothing written yet.
    pub(crate) fn off(kind: &NvmeKind, traits: Traits) -> Self {
        Self::over(Rig::new(kind, traits.clone()), 4 << traits.doorbell_stride_log2)
    }

    /// Enabled.
    pub(crate) fn on(kind: &NvmeKind) -> Self {
        let mut driver = Self::off(kind, Traits::default());
        driver.enable(0);
        driver
    }

    /// Enabled, with a pair of I/O queues.
    pub(crate) fn with_io(kind: &NvmeKind) -> Self {
        let mut driver = Self::on(kind);
        driver.make_io();
        driver
    }
}

impl<B: Bench> Driver<B> {
    pub(crate) fn over(bench: B, stride: u64) -> Self {
        let admin = Pair::new(0, Lies::At(ASQ), Lies::At(ACQ), ADMIN_ENTRIES);
        let io = Pair::new(1, Lies::At(0x10_0000), Lies::At(0x20_0000), 64);
        Self {
            bench,
            admin,
            io,
            stride,
        }
    }

    pub(crate) fn reg32(&mut self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.bench.mmio_read(0, offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    pub(crate) fn reg64(&mut self, offset: u64) -> u64 {
        u64::from(self.reg32(offset)) | u64::from(self.reg32(offset + 4)) << 32
    }

    pub(crate) fn set32(&mut self, offset: u64, value: u32) {
        self.bench.mmio_write(0, offset, &value.to_le_bytes());
    }

    pub(crate) fn set64(&mut self, offset: u64, value: u64) {
        self.bench.mmio_write(0, offset, &value.to_le_bytes());
    }

    pub(crate) fn csts(&mut self) -> u32 {
        self.reg32(0x1c)
    }

    pub(crate) fn pass_us(&mut self, us: u64) {
        let end = self.bench.now_ps() + us * 1_000_000;
        while self.bench.now_ps() < end {
            self.bench.pass(end - self.bench.now_ps());
        }
    }

    /// Base 3.5.1: queues, settings, enable, wait for ready.
    pub(crate) fn enable(&mut self, page_log2_over_12: u32) {
        self.set32(
            0x24,
            (ADMIN_ENTRIES as u32 - 1) << 16 | (ADMIN_ENTRIES as u32 - 1),
        );
        self.set64(0x28, ASQ);
        self.set64(0x30, ACQ);
        self.bench.memory_write(ACQ, &[0; 16 * ADMIN_ENTRIES as usize]);
        self.set32(0x14, 4 << 20 | 6 << 16 | page_log2_over_12 << 7 | 1);
        self.pass_us(100);
        assert_eq!(self.csts() & 3, 1, "ready");
        self.admin = Pair::new(0, Lies::At(ASQ), Lies::At(ACQ), ADMIN_ENTRIES);
    }

    pub(crate) fn disable(&mut self) {
        let cc = self.reg32(0x14);
        self.set32(0x14, cc & !1);
        self.pass_us(100);
        assert_eq!(self.csts() & 1, 0, "not ready");
    }

    pub(crate) fn make_io(&mut self) {
        let (number, entries) = (self.io.number, self.io.entries);
        let (Lies::At(submission), Lies::At(completion)) = (self.io.submission, self.io.completion) else {
            panic!("queues in memory");
        };
        assert_eq!(self.create_cq(number, entries, completion, number), sc::SUCCESS);
        assert_eq!(self.create_sq(number, entries, submission, number), sc::SUCCESS);
    }

    pub(crate) fn create_cq(&mut self, number: u16, entries: u64, address: u64, vector: u16) -> u16 {
        let command = Cmd::new(5)
            .prp(address, 0)
            .with(10, (entries as u32 - 1) << 16 | u32::from(number));
        self.admin(command.with(11, u32::from(vector) << 16 | 3)).status()
    }

    pub(crate) fn create_sq(&mut self, number: u16, entries: u64, address: u64, completion: u16) -> u16 {
        let command = Cmd::new(1)
            .prp(address, 0)
            .with(10, (entries as u32 - 1) << 16 | u32::from(number));
        self.admin(command.with(11, u32::from(completion) << 16 | 1))
            .status()
    }

    pub(crate) fn admin(&mut self, command: Cmd) -> Cqe {
        let mut pair = self.admin.clone();
        let done = self.run_on(&mut pair, command);
        self.admin = pair;
        done
    }

    pub(crate) fn io(&mut self, command: Cmd) -> Cqe {
        let mut pair = self.io.clone();
        let done = self.run_on(&mut pair, command);
        self.io = pair;
        done
    }

    pub(crate) fn run_on(&mut self, pair: &mut Pair, command: Cmd) -> Cqe {
        let id = self.put(pair, command);
        self.ring(pair);
        let done = self.wait(pair);
        assert_eq!((done.id, done.queue), (id, pair.number));
        done
    }

    /// Puts a command into the ring, with the next identifier, without telling.
    pub(crate) fn put(&mut self, pair: &mut Pair, command: Cmd) -> u16 {
        let id = pair.next_id;
        pair.next_id = pair.next_id.wrapping_add(1);
        self.put_as(pair, command, id);
        id
    }

    pub(crate) fn put_as(&mut self, pair: &mut Pair, command: Cmd, id: u16) {
        let bytes = command.id(id).bytes();
        self.store(pair.submission, pair.tail * 64, &bytes);
        pair.tail = (pair.tail + 1) % pair.entries;
    }

    pub(crate) fn ring(&mut self, pair: &Pair) {
        self.set32(
            0x1000 + 2 * u64::from(pair.number) * self.stride,
            pair.tail as u32,
        );
    }

    pub(crate) fn ring_head(&mut self, pair: &Pair) {
        self.set32(
            0x1000 + (2 * u64::from(pair.number) + 1) * self.stride,
            pair.head as u32,
        );
    }

    /// The next completion, if it is there; the head doorbell is not rung.
    pub(crate) fn poll(&mut self, pair: &mut Pair) -> Option<Cqe> {
        let mut bytes = [0; 16];
        self.load(pair.completion, pair.head * 16, &mut bytes);
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        if half(14) & 1 != pair.phase {
            return None;
        }
        pair.head = (pair.head + 1) % pair.entries;
        if pair.head == 0 {
            pair.phase ^= 1;
        }
        let dword0 = u32::from_le_bytes(bytes[..4].try_into().unwrap());
        Some(Cqe {
            dword0,
            head: half(8),
            queue: half(10),
            id: half(12),
            field: half(14) >> 1,
        })
    }

    pub(crate) fn wait(&mut self, pair: &mut Pair) -> Cqe {
        let end = self.bench.now_ps() + 100_000_000_000;
        while self.bench.now_ps() < end {
            if let Some(done) = self.poll(pair) {
                self.ring_head(pair);
                return done;
            }
            self.bench.pass(1_000_000);
        }
        panic!("no completion; CSTS {:#x}", self.csts());
    }

    pub(crate) fn fill(&mut self, address: u64, len: usize, seed: u8) -> Vec<u8> {
        let bytes: Vec<u8> = (0..len)
            .map(|i| (i as u8).wrapping_mul(31) ^ (i >> 8) as u8 ^ seed)
            .collect();
        self.bench.memory_write(address, &bytes);
        bytes
    }

    pub(crate) fn memory(&mut self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.bench.memory_read(address, &mut bytes);
        bytes
    }

    fn store(&mut self, ring: Lies, offset: u64, bytes: &[u8]) {
        match ring {
            Lies::At(base) => self.bench.memory_write(base + offset, bytes),
            Lies::InBar(bar, base) => self.bench.mmio_write(bar, base + offset, bytes),
        }
    }

    fn load(&mut self, ring: Lies, offset: u64, bytes: &mut [u8]) {
        match ring {
            Lies::At(base) => self.bench.memory_read(base + offset, bytes),
            Lies::InBar(bar, base) => self.bench.mmio_read(bar, base + offset, bytes),
        }
    }
}
