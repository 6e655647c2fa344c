//! Plans a copy and carries it out on a machine, from switching on its drivers to reading the destination back.

use super::end::End;
use super::rig::{Rig, Volume};
use crate::error::Problem;
use peerdma::addr::Bdf;
use peerdma::block::Volume as _;
use peerdma::device::Host;
use peerdma::dma::{Direction, Mapper, Mapping, SingleThread, SpecRoutes};
use peerdma::engine::{Check, Copy, Counts, Failure, Job, Outcome, Progress, SlotMappings, Truth, Verify};
use peerdma::plan::{
    self, CopyPlan, Demands, DeviceMemory, Force, NoPlan, OwnData, QueueNeeds, RamUse, Shape, Situation,
};
use peerdma::route::TlpClass;
use peerdma::route::bandwidth::Estimator;
use peerdma::route::spec;
use peerdma_nvme::{QueueOptions, QueuePlace};
use peerdma_sim::host::{Computer, Pattern, Traffic};
use std::time::{Duration, Instant};

/// What is copied, and how.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) source: End,
    pub(super) destination: End,
    /// From the first byte of the source, and of the destination.
    pub(super) source_offset: u64,
    pub(super) destination_offset: u64,
    pub(super) len_bytes: u64,
    /// Done by an earlier run.
    pub(super) resume_bytes: u64,
    pub(super) queue_depth: u16,
    pub(super) chunk_bytes: u32,
    pub(super) way: WayWanted,
    /// What the source was filled with, where it was.
    pub(super) pattern: Option<Pattern>,
}

/// Which ways are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WayWanted {
    pub(super) via: Option<Bdf>,
    pub(super) memory: MemoryWanted,
    pub(super) force: Force,
}

/// Whose memory may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemoryWanted {
    Any,
    /// Of devices alone.
    Devices,
    /// RAM alone.
    Ram,
}

/// A copy that was begun, and how it ended.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) plan: CopyPlan,
    pub(super) counts: Counts,
    pub(super) ended: Ended,
    /// The destination read back: nothing where nobody asked, or it was interrupted.
    pub(super) check: Option<Check>,
    pub(super) traffic: Traffic,
    pub(super) simulated: Duration,
    pub(super) host: Duration,
}

/// How a copy ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ended {
    Whole,
    Interrupted,
    Failed(Failure),
}

/// Why no copy was begun.
#[derive(Debug)]
pub(super) enum Halt {
    Problem(Problem),
    NoPlan(Box<NoPlan>),
}

impl From<Problem> for Halt {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// What a run does beside copying.
pub(super) trait Watcher {
    /// The plan was chosen; nothing has moved yet.
    fn planned(&mut self, computer: &Computer, plan: &CopyPlan);

    /// So much is done; shall it go on?
    fn copied(&mut self, counts: Counts) -> Verdict;

    /// So much was read back; shall it go on?
    fn checked(&mut self, bytes: u64) -> Verdict;
}

/// Shall a copy go on?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    GoOn,
    Stop,
}

/// Is the destination read back afterwards?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadBack {
    Yes,
    No,
}

/// What a machine is filled with where no run has left anything.
const POISON: Pattern = Pattern::Poison(0xa5);
/// Bytes of a completion entry.
const ENTRY_BYTES: u32 = 16;
const PAGE_BYTES: u32 = 4096;

/// Plans a copy and carries it out.
///
/// # Errors
/// [`Halt`]: nothing was written.
pub(super) fn carry(
    computer: &Computer,
    request: &Request,
    read_back: ReadBack,
    watcher: &mut dyn Watcher,
) -> Result<Account, Halt> {
    let topology = computer.topology();
    let judge = spec::Judge::new(topology);
    let mut controllers = vec![request.source.controller, request.destination.controller];
    // Its memory is there for others once it is enabled.
    controllers.extend(
        request
            .way
            .via
            .filter(|via| !computer.namespaces(*via).is_empty()),
    );
    // Whoever is an end and the way too is opened once.
    controllers.sort_unstable();
    controllers.dedup();
    let rig = Rig::new(computer, &judge, &controllers)?;
    poison(&rig, &controllers);
    let options = QueueOptions {
        depth: request.queue_depth,
        ..QueueOptions::default()
    };
    let mut source = rig.volume(&request.source, &options)?;
    let mut destination = rig.volume(&request.destination, &options)?;
    let staging_bytes = u64::from(request.chunk_bytes.next_multiple_of(PAGE_BYTES))
        .saturating_mul(request.queue_depth.into())
        .min(MOST_STAGING_BYTES);
    let staging = rig.ram(staging_bytes)?;
    let thirds = thirds(&rig, request);
    let situation = Situation {
        source: end(&rig, &source, request),
        destination: end(&rig, &destination, request),
        thirds: &thirds,
        ram: Some(staging.span),
        routes: &SpecRoutes::new(&judge),
        links: &Estimator::new(topology),
        shape: Shape {
            chunk_bytes: request.chunk_bytes,
            depth: request.queue_depth.into(),
        },
        demands: Demands {
            via: request.way.via,
            ram: match request.way.memory {
                MemoryWanted::Devices => RamUse::Forbidden,
                MemoryWanted::Any | MemoryWanted::Ram => RamUse::Allowed,
            },
            force: request.way.force,
        },
    };
    let plan = plan::choose(&situation).map_err(|why| Halt::NoPlan(Box::new(why)))?;
    watcher.planned(computer, &plan);
    rig.force(&plan.crossings, plan.layout.slots_at)?;
    let mut proving = match plan.layout.completion_queue {
        None => None,
        Some(queue) => {
            let options = QueueOptions {
                completions: QueuePlace::Memory(queue.first()),
                ..options
            };
            Some(rig.volume(&request.source, &options)?)
        }
    };
    let moving = proving.as_mut().unwrap_or(&mut source);
    let moved = move_all(&rig, request, &plan, moving, &mut destination, watcher)?;
    if let Some(proving) = proving {
        close(proving)?;
    }
    let wanted = read_back == ReadBack::Yes && moved.ended != Ended::Interrupted;
    let check = match wanted {
        false => None,
        true => Some(check(&rig, request, &plan, &mut source, &mut destination, watcher)?),
    };
    close(source)?;
    close(destination)?;
    drop(staging);
    rig.close()?;
    Ok(Account { check, ..moved })
}

/// RAM that slots take at most.
const MOST_STAGING_BYTES: u64 = 256 << 20;

/// Lets nothing that lies in memory of the ends be taken for data that was moved there.
fn poison(rig: &Rig, controllers: &[Bdf]) {
    for bdf in controllers {
        if let Some((memory, buffer)) = rig.buffer(*bdf) {
            let len_bytes = memory.free.len_bytes().unwrap_or(0).min(MOST_STAGING_BYTES);
            let offset = buffer.own_base.offset_bytes;
            // Memory that the simulated machine cannot hold holds nothing that could be mistaken.
            let _ = rig
                .computer
                .fill_bar_memory(*bdf, memory.bar, offset..offset + len_bytes, POISON);
        }
    }
}

fn end(rig: &Rig, volume: &Volume, request: &Request) -> plan::End {
    let limits = *volume.limits();
    let buffer = match request.way.memory {
        MemoryWanted::Ram => None,
        MemoryWanted::Any | MemoryWanted::Devices => rig.buffer(limits.initiator),
    };
    let queue_bytes = (u32::from(limits.queue_depth) + 1) * ENTRY_BYTES;
    plan::End {
        limits,
        class: TlpClass::Strict,
        memory: buffer.map(|(memory, _)| memory),
        own_data: buffer.map_or(OwnData::NONE, |(_, buffer)| OwnData {
            of_reads: buffer.abilities.data_of_reads(),
            of_writes: buffer.abilities.data_of_writes(),
        }),
        completion_queue: Some(QueueNeeds {
            len_bytes: queue_bytes.next_multiple_of(PAGE_BYTES),
            align_bytes: PAGE_BYTES,
        }),
    }
}

fn thirds(rig: &Rig, request: &Request) -> Vec<DeviceMemory> {
    if request.way.memory == MemoryWanted::Ram {
        return Vec::new();
    }
    let mut thirds = rig.others();
    thirds.extend(
        request
            .way
            .via
            .and_then(|via| rig.buffer(via))
            .map(|(memory, _)| memory),
    );
    thirds
}

fn job(request: &Request, source: &Volume, destination: &Volume) -> Job {
    Job {
        source_lba: request.source_offset / u64::from(source.limits().block_bytes.max(1)),
        destination_lba: request.destination_offset / u64::from(destination.limits().block_bytes.max(1)),
        len_bytes: request.len_bytes,
        resume_bytes: request.resume_bytes,
    }
}

fn move_all(
    rig: &Rig,
    request: &Request,
    plan: &CopyPlan,
    source: &mut Volume,
    destination: &mut Volume,
    watcher: &mut dyn Watcher,
) -> Result<Account, Halt> {
    let refused = |error: &dyn std::fmt::Display| {
        Problem::new(
            "the copy was not begun",
            error,
            "look at the sizes of both ends, and at --chunk",
        )
    };
    let job = job(request, source, destination);
    let mut copy = Copy::new(plan, job, source, destination).map_err(|error| refused(&error))?;
    let mut mappers = [
        rig.mapper(request.source.controller)?,
        rig.mapper(request.destination.controller)?,
    ];
    let mut mapped = Vec::new();
    let attached = match map_slots(plan, &mut mappers, [source, destination], &mut mapped) {
        Err(why) => Err((refused(&why), mapped)),
        Ok(()) => copy
            .attach(plan, mapped)
            .map_err(|(error, back)| (refused(&error), back)),
    };
    if let Err((problem, mapped)) = attached {
        unmap_slots(&mut mappers, mapped)?;
        return Err(problem.into());
    }
    let before = rig.computer.counters();
    let (began, began_ns) = (Instant::now(), rig.computer.now_ns());
    let mut last = Counts::default();
    let counts = loop {
        let counts = match copy.poll(source, destination) {
            Progress::Ended(counts) => break counts,
            Progress::UnderWay(counts) => counts,
        };
        if counts != last {
            last = counts;
            if watcher.copied(counts) == Verdict::Stop {
                copy.cancel();
            }
        } else {
            rig.computer.relax();
        }
    };
    let simulated = Duration::from_nanos(rig.computer.now_ns().saturating_sub(began_ns));
    let host = began.elapsed();
    let traffic = rig.computer.traffic(&before);
    let ended = match copy.outcome() {
        Some(Outcome::Whole) => Ended::Whole,
        Some(Outcome::Failed(failure)) => Ended::Failed(failure.clone()),
        Some(Outcome::Cancelled) | None => Ended::Interrupted,
    };
    unmap_slots(&mut mappers, copy.detach())?;
    Ok(Account {
        plan: plan.clone(),
        counts,
        ended,
        check: None,
        traffic,
        simulated,
        host,
    })
}

/// Maps every slot for both ends; what was mapped before an error is in `mapped` too.
fn map_slots(
    plan: &CopyPlan,
    mappers: &mut [Mapper<SingleThread>; 2],
    volumes: [&Volume; 2],
    mapped: &mut Vec<SlotMappings>,
) -> Result<(), String> {
    let [first, second] = mappers;
    for index in 0..plan.layout.slots {
        let Some(slot) = plan.layout.slot(index, plan.layout.chunk_bytes) else {
            return Err("a slot leaves the address space".into());
        };
        let map = |mapper: &mut Mapper<SingleThread>, volume: &Volume, direction| -> Result<Mapping, String> {
            let located = mapper.look_up(&[slot]).map_err(|error| error.to_string())?;
            let mapping = mapper.map(located, direction, &volume.limits().constraints);
            mapping.map_err(|error| error.to_string())
        };
        let source = map(first, volumes[0], Direction::DeviceWrites)?;
        let destination = match map(second, volumes[1], Direction::DeviceReads) {
            Ok(mapping) => mapping,
            Err(why) => {
                unmap(first, source).map_err(|problem| problem.why)?;
                return Err(why);
            }
        };
        mapped.push(SlotMappings { source, destination });
    }
    Ok(())
}

fn unmap_slots(mappers: &mut [Mapper<SingleThread>; 2], slots: Vec<SlotMappings>) -> Result<(), Problem> {
    let [first, second] = mappers;
    for SlotMappings { source, destination } in slots {
        unmap(first, source)?;
        unmap(second, destination)?;
    }
    Ok(())
}

fn unmap(mapper: &mut Mapper<SingleThread>, mapping: Mapping) -> Result<(), Problem> {
    mapper.unmap(mapping).map_err(|error| {
        Problem::new(
            "memory could not be unmapped",
            error,
            "this is a defect; report it",
        )
    })
}

/// Reads the destination back through its driver.
fn check(
    rig: &Rig,
    request: &Request,
    plan: &CopyPlan,
    source: &mut Volume,
    destination: &mut Volume,
    watcher: &mut dyn Watcher,
) -> Result<Check, Halt> {
    let whole = job(request, source, destination);
    // What an earlier run has done is read back too.
    let whole = Job {
        resume_bytes: 0,
        ..whole
    };
    let chunk_bytes = plan.layout.chunk_bytes;
    let ram = rig.ram(u64::from(chunk_bytes.next_multiple_of(PAGE_BYTES)).saturating_mul(16))?;
    let read_again = request.pattern.is_none().then_some(&*source as &dyn peerdma::block::Volume);
    let verify = Verify::new(whole, destination, read_again, ram.span, chunk_bytes);
    let mut verify = verify.map_err(|error| {
        Problem::new("the destination could not be read back", error, "take smaller pieces (--chunk)")
    })?;
    let pattern = request.pattern;
    let offset = request.source_offset;
    let mut given = move |at: u64, into: &mut [u8]| {
        if let Some(pattern) = pattern {
            pattern.fill(offset + at, into);
        }
    };
    let mut truth = match pattern {
        Some(_) => Truth::Given(&mut given),
        None => Truth::Source(source),
    };
    let mut last = u64::MAX;
    loop {
        match verify.poll(destination, &mut truth, &rig.computer) {
            Check::UnderWay { checked_bytes } if checked_bytes != last => {
                last = checked_bytes;
                if watcher.checked(checked_bytes) == Verdict::Stop {
                    verify.cancel();
                }
            }
            Check::UnderWay { .. } => rig.computer.relax(),
            ended => return Ok(ended),
        }
    }
}

fn close(volume: Volume) -> Result<(), Problem> {
    volume.close(&mut |_| ()).map_err(|error| {
        Problem::new("a queue could not be closed", error, "this is a defect; report it")
    })
}
