//! A snapshot of a simulated machine, simulated again, is the same snapshot.

use peerdma_sim::blueprint::{Blueprint, DeviceKind};
use peerdma_sim::fabric::Fabric;
use peerdma_sim::file;
use peerdma_sim::firmware;
use peerdma_sim::random::random_machine;
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Panics where a machine does not survive being captured.
fn check(blueprint: &Blueprint) {
    let (again, _) = Blueprint::from_snapshot(&blueprint.snapshot).unwrap();
    for (before, after) in blueprint
        .snapshot
        .functions()
        .iter()
        .zip(again.snapshot.functions())
    {
        assert_eq!(before, after);
    }
    assert_eq!(blueprint.snapshot, again.snapshot);
    assert_eq!(blueprint.nature, again.nature);
    let furnished = |blueprint: &Blueprint| {
        let mut devices = blueprint.devices.clone();
        for kind in devices.values_mut() {
            if let DeviceKind::Nvme(nvme) = kind {
                nvme.namespaces.clear();
            }
        }
        devices
    };
    assert_eq!(furnished(blueprint), furnished(&again));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn a_random_machine_survives_being_captured_and_every_fact_of_it_can_be_written(seed: u64) {
        let blueprint = firmware::boot(&random_machine(seed)).unwrap();
        check(&blueprint);
        for function in blueprint.snapshot.functions() {
            prop_assert!(function.config.emit().is_ok(), "{:?}", function.config.emit());
        }
    }
}

#[test]
fn shipped_machines_survive_being_captured() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../machines");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            check(&file::load(&fs::read_to_string(&path).unwrap()).unwrap());
        }
    }
}

#[test]
fn random_machines_are_mostly_small_and_of_every_kind() {
    let machines: Vec<_> = (0..500)
        .map(|seed| firmware::boot(&random_machine(seed)).unwrap())
        .collect();
    let sizes: Vec<_> = machines
        .iter()
        .map(|machine| machine.snapshot.functions().len())
        .collect();
    let small = sizes.iter().filter(|size| (3..=40).contains(*size)).count();
    assert!(small > 450, "{small}");
    assert!(sizes.iter().max() < Some(&200));
}

#[test]
fn ten_thousand_devices_are_numbered_in_a_moment() {
    let text = large(10);
    let started = Instant::now();
    let blueprint = file::load(&text).unwrap();
    let took = started.elapsed();
    assert!(blueprint.devices.len() >= 10_000, "{}", blueprint.devices.len());
    assert!(
        took < Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 }),
        "{took:?}"
    );
    check(&blueprint);
}

/// Host bridges in domains of their own, each with switches of 125 ports and eight functions below each.
fn large(domains: u32) -> String {
    let device = "{ kind = \"nvme\" }";
    let devices = [device; 8].join(", ");
    let mut text = String::new();
    for domain in 0..domains {
        text += &format!("[[bridge]]\ndomain = {domain}\n");
        for _ in 0..5 {
            text += "[[bridge.port]]\n[bridge.port.switch]\n";
            for _ in 0..25 {
                text += &format!("[[bridge.port.switch.port]]\ndevice = [{devices}]\n");
            }
        }
    }
    text
}

#[test]
fn what_software_reads_of_a_switched_on_machine_is_what_firmware_left() {
    for seed in 0..1000 {
        let blueprint = firmware::boot(&random_machine(seed)).unwrap();
        let fabric = Fabric::new(&blueprint).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let read = fabric.snapshot();
        for (before, after) in blueprint.snapshot.functions().iter().zip(read.functions()) {
            assert_eq!(before, after, "seed {seed}");
        }
        assert_eq!(blueprint.snapshot, read, "seed {seed}");
    }
}
