//! A probe from beginning to end.

use super::case::{Case, Room, cases};
use super::keep::{Kept, Sight};
use super::steps::Halt;
use super::try_case::{Tried, check_witness, try_case};
use super::{DirectionReport, Options, Outcome, ProbeError, Report, Site, Stage, figures};
use crate::addr::{Address, PhysAddr, Span};
use crate::block::contiguous_bytes;
use crate::load::Wish;
use crate::route::Access;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Tries the route between a volume's device and memory of another, in each direction that is wanted, up to the first transfer that does not go well;
/// `watch` is told how far it is, and may end it. What was in memory and blocks is put back whatever happens, as far as that is possible.
///
/// # Errors
/// [`ProbeError`] where nothing can be said of the route. Nothing was touched, or it was put back, but for [`ProbeError::NotRestored`].
pub fn run(
    site: &mut Site<'_>,
    options: &Options<'_>,
    watch: &mut dyn FnMut(Stage) -> Wish,
) -> Result<Report, ProbeError> {
    let room = room(site, options)?;
    site.memory = room.memory;
    let wanted = options.accesses.iter().map(|access| cases(*access, &room));
    let wanted: Vec<Vec<Case>> = wanted.collect();
    let all: Vec<Case> = wanted.iter().flatten().copied().collect();
    let needed_bytes = u64::from(room.block_bytes);
    let Some(first) = all.first() else {
        return Err(ProbeError::TooSmall { needed_bytes });
    };
    let mut ask = || watch(Stage::Keeping);
    let mut kept = match Kept::take(site, &all, Sight::of(site, options), &mut ask) {
        Ok(kept) => kept,
        Err(Halt::Stopped) => return Ok(Report::interrupted()),
        Err(Halt::Failed(why)) => return Err(why),
    };
    let mut report = Report {
        directions: Vec::new(),
        interrupted: false,
        not_restored: None,
    };
    let mut tried = check_witness(site, &mut kept, first, options, &mut ask);
    for (access, cases) in options.accesses.iter().zip(&wanted) {
        if tried.is_err() {
            break;
        }
        tried = direction(
            site,
            &mut kept,
            (*access, cases),
            (options, &room),
            watch,
            &mut report,
        );
    }
    let _ = watch(Stage::Restoring);
    let restored = kept.put_back(site);
    let tried = match tried {
        Err(Halt::Stopped) => {
            report.interrupted = true;
            Ok(())
        }
        Err(Halt::Failed(why)) => Err(why),
        Ok(()) => Ok(()),
    };
    match (tried, restored) {
        (Err(_), Err(why)) => Err(ProbeError::NotRestored(Box::new(why))),
        (Err(why), Ok(())) => Err(why),
        (Ok(()), restored) => {
            report.not_restored = restored.err();
            Ok(report)
        }
    }
}

impl Report {
    fn interrupted() -> Self {
        Self {
            directions: Vec::new(),
            interrupted: true,
            not_restored: None,
        }
    }
}

/// One direction, up to the first transfer that does not go well.
fn direction(
    site: &mut Site<'_>,
    kept: &mut Kept,
    (access, cases): (Access, &[Case]),
    (options, room): (&Options<'_>, &Room),
    watch: &mut dyn FnMut(Stage) -> Wish,
    report: &mut Report,
) -> Result<(), Halt> {
    let mut seen = DirectionReport {
        access,
        outcome: Outcome::Delivered,
        case: None,
        cases: 0,
        unfit: 0,
        verified_bytes: 0,
        late_ns: 0,
        figures: None,
    };
    let mut unfit = None;
    for (index, case) in cases.iter().enumerate() {
        let of = cases.len();
        let mut ask = || watch(Stage::Case { access, index, of });
        match try_case(site, kept, case, options, &mut ask)? {
            Tried::Well { late_ns } => {
                seen.cases += 1;
                seen.verified_bytes += case.total_bytes();
                seen.late_ns = seen.late_ns.max(late_ns);
            }
            Tried::Unfit(why) => {
                seen.unfit += 1;
                unfit.get_or_insert((*case, why));
            }
            Tried::Badly(outcome) => {
                seen.case = Some(*case);
                seen.outcome = outcome;
                break;
            }
        }
    }
    if let (0, Outcome::Delivered, Some((case, why))) = (seen.cases, &seen.outcome, unfit) {
        seen.case = Some(case);
        seen.outcome = Outcome::Refused(why);
    }
    if let (Outcome::Delivered, Some(speed)) = (&seen.outcome, &options.speed) {
        let mut stopped = false;
        let mut ask = || {
            stopped |= watch(Stage::Measuring(access)) == Wish::Stop;
            match stopped {
                true => Wish::Stop,
                false => Wish::GoOn,
            }
        };
        let shape = (room.max_bytes, options.depth);
        let figures = figures::take(site, kept, access, speed, shape, &mut ask);
        // What was cut short says nothing of speed.
        seen.figures = figures.filter(|_| !stopped);
        if stopped {
            report.directions.push(seen);
            return Err(Halt::Stopped);
        }
    }
    report.directions.push(seen);
    Ok(())
}

/// What is possible here; memory is cut to what its witness can look at.
fn room(site: &Site<'_>, options: &Options<'_>) -> Result<Room, ProbeError> {
    let limits = *site.volume.limits();
    let block_bytes = limits.block_bytes.max(1);
    let too_small = ProbeError::TooSmall {
        needed_bytes: block_bytes.into(),
    };
    let granule = site.witness.granule_bytes().max(1);
    let first = site.memory.first().to_u64().checked_next_multiple_of(granule);
    let last = site.memory.last().to_u64();
    // Whole granules, and never the last byte of the address space.
    let len_bytes = first.and_then(|first| last.checked_sub(first)).map(|less| {
        let len_bytes = less.saturating_add(1);
        len_bytes / granule * granule
    });
    let (Some(first), Some(len_bytes @ 1..)) = (first, len_bytes) else {
        return Err(too_small);
    };
    let memory = Span::new(
        PhysAddr::from_u64(first),
        PhysAddr::from_u64(first + (len_bytes - 1)),
    );
    let memory = memory.map_err(|_| too_small.clone())?;
    let scratch_bytes = site.scratch.blocks.saturating_mul(block_bytes.into());
    let most_bytes = limits.max_transfer_bytes.min(options.most_bytes);
    let room = Room {
        memory,
        block_bytes,
        max_bytes: contiguous_bytes(&limits.constraints, most_bytes),
        total_bytes: scratch_bytes.min(options.most_bytes.into()),
        align_bytes: limits.constraints.align_bytes.max(1),
        depth: limits.queue_depth.min(options.depth).into(),
    };
    let ram_bytes = site.ram.len_bytes().unwrap_or(u64::MAX);
    let least = u64::from(room.max_bytes).min(room.total_bytes).min(ram_bytes);
    match least >= u64::from(block_bytes) {
        true => Ok(room),
        false => Err(too_small),
    }
}

/// For those who want one direction alone.
impl Options<'_> {
    /// Reading, writing, or both.
    pub const BOTH: &'static [Access] = &[Access::Write, Access::Read];
}
