//! Controllers in machines of every kind.

use peerdma::fact::Fact;
use peerdma_sim::blueprint::{Blueprint, CmbStyle, DeviceKind, NamespaceKind, Protection};
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
                protection: Protection::None,
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

#[test]
fn a_buffer_of_the_old_style_is_asked_for_in_the_file_and_survives_being_captured() {
    let file = |cmb: &str| format!("[[bridge]]\nport = {{ device = {{ kind = \"nvme\", cmb = {cmb} }} }}\n");
    let style = |blueprint: &Blueprint| {
        let kind = blueprint.devices.values().next();
        let Some(DeviceKind::Nvme(nvme)) = kind else {
            panic!("{kind:?}");
        };
        nvme.cmb
    };
    for (text, expected, location_bits) in [
        (r#"{ size = "1 MiB" }"#, CmbStyle::V1_4, 0x1f8),
        (r#"{ size = "1 MiB", style = "1.4" }"#, CmbStyle::V1_4, 0x1f8),
        (r#"{ size = "1 MiB", style = "1.2" }"#, CmbStyle::V1_2, 0),
        (
            r#"{ size = "1 MiB", style = "1.2", bar = 2, can = ["rds"] }"#,
            CmbStyle::V1_2,
            0,
        ),
    ] {
        let blueprint = file::load(&file(text)).unwrap();
        let cmb = style(&blueprint).unwrap();
        assert_eq!(
            (cmb.style, cmb.abilities.location_bits),
            (expected, location_bits),
            "{text}"
        );
        let (captured, _) = Blueprint::from_snapshot(&blueprint.snapshot).unwrap();
        assert_eq!(captured, blueprint, "{text}");
        Machine::new(&captured).unwrap();
    }
    for wrong in [
        r#"{ size = "1 MiB", style = "1.3" }"#,
        r#"{ size = "1 MiB", style = "1.2", can = ["rds", "cdmmms"] }"#,
    ] {
        let error = file::load(&file(wrong)).unwrap_err().to_string();
        assert!(error.contains("1.2"), "{error}");
    }
}

/// A machine with one controller, whose registers or configuration space are then changed.
fn captured(change: impl FnOnce(&mut peerdma::snapshot::Function)) -> (Blueprint, String) {
    let text = "[[bridge]]\nport = { device = { kind = \"nvme\", cmb = { size = \"1 MiB\" } } }\n";
    let snapshot = file::load(text).unwrap().snapshot;
    let mut functions = snapshot.functions().to_vec();
    change(functions.last_mut().unwrap());
    let mut warnings = Default::default();
    let snapshot = peerdma::snapshot::Snapshot::new(snapshot.host.clone(), functions, &mut warnings);
    let (blueprint, warnings) = Blueprint::from_snapshot(&snapshot).unwrap();
    let told: Vec<String> = warnings
        .list()
        .iter()
        .map(|warning| warning.what.clone())
        .collect();
    (blueprint, told.join("; "))
}

fn resize(function: &mut peerdma::snapshot::Function, index: u8, bytes: u64) {
    if let Fact::Known(resources) = &mut function.os.resources {
        for resource in resources.iter_mut().filter(|resource| resource.index == index) {
            resource.size_bytes = Fact::Known(bytes);
        }
    }
}

#[test]
fn a_captured_controller_without_room_for_doorbells_becomes_a_card_and_that_is_told() {
    for (bytes, expected) in [(16 << 10, 1), (8 << 10, 1), (4 << 10, 0), (16, 0)] {
        let (blueprint, told) = captured(|function| resize(function, 0, bytes));
        assert_eq!(controllers(&blueprint), expected, "{bytes:#x}: {told}");
        assert_eq!(
            told.contains("no room for the doorbells"),
            expected == 0,
            "{told}"
        );
        Machine::new(&blueprint).unwrap();
    }
}

#[test]
fn a_captured_buffer_that_cannot_be_is_left_out_and_that_is_told() {
    let (blueprint, told) = captured(|function| resize(function, 4, 2048));
    assert_eq!(controllers(&blueprint), 1);
    assert!(told.contains("no controller memory buffer"), "{told}");
    Machine::new(&blueprint).unwrap();
}

/// VID and SSVID of Identify Controller are those of configuration space (Base 5.17.2.1).
#[test]
fn a_controller_calls_its_maker_what_its_configuration_space_does() {
    for (id, vendor, subsystem_vendor) in [("", 0xd3a0, 0xd3a0), ("id = \"144d:a821\", ", 0x144d, 0xd3a0)] {
        let text = format!("[[bridge]]\nport = {{ device = {{ {id}kind = \"nvme\" }} }}\n");
        let page = identify(&file::load(&text).unwrap());
        assert_eq!(
            page[..4],
            [vendor, subsystem_vendor].map(u16::to_le_bytes).concat()
        );
    }
    let (blueprint, _) = captured(|function| {
        let subsystem = peerdma::pci::Id {
            vendor: 0x1028,
            device: 1,
        };
        function.config.subsystem = Fact::Known(Some(subsystem));
    });
    assert_eq!(identify(&blueprint)[2..4], 0x1028_u16.to_le_bytes());
}

/// The first page that Identify gives of a machine's only controller.
fn identify(blueprint: &Blueprint) -> [u8; 4096] {
    const ASQ: u64 = 0x1_0000;
    const ACQ: u64 = 0x2_0000;
    const DATA: u64 = 0x3_0000;
    let mut machine = Machine::new(blueprint).unwrap();
    let bdf = blueprint.snapshot.functions().last().unwrap().bdf;
    let id = machine.fabric().find(bdf).unwrap();
    let registers = machine.fabric().bar(id, 0).unwrap().0;
    for (offset, value) in [
        (0x24, 0x001f_001f),
        (0x28, ASQ as u32),
        (0x30, ACQ as u32),
        (0x14, 0x0046_0001),
    ] {
        machine.cpu_write(registers + offset, &u32::to_le_bytes(value));
    }
    let mut command = [0; 64];
    command[0] = 6;
    command[24..32].copy_from_slice(&DATA.to_le_bytes());
    command[40] = 1;
    machine.cpu_write(ASQ, &command);
    machine.run_until(machine.now().after_ps(1_000_000_000));
    machine.cpu_write(registers + 0x1000, &1_u32.to_le_bytes());
    machine.run_until(machine.now().after_ps(1_000_000_000));
    let mut page = [0; 4096];
    machine.cpu_read(DATA, &mut page);
    page
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
