//! Controllers in machines of every kind.

use peerdma_sim::blueprint::{Blueprint, DeviceKind, NamespaceKind};
use peerdma_sim::device::nvme::Controller;
use peerdma_sim::fabric::BuildError;
use peerdma_sim::machine::Machine;
use peerdma_sim::random::random_machine;
use peerdma_sim::{file, firmware};

fn controllers(blueprint: &Blueprint) -> usize {
    blueprint
        .devices
        .values()
        .filter(|kind| matches!(kind, DeviceKind::Nvme(_)))
        .count()
}

#[test]
fn random_machines_and_their_captures_switch_on_with_all_their_controllers() {
    let mut seen = 0;
    for seed in 0..200 {
        let blueprint = firmware::boot(&random_machine(seed)).unwrap();
        let (captured, _) = Blueprint::from_snapshot(&blueprint.snapshot).unwrap();
        for blueprint in [&blueprint, &captured] {
            let mut machine = Machine::new(blueprint).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let of_kind = |kind: &DeviceKind| matches!(kind, DeviceKind::Nvme(_));
            for (bdf, _) in blueprint.devices.iter().filter(|(_, kind)| of_kind(kind)) {
                assert!(
                    machine.with::<Controller, _>(*bdf, |_, _| ()).is_some(),
                    "seed {seed}: {bdf}"
                );
            }
        }
        seen += controllers(&blueprint);
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn a_machine_whose_namespace_has_no_file_says_where_and_which() {
    let text = "[[bridge]]\nport = { device = { kind = \"nvme\" } }\n";
    let mut blueprint = file::load(text).unwrap();
    for kind in blueprint.devices.values_mut() {
        if let DeviceKind::Nvme(nvme) = kind {
            let path = std::env::temp_dir().join("peerdma-no-such-image");
            nvme.namespaces = vec![NamespaceKind {
                block_bytes: 512,
                blocks: 1,
                file: Some(path),
            }];
        }
    }
    let error = Machine::new(&blueprint).unwrap_err();
    assert!(matches!(error, BuildError::Nvme { .. }));
    assert!(error.to_string().contains("peerdma-no-such-image"), "{error}");
}
