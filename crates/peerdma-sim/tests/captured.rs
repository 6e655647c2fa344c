//! Captured machines can be simulated: those of the repository, and those of the folder that `PEERDMA_SHARED` names
//! (`kernel-truth`, `corpora/hwloc`), without which that test says that it was skipped.

use peerdma::fact::Fact;
use peerdma::pci::{BridgeKind, Config, ConfigView, Extent};
use peerdma::route::linux::{Judge, Kernel, Row};
use peerdma::route::{Access, MapType, TlpClass};
use peerdma::snapshot::{Function, Snapshot, Warnings};
use peerdma::topology::Topology;
use peerdma_linux::{KeepConfig, source};
use peerdma_sim::blueprint::Blueprint;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn machines_of_the_repository_can_be_simulated() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../machines/captured");
    assert!(check_folder(&folder) >= 2);
}

#[test]
fn machines_whose_linux_was_asked_can_be_simulated() {
    let Some(shared) = std::env::var_os("PEERDMA_SHARED") else {
        eprintln!("skipped: PEERDMA_SHARED names no folder with captured machines");
        return;
    };
    let folders = [
        "kernel-truth/listed",
        "kernel-truth/zen",
        "kernel-truth/sysfs",
        "corpora/hwloc",
    ];
    let checked: usize = folders
        .iter()
        .map(|name| check_folder(&Path::new(&shared).join(name)))
        .sum();
    assert!(checked >= 60, "only {checked} captured machines were found");
}

fn check_folder(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| !path.to_string_lossy().contains(".matrix") && path.is_file());
    paths.sort();
    for path in &paths {
        println!("{}", path.display());
        let snapshot = source::open(path, KeepConfig::Drop, &mut Warnings::default()).unwrap();
        check(&snapshot);
    }
    paths.len()
}

/// Panics where a captured machine becomes another one, or one that cannot be switched on.
fn check(snapshot: &Snapshot) {
    let (blueprint, _) = Blueprint::from_snapshot(snapshot).unwrap();
    for function in blueprint.snapshot.functions() {
        assert_known(function);
        let bytes = function.config.emit().unwrap();
        let read = Config::parse(ConfigView::new(&bytes, Extent::Whole), &mut Vec::new());
        assert_eq!(read, function.config);
    }
    let (again, _) = Blueprint::from_snapshot(&blueprint.snapshot).unwrap();
    assert!(
        again.snapshot == blueprint.snapshot,
        "a second capture is another machine"
    );
    assert_eq!(again.devices, blueprint.devices);
    let before = answers(snapshot);
    let after = answers(&blueprint.snapshot);
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        let is_possible = after.iter().all(|answer| before.contains(answer));
        assert!(is_possible, "{before:?} became {after:?}");
    }
}

fn assert_known(function: &Function) {
    let (config, os) = (&function.config, &function.os);
    let windows = match &config.bridge {
        Fact::Known(Some(bridge)) => bridge.windows.is_known() || bridge.kind == BridgeKind::CardBus,
        bridge => bridge.is_known(),
    };
    let express = match &config.express {
        Fact::Known(Some(express)) => {
            express.link.is_known() && express.port_number.is_known() && express.payload.is_known()
        }
        express => express.is_known(),
    };
    let sizes = os.resources.as_ref().map(|resources| {
        let mut memory = resources.iter().filter(|resource| resource.kind.is_memory());
        memory.all(|resource| resource.size_bytes.is_known())
    });
    let facts = [
        function.upstream.is_known(),
        config.id.is_known(),
        config.class.is_known(),
        config.command.is_known(),
        config.bars.is_known(),
        config.acs.is_known(),
        config.ats.is_known(),
        config.rebar.is_known(),
        config.sriov.is_known(),
        os.link.is_known(),
        os.port_type.is_known(),
        os.iommu_group.is_known(),
        os.physical_function.is_known(),
        windows,
        express,
        sizes == Fact::Known(true),
    ];
    assert!(facts.iter().all(|known| *known), "{function:#?}");
}

/// What Linux may answer for every pair of functions that the capture knows to exist.
fn answers(snapshot: &Snapshot) -> Vec<Vec<MapType>> {
    let topology = Topology::new(snapshot.clone(), &mut Warnings::default());
    let kernel = Kernel::of_machine(Fact::Known(peerdma::snapshot::KernelVersion::new(6, 12, 0)));
    let judge = Judge::new(&topology, kernel);
    let mut row = Row::default();
    let mut answers = Vec::new();
    for provider in topology.nodes().take(150) {
        judge.row(provider, &mut row);
        answers.extend(row.verdicts().iter().map(|verdict| {
            verdict
                .answer(Access::Write, TlpClass::ALL[0])
                .possible()
                .collect()
        }));
    }
    answers
}
