//! Keeps a volume busy for a while.

use super::Histogram;
use crate::block::{Bio, Data, Operation, SubmitError, Ticket, Volume};
use crate::device::Host;
use crate::engine::Trouble;
use alloc::vec::Vec;

/// What a volume is kept busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Reads or writes.
    pub operation: Operation,
    /// The first block that may be used.
    pub first_lba: u64,
    /// How many blocks from there on.
    pub blocks: u64,
    /// How many blocks one operation moves.
    pub blocks_each: u32,
    /// Which blocks come next.
    pub order: Order,
    /// No more operations than this are begun.
    pub most_operations: u64,
    /// None is begun later than this after the first, in nanoseconds.
    pub budget_ns: u64,
}

/// Which blocks come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One after the other, and from the beginning again.
    Sequential,
    /// Any, as this seed has it; each at a multiple of an operation's length.
    Random(u64),
}

/// Shall it go on?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Yes.
    GoOn,
    /// No: what was begun is ended, and nothing more is begun.
    Stop,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measured {
    /// How many operations ended well.
    pub operations: u64,
    /// How many bytes they moved.
    pub bytes: u64,
    /// From the first that was begun to the last that ended, in nanoseconds.
    pub took_ns: u64,
    /// How long each took, from when it was handed over to when the volume gave it back.
    pub latencies: Histogram,
}

/// A load that has ended.
#[derive(Debug)]
pub struct Ended {
    /// What was measured up to then.
    pub measured: Measured,
    /// The memory that was given; less what a volume that failed did not give back.
    pub data: Vec<Data>,
    /// The first thing that went wrong: nothing was begun after it.
    pub trouble: Option<Trouble>,
}

/// How long nothing may end before the volume is taken for stuck. Its own time-outs come first.
const STUCK_NS: u64 = 120_000_000_000;
/// Whoever watches is told at least so often where operations end.
const WATCH_NS: u64 = 50_000_000;
/// The clock is looked at once in so many idle polls.
const IDLE_POLLS: u32 = 256;

/// Keeps a volume busy, with as many operations at once as there are pieces of data; each is as long as an operation. `watch` is told how many have
/// ended, now and then.
pub fn run(
    load: &Load,
    volume: &mut dyn Volume,
    data: Vec<Data>,
    host: &dyn Host,
    watch: &mut dyn FnMut(u64) -> Wish,
) -> Ended {
    let began_ns = host.now_ns();
    let places = load.blocks / u64::from(load.blocks_each.max(1));
    let block_bytes = u64::from(volume.limits().block_bytes);
    let mut worker = Worker {
        load,
        places,
        next: 0,
        random: match load.order {
            Order::Random(seed) => seed,
            Order::Sequential => 0,
        },
        began: Vec::with_capacity(data.len()),
        spare: data,
        ended: Ended {
            measured: Measured::default(),
            data: Vec::new(),
            trouble: None,
        },
        stopped: places == 0,
    };
    let (mut idle, mut last_ns, mut watched_ns) = (0_u32, began_ns, began_ns);
    loop {
        worker.submit(volume, host, began_ns);
        if worker.began.is_empty() {
            break;
        }
        let mut now_ns = None;
        let mut ended = 0_u64;
        let polled = volume.poll(&mut |done| {
            let now_ns = *now_ns.get_or_insert_with(|| host.now_ns());
            worker.ended(done, now_ns, block_bytes);
            ended += 1;
        });
        if let Err(why) = polled {
            worker.fail(Trouble::Volume(why));
            break;
        }
        if ended > 0 {
            (idle, last_ns) = (0, now_ns.unwrap_or(last_ns));
            let is_late = last_ns.saturating_sub(watched_ns) > WATCH_NS;
            if worker.ended.measured.operations.is_multiple_of(64) || ended > 63 || is_late {
                watched_ns = last_ns;
                worker.stopped |= watch(worker.ended.measured.operations) == Wish::Stop;
            }
            continue;
        }
        idle += 1;
        if idle.is_multiple_of(IDLE_POLLS) {
            worker.stopped |= watch(worker.ended.measured.operations) == Wish::Stop;
            let is_lost = volume.under_way() == 0;
            if is_lost || host.now_ns().saturating_sub(last_ns) > STUCK_NS {
                worker.fail(match is_lost {
                    true => Trouble::Lost,
                    false => Trouble::Stuck,
                });
                break;
            }
        }
        host.relax();
    }
    worker.ended.measured.took_ns = last_ns.saturating_sub(began_ns);
    worker.ended.data = worker.spare;
    worker.ended
}

struct Worker<'l> {
    load: &'l Load,
    /// How many operations fit into the blocks.
    places: u64,
    /// How many were begun.
    next: u64,
    random: u64,
    /// What is under way, and since when.
    began: Vec<(Ticket, u64)>,
    spare: Vec<Data>,
    ended: Ended,
    stopped: bool,
}

impl Worker<'_> {
    fn submit(&mut self, volume: &mut dyn Volume, host: &dyn Host, began_ns: u64) {
        while !self.stopped && self.next < self.load.most_operations {
            let Some(data) = self.spare.pop() else { return };
            let now_ns = host.now_ns();
            if now_ns.saturating_sub(began_ns) > self.load.budget_ns {
                self.stopped = true;
                self.spare.push(data);
                return;
            }
            let bio = Bio {
                operation: self.load.operation,
                lba: self.lba(),
                blocks: self.load.blocks_each,
                data,
            };
            match volume.submit(bio) {
                Ok(ticket) => {
                    self.began.push((ticket, now_ns));
                    self.next += 1;
                }
                Err(rejected) => {
                    self.spare.push(rejected.bio.data);
                    if rejected.why != SubmitError::QueueFull || self.began.is_empty() {
                        self.fail(Trouble::Submit(rejected.why));
                    }
                    return;
                }
            }
        }
    }

    fn lba(&mut self) -> u64 {
        let place = match self.load.order {
            Order::Sequential => self.next % self.places.max(1),
            Order::Random(_) => {
                self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
                mixed(self.random) % self.places.max(1)
            }
        };
        let within = place.saturating_mul(self.load.blocks_each.into());
        self.load.first_lba.saturating_add(within)
    }

    fn ended(&mut self, done: crate::block::Done, now_ns: u64, block_bytes: u64) {
        let Some(index) = self.began.iter().position(|(ticket, _)| *ticket == done.ticket) else {
            return;
        };
        let (_, began_ns) = self.began.swap_remove(index);
        self.spare.push(done.bio.data);
        match done.result {
            Err(why) => self.fail(Trouble::Command(why)),
            Ok(()) => {
                let measured = &mut self.ended.measured;
                measured.operations += 1;
                measured.bytes += u64::from(done.bio.blocks) * block_bytes;
                measured.latencies.add(now_ns.saturating_sub(began_ns));
            }
        }
    }

    fn fail(&mut self, trouble: Trouble) {
        self.stopped = true;
        self.ended.trouble.get_or_insert(trouble);
    }
}

/// A number that looks like chance (SplitMix64's finish: Steele, Lea, Flood, OOPSLA 2014).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
