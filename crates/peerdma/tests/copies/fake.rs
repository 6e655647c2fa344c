//! Volumes in memory that do all that a device may: end operations in any order, let data arrive long after they said that it
//! was sent, take nothing for a while, and fail at any step.

use peerdma::addr::{Address, Bdf, Origin, PhysAddr, PhysVec};
use peerdma::block::{
    Bio, CommandError, CompletionPlace, Data, Done, Limits, Operation, PeerSupport, Rejected, SubmitError,
    Ticket, Volume, VolumeError,
};
use peerdma::dma::Constraints;
use peerdma::memory::RegionId;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

pub(crate) const RAM: u64 = 0x10_0000;
pub(crate) const BAR: u64 = 0x8000_0000;
pub(crate) const BANK_BYTES: usize = 512 << 10;

/// What both volumes share.
pub(crate) struct World {
    ram: Vec<u8>,
    bar: Vec<u8>,
    /// Data that is still on its way to a BAR.
    late: Vec<(u64, Vec<u8>)>,
    /// What devices use at the moment, and whose it is.
    in_use: Vec<(PhysVec, &'static str)>,
    random: u64,
    steps: u64,
    fault: Option<(u64, Fault)>,
    pub(crate) vectors: BTreeSet<usize>,
    pub(crate) has_failed: bool,
}

/// What goes wrong, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An operation is refused, or one that is under way fails.
    Operation,
    /// The volume is gone, and all that was under way comes back.
    Gone,
    /// The volume is gone, and nothing comes back.
    GoneForGood,
    /// A read says that it is done, and has moved nothing.
    Lie,
}

pub(crate) type Shared = Rc<RefCell<World>>;

impl World {
    pub(crate) fn new(seed: u64, fault: Option<(u64, Fault)>) -> Shared {
        Rc::new(RefCell::new(Self {
            ram: vec![0xee; BANK_BYTES],
            bar: vec![0xee; BANK_BYTES],
            late: Vec::new(),
            in_use: Vec::new(),
            random: seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15) | 1,
            steps: 0,
            fault,
            vectors: BTreeSet::new(),
            has_failed: false,
        }))
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// One in `of`.
    fn chance(&mut self, of: u64) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11).is_multiple_of(of)
    }

    fn step(&mut self) -> Option<Fault> {
        self.steps += 1;
        match self.fault {
            Some((at, fault)) if at == self.steps => {
                self.has_failed = true;
                self.fault = None;
                Some(fault)
            }
            _ => None,
        }
    }

    fn bank(&mut self, at: u64) -> (&mut Vec<u8>, usize) {
        match at >= BAR {
            true => (&mut self.bar, (at - BAR) as usize),
            false => (&mut self.ram, (at - RAM) as usize),
        }
    }

    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        let (bank, offset) = self.bank(at);
        bank[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn read(&mut self, at: u64, len: usize) -> Vec<u8> {
        let (bank, offset) = self.bank(at);
        bank[offset..offset + len].to_vec()
    }

    fn some_data_arrives(&mut self) {
        let mut index = 0;
        while index < self.late.len() {
            if self.chance(8) {
                let (at, bytes) = self.late.remove(index);
                self.write(at, &bytes);
            } else {
                index += 1;
            }
        }
    }

    fn all_data_arrives(&mut self) {
        for (at, bytes) in std::mem::take(&mut self.late) {
            self.write(at, &bytes);
        }
    }
}

/// One volume.
pub(crate) struct Fake {
    name: &'static str,
    limits: Limits,
    world: Shared,
    pub(crate) medium: Vec<u8>,
    pub(crate) flushed: Vec<u8>,
    place: CompletionPlace,
    /// Is its own memory the BAR, so that data there is there at once?
    owns_bar: bool,
    ops: Vec<(Ticket, Bio)>,
    tickets: u64,
    gone: bool,
}

impl Fake {
    pub(crate) fn new(
        name: &'static str,
        world: &Shared,
        initiator: &str,
        block_bytes: u32,
        blocks: u64,
    ) -> Self {
        let len = usize::try_from(blocks).unwrap() * block_bytes as usize;
        Self {
            name,
            limits: Limits {
                initiator: bdf(initiator),
                block_bytes,
                blocks,
                max_transfer_bytes: 64 << 10,
                queue_depth: 5,
                constraints: Constraints::NONE,
                peer: PeerSupport::Mixed,
            },
            world: Rc::clone(world),
            medium: vec![0; len],
            flushed: vec![0; len],
            place: CompletionPlace::Ram,
            owns_bar: false,
            ops: Vec::new(),
            tickets: 0,
            gone: false,
        }
    }

    pub(crate) fn completing_at(mut self, at: u64) -> Self {
        self.place = CompletionPlace::Memory(PhysAddr::from_u64(at));
        self
    }

    pub(crate) fn completing_in_ram(mut self) -> Self {
        self.place = CompletionPlace::Ram;
        self
    }

    pub(crate) fn owning_bar(mut self) -> Self {
        self.owns_bar = true;
        self
    }

    pub(crate) fn fill(&mut self, seed: u64) {
        for (index, byte) in self.medium.iter_mut().enumerate() {
            let mixed = (index as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            *byte = (mixed >> 40) as u8;
        }
    }

    fn range(&self, bio: &Bio) -> std::ops::Range<usize> {
        let block = self.limits.block_bytes as usize;
        let first = usize::try_from(bio.lba).unwrap() * block;
        first..first + bio.blocks as usize * block
    }

    fn carry_out(&mut self, bio: &Bio) {
        let range = self.range(bio);
        let mut world = self.world.borrow_mut();
        match (bio.operation, &bio.data) {
            (Operation::Flush, _) => self.flushed.clone_from(&self.medium),
            (Operation::Read, data) => {
                let at = place(data).unwrap().addr().to_u64();
                let same_path = match self.place {
                    CompletionPlace::Ram => at < BAR || self.owns_bar,
                    CompletionPlace::Memory(_) => at >= BAR,
                };
                let bytes = self.medium[range].to_vec();
                if same_path {
                    world.all_data_arrives();
                    world.write(at, &bytes);
                } else {
                    world.late.push((at, bytes));
                }
            }
            (Operation::Write, data) => {
                let at = place(data).unwrap().addr().to_u64();
                let bytes = world.read(at, range.len());
                self.medium[range].copy_from_slice(&bytes);
            }
        }
    }

    fn release(&self, bio: &Bio) {
        if let Some(used) = place(&bio.data) {
            let mut world = self.world.borrow_mut();
            let mine = |(piece, name): &(PhysVec, _)| *piece == used && *name == self.name;
            let index = world.in_use.iter().position(mine).unwrap();
            world.in_use.remove(index);
        }
    }
}

/// Where the data of a bio lies: all addresses of these machines are physical ones.
fn place(data: &Data) -> Option<PhysVec> {
    match data {
        Data::None => None,
        Data::Vector(vector) => Some(vector[0]),
        Data::Mapped(mapping) => {
            let [segment] = mapping.list().segments() else {
                panic!("a slot is one segment here");
            };
            let addr = PhysAddr::from_u64(segment.addr);
            Some(PhysVec::new(addr, segment.len_bytes, Origin::LookUp).unwrap())
        }
    }
}

pub(crate) fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

impl Volume for Fake {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn submit(&mut self, bio: Bio) -> Result<Ticket, Rejected> {
        let fault = self.world.borrow_mut().step();
        let reject = |bio, why| Err(Rejected { bio, why });
        match fault {
            Some(Fault::Operation | Fault::Lie) => return reject(bio, SubmitError::NoPeerMemory),
            Some(Fault::Gone) => self.gone = true,
            Some(Fault::GoneForGood) => {
                self.gone = true;
                self.ops.clear();
            }
            None => {}
        }
        if self.gone {
            return reject(bio, SubmitError::Failed(VolumeError::Removed));
        }
        if self.ops.len() == usize::from(self.limits.queue_depth) || self.world.borrow_mut().chance(4) {
            return reject(bio, SubmitError::QueueFull);
        }
        if let Some(piece) = place(&bio.data) {
            assert_eq!(piece.len_bytes(), bio.blocks * self.limits.block_bytes);
            let mut world = self.world.borrow_mut();
            if let Data::Vector(vector) = &bio.data {
                world.vectors.insert(vector.as_ptr() as usize);
            }
            for (other, _) in &world.in_use {
                let apart = other.last() < piece.addr() || piece.last() < other.addr();
                assert!(
                    apart,
                    "a slot is used again before its user is done: {other} and {piece}"
                );
            }
            world.in_use.push((piece, self.name));
        }
        assert!(self.range(&bio).end <= self.medium.len());
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.ops.push((ticket, bio));
        Ok(ticket)
    }

    fn poll(&mut self, done: &mut dyn FnMut(Done)) -> Result<(), VolumeError> {
        self.world.borrow_mut().some_data_arrives();
        let mut index = 0;
        while index < self.ops.len() && !self.gone {
            if !self.world.borrow_mut().chance(3) {
                index += 1;
                continue;
            }
            let mut result = Ok(());
            let fault = self.world.borrow_mut().step();
            match fault {
                None => {}
                Some(Fault::Operation) => result = Err(CommandError::TimedOut),
                Some(Fault::Lie) => {
                    let (ticket, bio) = self.ops.swap_remove(index);
                    self.release(&bio);
                    done(Done { ticket, bio, result });
                    continue;
                }
                Some(Fault::Gone) => {
                    self.gone = true;
                    break;
                }
                Some(Fault::GoneForGood) => {
                    self.gone = true;
                    self.ops.clear();
                    break;
                }
            }
            let (ticket, bio) = self.ops.swap_remove(index);
            if result.is_ok() {
                self.carry_out(&bio);
            }
            self.release(&bio);
            done(Done { ticket, bio, result });
        }
        if self.gone {
            for (ticket, bio) in std::mem::take(&mut self.ops) {
                self.release(&bio);
                let result = Err(CommandError::Removed);
                done(Done { ticket, bio, result });
            }
            return Err(VolumeError::Removed);
        }
        Ok(())
    }

    fn completion_place(&self) -> CompletionPlace {
        self.place
    }

    fn under_way(&self) -> usize {
        self.ops.len()
    }

    fn abort_uses(&mut self, _: RegionId) {}
}
