//! Plans a copy and carries it out on a machine, from starting its drivers to reading the destination back.

use super::account::{Account, Ended, SlotAddress};
use super::read_back::{check, proving_ram};
use super::request::{MemoryWanted, Request, job};
use super::slots::{map_slots, unmap_slots};
use crate::error::Problem;
use crate::ground::{End, EndVolume, Ground, Place, Rig, cpu_ns, mend};
use peerdma::addr::Bdf;
use peerdma::block::{PeerSupport, Volume};
use peerdma::engine::{Copy, Counts, Outcome, Progress, SlotError};
use peerdma::plan::{
    self, Arrival, CopyPlan, Demands, DeviceMemory, Method, NoPlan, OwnData, QueueNeeds, RamUse, Shape,
    Situation,
};
use peerdma::route::TlpClass;
use peerdma::route::bandwidth::Estimator;
use peerdma_nvme::{QueueOptions, QueuePlace};
use std::time::{Duration, Instant};

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
    /// The plan was chosen; nothing has moved yet, and nothing does where this says no.
    ///
    /// # Errors
    /// Why the copy is not to begin.
    fn planned(&mut self, plan: &CopyPlan) -> Result<(), Problem>;

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

/// Bytes of a completion entry.
const ENTRY_BYTES: u32 = 16;
/// What memory for devices is a multiple of.
pub(super) const PAGE_BYTES: u32 = 4096;

/// Starts the drivers that a copy needs, plans it and carries it out.
///
/// # Errors
/// [`Halt`]: nothing was written, unless its exit code says that data has moved ([`late`]).
pub(super) fn carry<G: Ground>(
    ground: &G,
    request: &Request,
    read_back: ReadBack,
    watcher: &mut dyn Watcher,
) -> Result<Account, Halt> {
    let initiators = [request.source.initiator, request.destination.initiator];
    // Its memory is there for others once it is enabled.
    let via = request.way.via.filter(|via| ground.is_controller(*via));
    let controllers: Vec<Bdf> = initiators.into_iter().chain(via).collect();
    let rig = start(ground, &initiators, &controllers)?;
    carry_on(rig, request, read_back, watcher)
}

/// Starts the drivers of these controllers, for a copy whose ends have these initiators.
///
/// # Errors
/// A [`Problem`] where one does not work.
pub(super) fn start<G: Ground>(
    ground: &G,
    initiators: &[Bdf],
    controllers: &[Bdf],
) -> Result<Rig<G>, Problem> {
    let mut all = initiators.to_vec();
    all.extend(controllers);
    let rig = Rig::new(ground, &*ground.routes(), &all, controllers)?;
    for bdf in controllers {
        if let Some((memory, buffer)) = rig.buffer(*bdf) {
            ground.poison(&memory, buffer.own_base.offset_bytes);
        }
    }
    Ok(rig)
}

/// Plans a copy and carries it out; the drivers are stopped at its end.
///
/// # Errors
/// [`Halt`]: nothing was written, unless its exit code says that data has moved ([`late`]).
pub(super) fn carry_on<G: Ground>(
    rig: Rig<G>,
    request: &Request,
    read_back: ReadBack,
    watcher: &mut dyn Watcher,
) -> Result<Account, Halt> {
    let ground = rig.ground().clone();
    let topology = ground.topology();
    let routes = ground.routes();
    let options = QueueOptions {
        depth: request.queue_depth,
        ..QueueOptions::default()
    };
    let mut source = rig.volume(&request.source, &options)?;
    let mut destination = rig.volume(&request.destination, &options)?;
    // Taken before anything moves: a copy that could not be read back is not begun.
    let proving_ram = match read_back {
        ReadBack::No => None,
        ReadBack::Yes => Some(proving_ram(&rig, request, [&source, &destination])?),
    };
    let staging_bytes = u64::from(request.chunk_bytes.next_multiple_of(PAGE_BYTES))
        .saturating_mul(request.queue_depth.into())
        .min(MOST_STAGING_BYTES);
    // Where there is little less is under way at once, and where there is none nothing goes through RAM.
    let staging = rig.ram(staging_bytes, PAGE_BYTES.into()).ok();
    let thirds = thirds(&rig, request);
    let situation = Situation {
        source: end(&rig, &request.source, &source, request),
        destination: end(&rig, &request.destination, &destination, request),
        thirds: &thirds,
        ram: staging.as_ref().map(|staging| staging.span),
        routes: &*routes,
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
            // The destination is read back in any case.
            arrival: Arrival::ReadBack,
        },
    };
    let mut plan = plan::choose(&situation).map_err(|why| Halt::NoPlan(Box::new(why)))?;
    if topology.find(request.source.initiator).is_none() {
        // Where no device moves the data there is none inside which it could stay.
        plan.rejected
            .retain(|rejected| rejected.method != Method::Internal);
    }
    if request.way.memory == MemoryWanted::Ram {
        // No memory of devices was looked for: why it was not taken is that nobody wanted it.
        plan.rejected.clear();
    }
    watcher.planned(&plan)?;
    ground.poison_slots(&plan.layout);
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
        close(proving).map_err(late)?;
    }
    let check = match proving_ram.filter(|_| moved.ended != Ended::Interrupted) {
        None => None,
        Some(ram) => {
            let ends: (&mut dyn Volume, &mut dyn Volume) = (&mut source, &mut destination);
            Some(check(&rig, request, (&plan, &ram), ends, watcher).map_err(late)?)
        }
    };
    let disturbed = rig.disturbed();
    let closed = close(source).and(close(destination));
    drop(staging);
    let closed = closed.and(rig.close());
    // Of a controller that somebody else stopped it says nothing new when it cannot be stopped in good order.
    if disturbed.is_empty() || moved.ended == Ended::Whole {
        closed.map_err(late)?;
    }
    Ok(Account {
        check,
        disturbed,
        ..moved
    })
}

/// What goes wrong when data has moved already is no bad input: nothing is proven then.
fn late(problem: Problem) -> Problem {
    Problem {
        exit_code: super::NOT_PROVEN,
        ..problem
    }
}

/// RAM that slots take at most.
const MOST_STAGING_BYTES: u64 = 256 << 20;

fn end<G: Ground>(rig: &Rig<G>, end: &End, volume: &EndVolume<G>, request: &Request) -> plan::End {
    let mut limits = *volume.limits();
    if rig.ground().takes_ram_alone(end) {
        limits.peer = PeerSupport::None;
    }
    let memory = match request.way.memory {
        MemoryWanted::Ram => None,
        MemoryWanted::Any | MemoryWanted::Devices => {
            let of_driver = rig.buffer(end.initiator).map(|(memory, buffer)| {
                let own_data = OwnData {
                    of_reads: buffer.abilities.data_of_reads(),
                    of_writes: buffer.abilities.data_of_writes(),
                };
                (memory, own_data)
            });
            of_driver.or_else(|| rig.ground().memory_of(end))
        }
    };
    let queue_bytes = (u32::from(limits.queue_depth) + 1) * ENTRY_BYTES;
    let is_ours = matches!(end.place, Place::Namespace(_));
    plan::End {
        limits,
        class: TlpClass::Strict,
        memory: memory.map(|(memory, _)| memory),
        own_data: memory.map_or(OwnData::NONE, |(_, own_data)| own_data),
        completion_queue: is_ours.then_some(QueueNeeds {
            len_bytes: queue_bytes.next_multiple_of(PAGE_BYTES),
            align_bytes: PAGE_BYTES,
        }),
    }
}

fn thirds<G: Ground>(rig: &Rig<G>, request: &Request) -> Vec<DeviceMemory> {
    if request.way.memory == MemoryWanted::Ram {
        return Vec::new();
    }
    let mut thirds = rig.ground().lent();
    thirds.extend(
        request
            .way
            .via
            .and_then(|via| rig.buffer(via))
            .map(|(memory, _)| memory),
    );
    thirds
}

fn move_all<G: Ground>(
    rig: &Rig<G>,
    request: &Request,
    plan: &CopyPlan,
    source: &mut dyn Volume,
    destination: &mut dyn Volume,
    watcher: &mut dyn Watcher,
) -> Result<Account, Halt> {
    const LOOK_AT_SIZES: &str = "look at the sizes of both ends, and at --chunk";
    let refused =
        |error: &dyn std::fmt::Display| Problem::new("the copy was not begun", error, LOOK_AT_SIZES);
    let not_mapped = |error: &SlotError| match error {
        SlotError::Map(why) => {
            let fix = mend::of_map(why, G::SORT).unwrap_or(LOOK_AT_SIZES).to_owned();
            let problem = Problem {
                fix,
                ..refused(error)
            };
            mend::explained(problem, why, rig.ground().refused())
        }
        _ => refused(error),
    };
    let job = job(request, source, destination);
    let mut copy = Copy::new(plan, job, source, destination).map_err(|error| refused(&error))?;
    let mut mappers = [
        rig.mapper(request.source.initiator)?,
        rig.mapper(request.destination.initiator)?,
    ];
    let mut mapped = Vec::new();
    let mut addresses = [None; 2];
    let attached = match map_slots(plan, &mut mappers, [source, destination], &mut mapped) {
        Err(why) => Err((not_mapped(&why), mapped)),
        Ok(()) => {
            addresses = mapped.first().map_or(addresses, SlotAddress::of);
            // What the kernel tells its devices is for the kernel to know.
            for (address, end) in addresses.iter_mut().zip([&request.source, &request.destination]) {
                *address = address.filter(|_| matches!(end.place, Place::Namespace(_)));
            }
            copy.attach(plan, mapped)
                .map_err(|(error, back)| (refused(&error), back))
        }
    };
    if let Err((problem, mapped)) = attached {
        unmap_slots(&mut mappers, mapped)?;
        return Err(problem.into());
    }
    let before = rig.ground().mark();
    let cpu = cpu_ns();
    let (began, began_ns) = (Instant::now(), rig.ground().now_ns());
    let mut last = Counts::default();
    let counts = loop {
        let counts = match copy.poll(source, destination) {
            Progress::Ended(counts) => break counts,
            Progress::UnderWay(counts) => counts,
        };
        if counts != last {
            last = counts;
            if watcher.copied(counts) == Verdict::Stop || rig.ground().is_recalled() {
                copy.cancel();
            }
        } else {
            rig.ground().relax();
        }
    };
    let took = Duration::from_nanos(rig.ground().now_ns().saturating_sub(began_ns));
    let host = began.elapsed();
    let cpu = Duration::from_nanos(cpu_ns().saturating_sub(cpu));
    let traffic = rig.ground().traffic(&before);
    let ended = match copy.outcome() {
        Some(Outcome::Whole) => Ended::Whole,
        Some(Outcome::Failed(failure)) => Ended::Failed(failure.clone()),
        Some(Outcome::Cancelled) | None => Ended::Interrupted,
    };
    unmap_slots(&mut mappers, copy.detach()).map_err(late)?;
    Ok(Account {
        plan: plan.clone(),
        addresses,
        counts,
        ended,
        check: None,
        disturbed: Vec::new(),
        traffic,
        took,
        host,
        cpu,
    })
}

fn close<G: Ground>(volume: EndVolume<G>) -> Result<(), Problem> {
    volume.close().map_err(|error| {
        Problem::new(
            "a queue could not be closed",
            error,
            "this is a defect; report it",
        )
    })
}
