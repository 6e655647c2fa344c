//! What must hold for any bytes taken as a script for a simulated machine.
//!
//! Shared by the fuzz target and by the test of `peerdma-sim` that replays what fuzzing found.

use peerdma_sim::blueprint::Blueprint;
use peerdma_sim::file;
use peerdma_sim::machine::{Gear, Options};
use peerdma_sim::script::{self, Report, Script};
use std::sync::LazyLock;

static MACHINES: LazyLock<Vec<Blueprint>> = LazyLock::new(|| {
    let texts = [
        include_str!("../../machines/two-ssds.toml"),
        include_str!("../../machines/gpu-box.toml"),
        include_str!("../../machines/redirect.toml"),
    ];
    texts.iter().filter_map(|text| file::load(text).ok()).collect()
});

/// What is moved in one trial, so that it ends soon.
const MOST_BYTES: u64 = 1 << 18;

/// Panics where a promise is broken.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let script = match script::read(text) {
        Ok(script) => script,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(error.to_string().len() < 2000, "an error repeats the script");
            let lines = text.lines().count().max(1) as u32 + 1;
            assert!(error.at.line <= lines, "{error}");
            return;
        }
    };
    if script.transfers.iter().map(|line| line.bytes).sum::<u64>() > MOST_BYTES {
        return;
    }
    for machine in MACHINES.iter() {
        let (batched, single) = (
            run(machine, &script, Gear::Batched),
            run(machine, &script, Gear::Tlp),
        );
        let (Some(batched), Some(single)) = (batched, single) else {
            continue;
        };
        assert_eq!(batched.ended, single.ended);
        assert_eq!(batched.counters, single.counters);
        for (one, other) in batched.transfers.iter().zip(&single.transfers) {
            assert_eq!(one.fates, other.fates);
            let told = [
                one.fates.intact_bytes,
                one.fates.lost_bytes,
                one.fates.all_ones_bytes,
                one.fates.wrong_bytes,
            ];
            assert_eq!(told.iter().sum::<u64>(), one.bytes);
        }
    }
}

fn run(machine: &Blueprint, script: &Script, gear: Gear) -> Option<Report> {
    let options = Options {
        gear,
        memory_budget_bytes: 1 << 26,
        ..Options::default()
    };
    match script::run(machine, script, options, &mut |_| {}) {
        Ok((report, _)) => Some(report),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}
