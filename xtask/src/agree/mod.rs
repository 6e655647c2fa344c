//! `cargo xtask agree`: the specification's judge against the simulator.
//!
//! Both are asked what becomes of one request, for every ordered pair of functions of a machine, reading and writing, in
//! each class of packets, with either address, and of one for host RAM. They share no routing code; where they differ, one of them is wrong. The
//! judge may say that it does not know, which is counted and not compared: it has only what a snapshot tells, and the
//! specification leaves some things open.

mod compare;
mod oddities;
mod ram;
#[cfg(test)]
mod tests;

use crate::chore::{Failure, repository};
use compare::{Tally, compare};
use oddities::forget;
pub(crate) use oddities::meddle;
use peerdma_sim::firmware;
use peerdma_sim::random::{Random, random_machine};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// What to compare.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many random machines
    #[arg(long, default_value_t = 1000)]
    machines: u64,
    /// The seed of the first; each further one has the next
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// How many differences are printed.
const MOST_PRINTED: usize = 20;

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut tally = shipped()?;
    println!("shipped machines: {tally}");
    let random = random(arguments.seed, arguments.machines, arguments.threads);
    println!("random machines:  {random}");
    tally.add(random);
    for (end, count) in &tally.ends {
        println!("{count:>9}  {end}");
    }
    for (kind, count) in &tally.kinds {
        println!("{count:>9}  {kind}");
    }
    for difference in tally.differences.iter().take(MOST_PRINTED) {
        println!("{difference}");
    }
    match tally.different {
        0 => Ok(()),
        count => Err(Failure::Bad(format!(
            "the specification's judge and the simulator differ in {count} questions"
        ))),
    }
}

/// Every machine in `machines/`.
fn shipped() -> Result<Tally, Failure> {
    let folder = repository().join("machines");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .map_err(Failure::io(folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let mut tally = Tally::default();
    for file in files {
        let text = fs::read_to_string(&file).map_err(Failure::io(file.display()))?;
        let name = file.display().to_string();
        let blueprint =
            peerdma_sim::file::load(&text).map_err(|error| Failure::Bad(format!("{name}: {error}")))?;
        tally.add(compare(&name, &blueprint, &blueprint.snapshot));
    }
    Ok(tally)
}

/// Random machines with the seeds from `first` on.
fn random(first: u64, count: u64, threads: usize) -> Tally {
    let next = AtomicU64::new(0);
    let all = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, 64) {
            scope.spawn(|| {
                let mut mine = Tally::default();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    let seed = first.wrapping_add(index);
                    let name = format!("random machine {seed}");
                    match firmware::boot(&random_machine(seed)) {
                        Ok(mut blueprint) => {
                            let mut random = Random::new(seed);
                            let addresses = meddle(&mut blueprint.snapshot, &mut random);
                            let mut told = blueprint.snapshot.clone();
                            forget(&mut told, addresses, &mut random);
                            let name = match told == blueprint.snapshot {
                                true => name,
                                false => format!("{name}, facts hidden"),
                            };
                            mine.add(compare(&name, &blueprint, &told));
                        }
                        Err(error) => mine.differ("no blueprint".into(), || format!("{name}: {error}")),
                    }
                }
                all.lock().unwrap_or_else(PoisonError::into_inner).add(mine);
            });
        }
    });
    all.into_inner().unwrap_or_else(PoisonError::into_inner)
}
