//! Machines as small folders made by hand.

mod support;

use peerdma::addr::{Address, Bdf, BusAddr, PhysAddr};
use peerdma::fact::{Fact, Unread};
use peerdma::pci::{LinkRate, PortType};
use peerdma::snapshot::{IommuMode, Warnings};
use peerdma_linux::KeepConfig;
use peerdma_linux::source;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use support::{NVME, ROOT_PORT, files, function, open, write_folder};

#[test]
fn every_fact_of_a_tree_is_read() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path());
    let snapshot = open(folder.path());

    let above: Bdf = "0000:00:01.0".parse().unwrap();
    let nvme = function(&snapshot, "0000:01:00.0");
    assert_eq!(nvme.upstream, Fact::Known(Some(above)));
    assert_eq!(nvme.id().unwrap().to_string(), "144d:a824");
    assert_eq!(nvme.class().unwrap().bits(), 0x010802);
    assert_eq!(nvme.config.revision, Fact::Known(1));
    assert_eq!(nvme.config.acs, Fact::NOT_IN_SOURCE);
    assert_eq!(nvme.os.numa_node, Fact::Known(Some(1)));
    assert_eq!(nvme.os.driver, Fact::Known(Some("nvme".into())));
    assert_eq!(nvme.os.names, ["nvme0"]);
    let group = nvme.os.iommu_group.clone().known().unwrap().unwrap();
    assert_eq!(
        (group.number, group.domain_type),
        (7, Fact::Known("DMA-FQ".into()))
    );
    let link = nvme.link().known().unwrap().unwrap();
    assert_eq!((link.now.rate, link.max.rate), (LinkRate(3), LinkRate(4)));
    assert_eq!((link.now.width, link.max.width), (4, 4));
    let p2pmem = nvme.os.p2pmem.known().unwrap().unwrap();
    assert_eq!((p2pmem.size_bytes, p2pmem.published), (64 << 20, true));
    let bars = nvme.bars().known().unwrap();
    assert_eq!(bars[0].size_bytes, Fact::Known(0x4000));

    let port = function(&snapshot, "0000:00:01.0");
    assert_eq!(port.upstream, Fact::Known(None));
    assert_eq!(port.port_type(), Fact::Known(Some(PortType::ROOT_PORT)));
    // The kernel shows links and groups elsewhere in this tree: here there are none.
    assert_eq!(port.os.link, Fact::Known(None));
    assert_eq!(port.os.iommu_group, Fact::Known(None));
    assert_eq!(port.os.p2pmem, Fact::Known(None));
    assert_eq!(port.os.physical_function, Fact::Known(None));

    // The group's word outweighs the command line's.
    assert_eq!(snapshot.host.iommu, Fact::Known(IommuMode::Translating));
    assert!(snapshot.host.cpu.as_ref().known().unwrap().is_amd_zen());
    assert_eq!(snapshot.host.kernel.known().unwrap().to_string(), "6.8");

    let ram = snapshot.host.ram.as_ref().known().unwrap();
    assert_eq!(ram.len(), 1);
    let bridges = snapshot.host.bridges.as_ref().known().unwrap();
    let [bridge] = &bridges[..] else {
        panic!("one root bus, {} host bridges", bridges.len());
    };
    let windows = bridge.windows.as_ref().known().unwrap();
    assert_eq!(windows.len(), 1);
    assert_eq!(windows[0].bus.first(), BusAddr::from_u64(0xfe00_0000));
    assert_eq!(windows[0].bus.last(), BusAddr::from_u64(0xfebf_ffff));
    assert_eq!(windows[0].phys, PhysAddr::from_u64(0xfe00_0000));
    assert_eq!(bridge.inbound_offset, Fact::Known(0));
    assert_eq!(bridge.forwarding, Fact::NOT_IN_SOURCE);
}

#[test]
fn without_the_privilege_windows_and_ram_are_unknown_for_want_of_it() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path());
    let hidden = "00000000-00000000 : System RAM\n00000000-00000000 : PCI Bus 0000:00\n";
    fs::write(folder.path().join("proc/iomem"), hidden).unwrap();
    let snapshot = open(folder.path());
    assert_eq!(snapshot.host.bridges, Fact::Unknown(Unread::AccessDenied));
    assert_eq!(snapshot.host.ram, Fact::Unknown(Unread::AccessDenied));
}

#[test]
fn a_copy_of_chosen_files_proves_nothing_by_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path());
    fs::remove_file(folder.path().join(ROOT_PORT).join("local_cpulist")).unwrap();
    fs::remove_dir_all(folder.path().join(ROOT_PORT).join("0000:00:01.0:pcie001")).unwrap();
    let snapshot = open(folder.path());
    let port = function(&snapshot, "0000:00:01.0");
    assert_eq!(port.os.link, Fact::NOT_IN_SOURCE);
    assert_eq!(port.port_type(), Fact::NOT_IN_SOURCE);
    assert_eq!(port.os.p2pmem, Fact::NOT_IN_SOURCE);
}

#[test]
fn the_root_may_be_named_as_any_of_its_folders() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("box");
    write_folder(&root);
    let expected = open(&root);
    for path in [folder.path(), &root.join("sys"), &root.join("sys/bus/pci")] {
        assert_eq!(open(path), expected, "{}", path.display());
    }
    // Without the list of functions the nested folders tell the same.
    fs::remove_dir_all(root.join("sys/bus")).unwrap();
    assert_eq!(open(&root), expected);
}

#[test]
fn of_several_machines_none_is_chosen() {
    let folder = tempfile::tempdir().unwrap();
    for machine in ["one", "two"] {
        write_folder(&folder.path().join(machine));
    }
    let error = source::open(folder.path(), KeepConfig::Drop, &mut Warnings::default()).unwrap_err();
    assert!(error.to_string().contains("several folders"), "{error}");
}

#[test]
fn a_tree_copied_without_links_leaves_the_bridge_above_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let devices = folder.path().join("sys/bus/pci/devices");
    for (path, content) in files() {
        if let Some(file) = path.strip_prefix(NVME) {
            let path = devices.join("0000:01:00.0").join(&file[1..]);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
    let snapshot = open(folder.path());
    let nvme = function(&snapshot, "0000:01:00.0");
    assert_eq!(nvme.upstream, Fact::NOT_IN_SOURCE);
    assert_eq!(nvme.os.driver, Fact::NOT_IN_SOURCE);
    assert_eq!(nvme.os.iommu_group, Fact::NOT_IN_SOURCE);
    assert_eq!(snapshot.host.iommu, Fact::NOT_IN_SOURCE);
}

#[test]
fn what_may_not_be_read_is_unknown_for_that_reason() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path());
    let file = folder.path().join(NVME).join("resource");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&file).is_ok() {
        eprintln!("skipped: this user may read everything");
        return;
    }
    let snapshot = open(folder.path());
    let nvme = function(&snapshot, "0000:01:00.0");
    assert_eq!(nvme.os.resources, Fact::Unknown(Unread::AccessDenied));
}

#[test]
fn a_configuration_space_filled_up_with_zeros_is_not_taken_for_whole() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path());
    let mut config = vec![0u8; 4096];
    config[..4].copy_from_slice(&[0x4d, 0x14, 0x24, 0xa8]);
    config[0x06] = 0x10;
    config[0x08..0x0c].copy_from_slice(&[0, 2, 8, 1]);
    config[0x34] = 0x40;
    fs::write(folder.path().join(NVME).join("config"), &config).unwrap();
    let snapshot = open(folder.path());
    let nvme = function(&snapshot, "0000:01:00.0");
    assert_eq!(nvme.config.acs, Fact::Unknown(Unread::ConfigCut { bytes: 64 }));
}

#[test]
fn of_256_bytes_a_conventional_host_bridge_is_whole_and_a_pcie_function_cut() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path());
    let mut config = vec![0u8; 256];
    config[..4].copy_from_slice(&[0x86, 0x80, 0x37, 0x12]);
    config[0x0b] = 6;
    fs::write(folder.path().join(NVME).join("config"), &config).unwrap();
    let host_bridge = open(folder.path());
    config[0x06] = 0x10;
    config[0x34] = 0x40;
    config[0x40] = 0x10;
    fs::write(folder.path().join(NVME).join("config"), &config).unwrap();
    let pcie = open(folder.path());
    let acs = |snapshot| function(snapshot, "0000:01:00.0").config.acs.clone();
    assert_eq!(acs(&host_bridge), Fact::Known(None));
    assert_eq!(acs(&pcie), Fact::Unknown(Unread::ConfigCut { bytes: 256 }));
}

#[test]
fn names_are_found_in_every_layout_that_kernels_have_used() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path());
    let port = folder.path().join(ROOT_PORT);
    for path in [
        "net/eth10",
        "net/eth2",
        "drm/card0",
        "virtio3/block/vda",
        "infiniband/mlx5_0",
    ] {
        fs::create_dir_all(port.join(path)).unwrap();
    }
    symlink("../../../class/net/eth7", port.join("net:eth7")).unwrap();
    let snapshot = open(folder.path());
    assert_eq!(
        function(&snapshot, "0000:00:01.0").os.names,
        ["eth7", "eth2", "eth10", "mlx5_0", "card0", "vda"]
    );
}

#[test]
fn a_virtual_function_is_named_by_its_files() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path());
    let mut config = vec![0u8; 256];
    config[..4].fill(0xff);
    fs::write(folder.path().join(NVME).join("config"), &config).unwrap();
    symlink("../0000:00:01.0", folder.path().join(NVME).join("physfn")).unwrap();
    let snapshot = open(folder.path());
    let virtual_function = function(&snapshot, "0000:01:00.0");
    assert_eq!(virtual_function.id().unwrap().to_string(), "144d:a824");
    let physical = "0000:00:01.0".parse().unwrap();
    assert_eq!(virtual_function.os.physical_function, Fact::Known(Some(physical)));
}

#[test]
fn a_folder_whose_links_lead_elsewhere_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path());
    let devices = folder.path().join("sys/bus/pci/devices");
    symlink(
        "/sys/devices/pci0000:00/0000:00:1f.0",
        devices.join("0000:00:1f.0"),
    )
    .unwrap();
    symlink("../../../../../../x/0000:00:1e.0", devices.join("0000:00:1e.0")).unwrap();
    symlink("0000:00:1d.0", devices.join("0000:00:1d.0")).unwrap();
    fs::write(devices.join("README"), "").unwrap();
    fs::remove_file(folder.path().join(NVME).join("vendor")).unwrap();
    symlink("/etc/hostname", folder.path().join(NVME).join("vendor")).unwrap();
    let mut warnings = Warnings::default();
    let snapshot = source::open(folder.path(), KeepConfig::Drop, &mut warnings).unwrap();
    assert_eq!(snapshot.functions().len(), 3, "{warnings:?}");
    assert_eq!(function(&snapshot, "0000:01:00.0").id(), None);
    let circle = function(&snapshot, "0000:00:1d.0");
    assert_eq!(circle.upstream, Fact::Unknown(Unread::Contradictory));
    assert!(warnings.list().len() >= 4, "{warnings:?}");
}

#[test]
fn a_missing_file_and_an_empty_folder_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut warnings = Warnings::default();
    let error = source::open(&folder.path().join("none"), KeepConfig::Drop, &mut warnings).unwrap_err();
    assert!(error.to_string().contains("check the path"), "{error}");
    let error = source::live(folder.path(), KeepConfig::Drop, &mut warnings).unwrap_err();
    assert!(error.to_string().contains("sys/bus/pci/devices"), "{error}");
}
