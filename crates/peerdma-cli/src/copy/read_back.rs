//! Reading the destination back through its driver: the proof of a copy.

use super::carry::{PAGE_BYTES, Verdict, Watcher};
use super::request::{Request, job};
use crate::error::Problem;
use crate::ground::{Ground, Ram, Rig};
use peerdma::block::Volume;
use peerdma::engine::{Check, Job, Truth, Verify};
use peerdma::plan::CopyPlan;

/// RAM to read the destination back by way of, and perhaps the source: for 16 pieces, or fewer where there is little.
pub(super) fn proving_ram<G: Ground>(
    rig: &Rig<G>,
    request: &Request,
    ends: [&dyn Volume; 2],
) -> Result<Ram<G>, Problem> {
    let [source, destination] = ends.map(|volume| volume.limits().max_transfer_bytes);
    // No plan takes larger pieces.
    let piece = request.chunk_bytes.min(source).min(destination);
    let piece = u64::from(piece).next_multiple_of(PAGE_BYTES.into());
    rig.ram(16 * piece, 2 * piece)
}

/// Reads the destination back through its driver.
pub(super) fn check<G: Ground>(
    rig: &Rig<G>,
    request: &Request,
    (plan, ram): (&CopyPlan, &Ram<G>),
    (source, destination): (&mut dyn Volume, &mut dyn Volume),
    watcher: &mut dyn Watcher,
) -> Result<Check, Problem> {
    let whole = job(request, source, destination);
    // What an earlier run has done is read back too.
    let whole = Job {
        resume_bytes: 0,
        ..whole
    };
    let chunk_bytes = plan.layout.chunk_bytes;
    let read_again = request.pattern.is_none().then_some(&*source);
    let verify = Verify::new(whole, destination, read_again, ram.span, chunk_bytes);
    let mut verify = verify.map_err(|error| {
        Problem::new(
            "the destination could not be read back",
            error,
            "take smaller pieces (--chunk)",
        )
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
        match verify.poll(destination, &mut truth, rig.ground()) {
            Check::UnderWay { checked_bytes } if checked_bytes != last => {
                last = checked_bytes;
                if watcher.checked(checked_bytes) == Verdict::Stop || rig.ground().is_recalled() {
                    verify.cancel();
                }
            }
            Check::UnderWay { .. } => rig.ground().relax(),
            ended => return Ok(ended),
        }
    }
}
