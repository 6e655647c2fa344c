//! Probes on random machines: the judge says what will be seen, before.

use crate::rig::Rig;
use peerdma::fact::Fact;
use peerdma::memory::Memory;
use peerdma::pci::Command;
use peerdma::probe::{Judgement, Options, Outcome, Promise};
use peerdma_sim::firmware;
use peerdma_sim::host::{Area, Computer};
use peerdma_sim::machine;
use peerdma_sim::random::random_machine;
use std::collections::BTreeMap;

const BUS_MASTER: u16 = 0x4;

fn computer(seed: u64) -> Option<Computer> {
    let mut random = random_machine(seed);
    for bridge in &mut random.bridges {
        // From below such a bridge no address leads to low RAM, where queues lie.
        bridge.inbound_offset = bridge.inbound_offset.min(0);
    }
    let mut blueprint = firmware::boot(&random).ok()?;
    blueprint.snapshot.edit(|function| {
        if let Fact::Known(Command(command)) = &mut function.config.command {
            *command |= BUS_MASTER;
        }
    });
    // Random machines translate addresses as no x86 host bridge does: who made the processor would mislead.
    blueprint.snapshot.host.cpu = Fact::NOT_IN_SOURCE;
    Computer::new(&blueprint, machine::Options::default()).ok()
}

/// Pairs of a machine that are probed where not all are.
const FEW: usize = 3;

/// How many machines; with `PEERDMA_PROBE_MACHINES` as many, and all of their pairs.
fn machines() -> u64 {
    all_of().unwrap_or(40)
}

fn all_of() -> Option<u64> {
    std::env::var("PEERDMA_PROBE_MACHINES").ok()?.parse().ok()
}

/// Probes pairs of a machine; counts what was promised and seen.
fn probe(seed: u64, counts: &mut BTreeMap<(&'static str, &'static str), u32>) {
    let Some(computer) = computer(seed) else { return };
    let functions = computer.topology().snapshot().functions();
    let controllers: Vec<_> = functions.iter().map(|function| function.bdf).collect();
    let controllers: Vec<_> = (controllers.into_iter())
        .filter(|bdf| !computer.namespaces(*bdf).is_empty())
        .collect();
    let options = Options {
        most_bytes: 4608,
        guard_bytes: 64,
        depth: 3,
        settle_ns: 10_000_000,
        ..Options::default()
    };
    let mut left = if all_of().is_some() { usize::MAX } else { FEW };
    for bdf in &controllers {
        let Some(rig) = Rig::new(computer.clone(), *bdf, &controllers) else {
            continue;
        };
        for (region, memory) in rig.memories() {
            let before = computer.state();
            if left == 0 {
                return;
            }
            left -= 1;
            // Memory that does not answer the CPU has no witness.
            let Some(judged) = rig.try_judged(&region, memory, &options) else {
                continue;
            };
            let promises: Vec<Promise> = judged.iter().map(|(promise, ..)| *promise).collect();
            for (promise, judgement, report) in judged {
                let direction = &report.directions[0];
                let promised = match promise {
                    Promise::Reached => "reached",
                    Promise::Refused => "refused",
                    Promise::Unknown => "unknown",
                };
                *counts.entry((promised, direction.outcome.name())).or_default() += 1;
                let is_right = match promise {
                    Promise::Reached => judgement == Judgement::Agrees,
                    // A refusal may be of parts that no transfer touches.
                    Promise::Refused => {
                        direction.outcome != Outcome::Delivered || !rig.is_of_one_piece(&region)
                    }
                    Promise::Unknown => true,
                };
                assert!(
                    is_right,
                    "machine {seed}: {bdf} {:?} {:x?}: {promise:?}, and {}",
                    direction.access, region, direction.outcome
                );
            }
            let changed = rig.changed(&before);
            // What is forced may go anywhere.
            let is_forced = promises.iter().any(|promise| *promise != Promise::Reached);
            let is_given = |area| match (area, region.memory) {
                (Area::Bar { bdf, bar }, Memory::Bar(memory)) => (bdf, bar) == (memory.provider, memory.bar),
                _ => true,
            };
            let mut changed = changed
                .iter()
                .filter(|change| !is_forced || is_given(change.area));
            assert_eq!(changed.next(), None, "machine {seed}: {bdf} {region:x?}");
        }
    }
}

#[test]
fn on_random_machines_what_is_seen_is_what_was_promised() {
    let mut counts = BTreeMap::new();
    for seed in 0..machines() {
        probe(seed, &mut counts);
    }
    println!("{counts:?}");
    let of = |promised| -> u32 {
        let of = counts.iter().filter(|((one, _), _)| *one == promised);
        of.map(|(_, count)| count).sum()
    };
    assert!(of("reached") > 30 && of("refused") > 30, "{counts:?}");
}
