//! Copies whose controllers somebody else resets, or switches the memory of off: while they are opened, move data, read back, are closed.
//!
//! Whatever becomes of such a copy, it ends within its time, and says that it is proven or why it is not; the next one is.
//!
//! Called by [`super::run()`].

use super::content::{Holds, OLD_OR_NEW};
use super::controllers::Controller;
use super::run::{Ended, Run};
use super::{BAD_INPUT, Guest, NOT_PROVEN};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Moved slowly.
const BYTES: u64 = 512 << 10;
/// PCI Local Bus 3.0, 6.1.
const COMMAND: u64 = 4;
/// By one of these a copy tells that it was not its own fault.
const SAYS_SO: [&str; 5] = [
    "was reset",
    "does not answer",
    "do not answer",
    "did not become ready",
    "somebody resets",
];

/// What somebody does.
#[derive(Debug, Clone, Copy)]
enum Act {
    Reset,
    MemoryOff,
}

/// What became of copies.
#[derive(Default)]
struct Sum {
    proven: usize,
    over: usize,
    told: BTreeMap<String, usize>,
}

pub(super) fn run(guest: &Guest, times: u32) -> Result<(), String> {
    let [first, second, third, ..] = &guest.controllers;
    guest.lend(&[first, second, third])?;
    guest.fresh(first, third)?;
    for (name, act, times) in [
        ("resets", Act::Reset, times),
        ("memory-off", Act::MemoryOff, times / 2),
    ] {
        guest.tell(name, all(guest, name, act, times));
    }
    guest.ranges.send(&[first, second, third])
}

/// At times spread over all of a copy; the source, the lender and the destination in turn.
fn all(guest: &Guest, name: &str, act: Act, times: u32) -> Result<String, String> {
    let [first, second, third, ..] = &guest.controllers;
    let (takes, _) = one(guest, name, None)?;
    let mut sum = Sum::default();
    for turn in 0..times {
        let [source, lender, destination] = [first, second, third];
        let whose = [source, lender, destination][turn as usize % 3];
        let after = takes * turn / times;
        let what = format!("{act:?} of {} after {after:?} of {takes:?}", whose.address);
        let (_, ended) =
            one(guest, name, Some((act, whose, after))).map_err(|why| format!("{what}: {why}"))?;
        match ended {
            None => sum.over += 1,
            Some(ended) => sum.count(&ended).map_err(|why| format!("{what}: {why}"))?,
        }
        guest
            .fresh(first, third)
            .map_err(|why| format!("{what}: {why}"))?;
    }
    sum.told(times)
}

/// One copy, and how it ended; nothing where it was over before anything happened.
fn one(
    guest: &Guest,
    name: &str,
    act: Option<(Act, &Controller, Duration)>,
) -> Result<(Duration, Option<Ended>), String> {
    let [from, lender, to, ..] = &guest.controllers;
    let range = guest.ranges.take(BYTES)?;
    guest.ranges.keep(name, from, to, range, OLD_OR_NEW);
    let run = Run::ours(&guest.api, from, to, range).slowly();
    let began = Instant::now();
    let running = run.with(&["--via", &lender.address]).start()?;
    let mut is_over = false;
    if let Some((act, whose, after)) = act {
        std::thread::sleep(after);
        // A process that has ended and was not asked for yet has no memory map.
        let maps = fs::read(format!("/proc/{}/maps", running.id())).unwrap_or_default();
        is_over = maps.is_empty();
        act.on(whose)?;
    }
    let ended = running.end()?;
    let took = began.elapsed();
    let holds = match ended.code {
        0 => Holds::New,
        // Nothing was begun.
        BAD_INPUT => Holds::Old,
        // What went through memory that was gone is anything.
        _ => Holds::Anything,
    };
    guest.ranges.keep(name, from, to, range, holds);
    if act.is_none() || is_over {
        ended.expect(&[0], &[])?;
        return Ok((took, None));
    }
    Ok((took, Some(ended)))
}

impl Act {
    fn on(self, whose: &Controller) -> Result<(), String> {
        let failed = |path: &Path, error| format!("{}: {error}", path.display());
        match self {
            Self::Reset => {
                let path = whose.folder().join("reset");
                fs::write(&path, "1").map_err(|error| failed(&path, error))
            }
            Self::MemoryOff => {
                let path = whose.folder().join("config");
                let config = OpenOptions::new().write(true).open(&path);
                let written = config.and_then(|config| config.write_all_at(&[0, 0], COMMAND));
                written.map_err(|error| failed(&path, error))
            }
        }
    }
}

impl Sum {
    fn count(&mut self, ended: &Ended) -> Result<(), String> {
        if ended.code == 0 {
            self.proven += 1;
            return Ok(());
        }
        ended.expect(&[BAD_INPUT, NOT_PROVEN], &[])?;
        let word = ended.word();
        // Long lines were broken.
        let said = ended.said.split_whitespace().collect::<Vec<_>>().join(" ");
        if word.is_empty() || !SAYS_SO.iter().any(|words| said.contains(words)) {
            return Err(format!("it does not say what happened: {said}"));
        }
        let word: String = word.chars().take(70).collect();
        *self.told.entry(format!("{}: {word}", ended.code)).or_default() += 1;
        Ok(())
    }

    fn told(self, times: u32) -> Result<String, String> {
        let failed: usize = self.told.values().sum();
        let told: Vec<String> = self
            .told
            .iter()
            .map(|(word, count)| format!("{count} x {word}"))
            .collect();
        let text = format!(
            "{times} times: {} copies proven, {failed} said why not, {} were over before; each next copy was proven ({})",
            self.proven,
            self.over,
            told.join("; ")
        );
        match failed {
            0 => Err(format!("it hit no copy: {text}")),
            _ => Ok(text),
        }
    }
}
