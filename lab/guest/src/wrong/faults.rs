//! Every ioctl of a copy fails once: each run ends in order, and the next one finds the devices as they were.
//!
//! Called by [`super::run()`]. The program is peerdma built with its feature `faults`.

use super::content::{Holds, OLD_OR_NEW};
use super::run::Run;
use super::{BAD_INPUT, Guest, NOT_PROVEN};
use std::collections::BTreeMap;
use std::fs;

/// peerdma with faults.
const PROGRAM: &str = "/payload/peerdma-faults";
const COUNT: &str = "/tmp/ioctls";
const BYTES: u64 = 16 << 10;

/// Tries at most `most` of them, evenly spread.
pub(super) fn run(guest: &Guest, most: u64) -> Result<(), String> {
    let [first, second, third, ..] = &guest.controllers;
    // They share a group.
    second.give_to("vfio-pci")?;
    guest.lend(&[first, third])?;
    let range = guest.ranges.take(BYTES)?;
    let faulty = Run::ours(&guest.api, first, third, range).by(PROGRAM);
    faulty
        .clone()
        .told("PEERDMA_COUNT_IOCTLS", COUNT)
        .end()?
        .expect(&[0], &[])?;
    guest.ranges.keep("counted", first, third, range, Holds::New);
    let count = fs::read_to_string(COUNT).map_err(|error| format!("{COUNT}: {error}"))?;
    let count: u64 = count
        .trim()
        .parse()
        .map_err(|_| format!("`{count}` is no number"))?;
    let step = count.div_ceil(most.max(1)).max(1);
    let mut codes: BTreeMap<i32, u32> = BTreeMap::new();
    // Past the last there is none to fail.
    for number in (1..=count).step_by(step as usize).chain([count + 1]) {
        let range = guest.ranges.take(BYTES)?;
        guest.ranges.keep("fault", first, third, range, OLD_OR_NEW);
        let faulty = Run::ours(&guest.api, first, third, range).by(PROGRAM);
        let told = faulty
            .told("PEERDMA_FAIL_IOCTL", &number.to_string())
            .end()
            .and_then(|ended| {
                let words: &[&str] = match ended.code {
                    BAD_INPUT => &["error:", "why:", "fix:"],
                    NOT_PROVEN => &["error"],
                    _ => &[],
                };
                ended.expect(&[0, BAD_INPUT, NOT_PROVEN], words)?;
                guest.fresh(first, third)?;
                Ok(ended.code)
            });
        match told {
            Ok(code) => *codes.entry(code).or_default() += 1,
            Err(why) => guest.tell(&format!("ioctl-{number}"), Err(why)),
        }
    }
    let codes: Vec<String> = codes
        .iter()
        .map(|(code, runs)| format!("{runs} with {code}"))
        .collect();
    guest.tell(
        "ioctls",
        Ok(format!(
            "each {step}. of {count} failed once: runs ended {}, and a copy after each succeeded",
            codes.join(", ")
        )),
    );
    guest.ranges.send(&[first, third])
}
