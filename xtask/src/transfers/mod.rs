//! `cargo xtask transfers`: the central promise of mapping, on random machines.
//!
//! For any vector, any initiator and direction: either looking up and mapping refuse it, or a transfer by the resulting list leaves every
//! byte exactly where the vector says and no other byte of the machine changed, and after unmapping nothing is left mapped.
//! What is refused for want of a route does not arrive either when it is forced. Beside that: lists are as their device takes
//! them and lead back to their memory, what is revoked or unmapped is not reached through the IOMMU any more.
//!
//! ```text
//! seed -> World (machine, actors, bytes) -> Story (batches of vectors) -> act (map, move, compare) -> Tally, or Broken -> shrink
//! ```

mod act;
mod broken;
mod bytes;
mod expect;
mod forced;
mod map;
mod shrink;
mod spots;
mod story;
mod tally;
#[cfg(test)]
mod tests;
mod traffic;
mod transfer;
mod vain;
mod world;

use crate::chore::Failure;
use act::act;
use broken::Broken;
use indicatif::{ProgressBar, ProgressStyle};
use shrink::shrink;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use story::Story;
use tally::Tally;
use world::World;

/// What to try.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many vectors at least
    #[arg(long, default_value_t = 10_000)]
    cases: u64,
    /// The seed of the first machine; each further one has the next
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let bar = ProgressBar::new(arguments.cases);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos} of {len} cases, {eta} left") {
        bar.set_style(style);
    }
    let result = transfers(arguments.seed, arguments.cases, arguments.threads, &|cases| {
        bar.inc(cases);
    });
    bar.finish_and_clear();
    match result {
        Ok(tally) => {
            print!("{tally}");
            tally.check().map_err(Failure::Bad)
        }
        Err(failure) => Err(Failure::Bad(failure)),
    }
}

/// At least so many cases, on machines of the seeds from `first` on; the story of the first that breaks a promise, made small.
fn transfers(first: u64, cases: u64, threads: usize, told: &(dyn Fn(u64) + Sync)) -> Result<Tally, String> {
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let is_over = AtomicBool::new(false);
    let all = Mutex::new((Tally::default(), None));
    let lock = || all.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, 64) {
            scope.spawn(|| {
                let mut mine = Tally::default();
                while done.load(Ordering::Relaxed) < cases && !is_over.load(Ordering::Relaxed) {
                    let seed = first.wrapping_add(next.fetch_add(1, Ordering::Relaxed));
                    match one(seed) {
                        Ok(tally) => {
                            done.fetch_add(tally.cases, Ordering::Relaxed);
                            told(tally.cases);
                            mine.add(tally);
                        }
                        Err(story) => {
                            if !is_over.swap(true, Ordering::Relaxed) {
                                lock().1 = Some(story);
                            }
                        }
                    }
                }
                lock().0.add(mine);
            });
        }
    });
    match all.into_inner().unwrap_or_else(PoisonError::into_inner) {
        (_, Some(story)) => Err(story),
        (tally, None) => Ok(tally),
    }
}

/// The machine of one seed.
fn one(seed: u64) -> Result<Tally, String> {
    let no_machine = |error: String| format!("machine {seed}: {error}");
    let Some(mut world) = World::new(seed).map_err(no_machine)? else {
        return Ok(Tally::default());
    };
    let story = Story::roll(seed, &world);
    act(&story, &mut world).map_err(|broken| {
        let first = broken.clone();
        let (story, Broken { promise, seen }) = shrink(story, broken);
        format!(
            "broken: {promise}\n  {seen}\n{story}{}\nat first: {}\nagain: cargo xtask transfers --cases 1 --seed {seed}",
            world.describe(),
            first.seen
        )
    })
}
