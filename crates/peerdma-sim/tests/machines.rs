//! The machines that ship with the repository.

use peerdma::fact::Fact;
use peerdma::pci::{Config, ConfigView, Extent};
use peerdma_sim::blueprint::{Blueprint, DeviceKind};
use peerdma_sim::file;
use std::fs;
use std::path::{Path, PathBuf};

fn shipped() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../machines");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

fn loaded() -> Vec<(PathBuf, Blueprint)> {
    let load = |(path, text): (PathBuf, String)| match file::load(&text) {
        Ok(blueprint) => (path, blueprint),
        Err(error) => panic!("{}: {error}", path.display()),
    };
    shipped().into_iter().map(load).collect()
}

#[test]
fn ten_machines_ship_and_each_says_what_it_teaches() {
    let machines = shipped();
    assert_eq!(machines.len(), 10);
    for (path, text) in machines {
        assert!(text.starts_with("# "), "{}", path.display());
    }
    assert_eq!(loaded().len(), 10);
}

#[test]
fn between_two_ssds_of_a_shipped_machine_each_can_hold_data_of_the_other() {
    const HOLDS_DATA: u8 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4; // SQS, LISTS, RDS, WDS
    for (path, blueprint) in loaded() {
        if path.ends_with("conventional.toml") {
            continue;
        }
        for name in ["nvme0", "nvme1"] {
            let mut functions = blueprint.snapshot.functions().iter();
            let function = functions
                .find(|function| function.os.names == [name])
                .unwrap_or_else(|| panic!("{}: {name}", path.display()));
            let Some(DeviceKind::Nvme(nvme)) = blueprint.devices.get(&function.bdf) else {
                panic!("{}: {name} is no NVMe controller", path.display());
            };
            let namespace = &nvme.namespaces[0];
            assert!(u64::from(namespace.block_bytes) * namespace.blocks >= 64 << 20);
            let bits = nvme.cmb.unwrap().abilities.size_bits;
            assert_eq!(bits & HOLDS_DATA, HOLDS_DATA, "{}: {name}", path.display());
        }
    }
}

#[test]
fn every_fact_of_a_shipped_machine_is_known_and_can_be_written_to_registers() {
    for (path, blueprint) in loaded() {
        for function in blueprint.snapshot.functions() {
            let bytes = function
                .config
                .emit()
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let view = ConfigView::new(&bytes, Extent::Whole);
            assert_eq!(
                Config::parse(view, &mut Vec::new()),
                function.config,
                "{}",
                function.bdf
            );
            assert!(matches!(&function.os.resources, Fact::Known(_)));
            assert!(function.os.iommu_group.is_known());
        }
    }
}

#[test]
fn linux_puts_into_one_group_what_the_fabric_does_not_isolate() {
    let groups = |name: &str| {
        let machines = loaded();
        let (_, blueprint) = machines.iter().find(|(path, _)| path.ends_with(name)).unwrap();
        let group = |wanted: &str| {
            let functions = blueprint.snapshot.functions().iter();
            let mut named = functions.filter(|function| function.os.names.iter().any(|name| name == wanted));
            let group = named.next().unwrap().os.iommu_group.clone().known().unwrap();
            group.map(|group| group.number)
        };
        ["nvme0", "nvme1", "gpu0", "gpu1", "card0", "card1"]
            .into_iter()
            .filter(|wanted| {
                let mut functions = blueprint.snapshot.functions().iter();
                functions.any(|function| function.os.names.iter().any(|name| name == wanted))
            })
            .map(|wanted| (wanted, group(wanted)))
            .collect::<Vec<_>>()
    };
    let shared = groups("shared-group.toml");
    assert!(
        shared.len() == 3 && shared.iter().all(|one| one.1 == shared[0].1),
        "{shared:?}"
    );
    let conventional = groups("conventional.toml");
    assert_eq!(conventional[1].1, conventional[2].1);
    assert_ne!(conventional[0].1, conventional[1].1);
    let apart = groups("two-sockets.toml");
    assert!(apart.windows(2).all(|two| two[0].1 != two[1].1), "{apart:?}");
    assert!(groups("two-ssds.toml").iter().all(|(_, group)| group.is_none()));
}

#[test]
fn a_file_with_every_key_is_a_machine() {
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/machine_file/every-key.toml");
    let blueprint = file::load(&fs::read_to_string(seed).unwrap()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(blueprint.devices.len(), 6);
}
