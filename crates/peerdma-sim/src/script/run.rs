//! Carrying out a script.

use super::address::Addresses;
use super::error::{ScriptError, Wrong};
use super::job::{Carrier, Job};
use super::names::Names;
use super::pattern::{self, Origin};
use super::report::Report;
use super::transfer::Start;
use super::{MOST_TOGETHER, Script};
use super::{demand, fault};
use crate::blueprint::Blueprint;
use crate::fabric::BuildError;
use crate::machine::{Machine, Options};
use crate::time::Time;

/// A script could not be carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The machine cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The script and the machine do not fit together.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Transfers that have ended.
    pub ended: usize,
    /// All transfers.
    pub all: usize,
    /// Simulated time.
    pub now: Time,
}

/// Carries out a script on a new machine of this blueprint, and gives the machine back too. `options` say how to run it;
/// faults and, if it names one, the seed are those of the script. `tell` is called now and then.
///
/// # Errors
/// [`RunError`] where the machine cannot be built, or lacks what the script names.
pub fn run(
    blueprint: &Blueprint,
    script: &Script,
    mut options: Options,
    tell: &mut dyn FnMut(Progress),
) -> Result<(Report, Machine), RunError> {
    let names = Names::new(blueprint);
    options.seed = script.seed.or(options.seed);
    let seed = options.seed.unwrap_or(blueprint.nature.seed);
    options.faults = fault::plan(script, &names, seed)?;
    let mut machine = Machine::with_options(blueprint, options)?;
    demand::check(script, &mut machine, &names)?;
    let mut addresses = Addresses::new(machine.snapshot());
    let mut transfers = Vec::with_capacity(script.transfers.len());
    let mut rest = &script.transfers[..];
    while let Some((_, after)) = rest.split_first() {
        let together = after
            .iter()
            .take_while(|line| line.start == Start::Together)
            .count()
            + 1;
        let (group, others) = rest.split_at(together);
        rest = others;
        let mut jobs = Vec::with_capacity(group.len());
        for line in group {
            jobs.push(Job::new(line, &mut machine, &names, &mut addresses)?);
        }
        check_apart(&jobs)?;
        share_patterns(&mut jobs);
        run_group(&mut machine, &mut jobs, &mut |now| {
            tell(Progress {
                ended: transfers.len(),
                all: script.transfers.len(),
                now,
            });
        })?;
        for job in jobs {
            transfers.push(job.report(&mut machine, &names)?);
        }
    }
    let report = Report {
        ended: machine.now(),
        counters: machine.counters(),
        lost_tlps: machine.losses().count(),
        refused_writes: machine.refused_writes().0,
        transfers,
    };
    Ok((report, machine))
}

/// What starts together may not touch where another writes: nobody could tell what became of whose bytes.
fn check_apart(jobs: &[Job<'_>]) -> Result<(), ScriptError> {
    // Bank, first byte, end; who, and whether it is written there.
    let mut ranges = Vec::with_capacity(2 * jobs.len());
    for (index, job) in jobs.iter().enumerate() {
        for (place, is_written) in [(job.from.place, false), (job.to.place, true)] {
            ranges.push((
                place.bank,
                place.offset,
                place.offset + job.line.bytes,
                index,
                is_written,
            ));
        }
    }
    ranges.sort_unstable();
    let mut furthest: Option<(_, u64, usize)> = None;
    let mut furthest_written: Option<(_, u64, usize)> = None;
    for (bank, first, end, index, is_written) in ranges {
        let before = if is_written { furthest } else { furthest_written };
        if let Some((other_bank, other_end, other)) = before
            && other_bank == bank
            && other_end > first
        {
            let [one, two] = [index.min(other), index.max(other)];
            let wrong = Wrong::Overlap {
                other_line: jobs[one].line.at.line,
            };
            return Err(wrong.at(jobs[two].line.at));
        }
        let further = |before: Option<(_, u64, usize)>| match before {
            Some((other_bank, other_end, _)) if other_bank == bank && other_end >= end => before,
            _ => Some((bank, end, index)),
        };
        furthest = further(furthest);
        if is_written {
            furthest_written = further(furthest_written);
        }
    }
    Ok(())
}

/// Sources that share bytes are filled as one, as the one that begins first: each byte can hold one thing only.
fn share_patterns(jobs: &mut [Job<'_>]) {
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|index| (jobs[*index].from.place.bank, jobs[*index].from.place.offset));
    // Where what is filled as one begins and ends, and its seed.
    let mut shared: Option<(_, u64, u64, u64)> = None;
    for index in order {
        let job = &mut jobs[index];
        let place = job.from.place;
        let end = place.offset + job.line.bytes;
        match &mut shared {
            Some((bank, first, furthest, seed)) if *bank == place.bank && place.offset < *furthest => {
                job.pattern.seed = *seed;
                job.pattern.skipped_bytes = place.offset - *first;
                *furthest = end.max(*furthest);
            }
            _ => shared = Some((place.bank, place.offset, end, job.pattern.seed)),
        }
    }
}

/// Fills memory, starts all at once, and lets everything happen.
fn run_group(
    machine: &mut Machine,
    jobs: &mut [Job<'_>],
    tell: &mut dyn FnMut(Time),
) -> Result<(), ScriptError> {
    for (origin, side) in [(Origin::Before, 1), (Origin::Moved, 0)] {
        for job in &*jobs {
            let place = [job.from.place, job.to.place][side];
            let filled = pattern::fill(machine.banks(), place, job.line.bytes, origin, job.pattern);
            filled.map_err(|error| Wrong::Memory(error).at(job.line.at))?;
        }
    }
    for index in 0..jobs.len() {
        let by = jobs[index].by;
        let channel = jobs[..index].iter().filter(|before| before.by == by).count();
        let is_engine = machine
            .with::<crate::device::Accelerator, ()>(by, |_, _| ())
            .is_some();
        if is_engine && channel >= MOST_TOGETHER {
            let what = "transfers that one accelerator starts together";
            let most = MOST_TOGETHER;
            return Err(Wrong::TooMany { what, most }.at(jobs[index].line.at));
        }
        let carrier = match is_engine {
            true => Carrier::Channel(channel),
            false => Carrier::Function,
        };
        jobs[index].start(machine, carrier);
    }
    let mut steps: u64 = 0;
    loop {
        for job in jobs.iter_mut().filter(|job| job.ended.is_none()) {
            job.look(machine);
        }
        if !machine.step() {
            return Ok(());
        }
        steps += 1;
        if steps.is_multiple_of(1024) {
            tell(machine.now());
        }
    }
}
