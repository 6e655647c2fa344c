//! Controllers in machines of every kind.

use peerdma_sim::blueprint::{Blueprint, DeviceKind, NamespaceKind};
use peerdma_sim::device::nvme::{Controller, NvmeError};
use peerdma_sim::fabric::BuildError;
use peerdma_sim::machine::{Files, Machine, Options};
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
    let refused = Machine::new(&blueprint).unwrap_err();
    assert!(
        matches!(
            &refused,
            BuildError::Nvme {
                source: NvmeError::FileNotAllowed { namespace: 1, .. },
                ..
            }
        ),
        "{refused}"
    );
    let error = with_files(&blueprint).unwrap_err();
    assert!(matches!(error, BuildError::Nvme { .. }));
    assert!(error.to_string().contains("peerdma-no-such-image"), "{error}");
}

fn with_files(blueprint: &Blueprint) -> Result<Machine, BuildError> {
    let files = Files::Open;
    Machine::with_options(
        blueprint,
        Options {
            files,
            ..Options::default()
        },
    )
}

#[test]
fn no_two_namespaces_share_a_file_and_relative_paths_begin_where_the_machine_file_is() {
    let folder = std::env::temp_dir().join(format!("peerdma-shared-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("image"), [0; 4096]).unwrap();
    let device = |path| {
        format!(
            "[[bridge]]\nport = {{ device = {{ kind = \"nvme\", namespace = [{{ size = 4096, file = \"{path}\" }}] }} }}\n"
        )
    };
    let found = |text: &str| {
        let mut blueprint = file::load(text).unwrap();
        blueprint.find_files_in(&folder);
        with_files(&blueprint).map(|_| ())
    };
    let alone = found(&device("image"));
    let both = found(&(device("image") + &device("./image")));
    std::fs::remove_dir_all(&folder).unwrap();
    alone.unwrap();
    let source = NvmeError::SharedFile {
        namespace: 1,
        path: folder.join("./image"),
    };
    assert!(
        matches!(&both, Err(BuildError::Nvme { source: is, .. }) if *is == source),
        "{both:?}"
    );
    let mut forgetful = file::load(&device("image")).unwrap();
    forgetful.forget_files();
    Machine::new(&forgetful).unwrap();
}
