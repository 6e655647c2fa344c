//! Machines as small trees made by hand: as folders, as archives, and as archives that lie.

use peerdma::addr::Bdf;
use peerdma::fact::{Fact, Unread};
use peerdma::pci::{LinkRate, PortType};
use peerdma::snapshot::{Function, IommuMode, Snapshot, Warnings};
use peerdma_linux::source::{self, SourceError};
use peerdma_linux::tree::{ArchiveError, ArchiveLimits, ArchiveTree};
use peerdma_linux::{KeepConfig, json};
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

const ROOT_PORT: &str = "sys/devices/pci0000:00/0000:00:01.0";
const NVME: &str = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0";
const NO_BAR: &str = "0x0000000000000000 0x0000000000000000 0x0000000000000000\n";

/// Files of a machine with a root port, an NVMe controller below it, and an IOMMU.
fn files() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut add = |path: String, content: &[u8]| files.push((path, content.to_vec()));
    for (folder, id, class) in [
        (ROOT_PORT, "0x1234\n", "0x060400\n"),
        (NVME, "0xa824\n", "0x010802\n"),
    ] {
        add(format!("{folder}/vendor"), b"0x144d\n");
        add(format!("{folder}/device"), id.as_bytes());
        add(format!("{folder}/class"), class.as_bytes());
        add(format!("{folder}/revision"), b"0x01\n");
        add(format!("{folder}/numa_node"), b"1\n");
        add(format!("{folder}/driver_override"), b"(null)\n");
    }
    add(format!("{ROOT_PORT}/resource"), NO_BAR.repeat(7).as_bytes());
    let bar = "0x00000000fe000000 0x00000000fe003fff 0x0000000000140204\n";
    add(
        format!("{NVME}/resource"),
        [bar, &NO_BAR.repeat(6)].concat().as_bytes(),
    );
    for (name, text) in [
        ("current_link_speed", "8.0 GT/s PCIe\n"),
        ("current_link_width", "4\n"),
        ("max_link_speed", "16.0 GT/s PCIe\n"),
        ("max_link_width", "4\n"),
    ] {
        add(format!("{NVME}/{name}"), text.as_bytes());
    }
    add(format!("{NVME}/p2pmem/size"), b"67108864\n");
    add(format!("{NVME}/p2pmem/available"), b"67043328\n");
    add(format!("{NVME}/p2pmem/published"), b"1\n");
    add(format!("{NVME}/nvme/nvme0/address"), b"0000:01:00.0\n");
    add(format!("{ROOT_PORT}/0000:00:01.0:pcie001/uevent"), b"");
    add("sys/kernel/iommu_groups/7/type".into(), b"DMA-FQ\n");
    add(
        "proc/cpuinfo".into(),
        b"processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\n",
    );
    add("proc/version".into(), b"Linux version 6.8.0-1 (gcc) #1 SMP\n");
    add("proc/cmdline".into(), b"quiet iommu=pt\n");
    files
}

/// Links of the same machine.
fn links() -> Vec<(String, String)> {
    let link = |path: &str, target: &str| (path.to_owned(), target.to_owned());
    vec![
        link(
            "sys/bus/pci/devices/0000:00:01.0",
            "../../../devices/pci0000:00/0000:00:01.0",
        ),
        link(
            "sys/bus/pci/devices/0000:01:00.0",
            "../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0",
        ),
        link(&format!("{ROOT_PORT}/subsystem"), "../../../bus/pci"),
        link(
            &format!("{ROOT_PORT}/driver"),
            "../../../bus/pci/drivers/pcieport",
        ),
        link(&format!("{NVME}/subsystem"), "../../../../bus/pci"),
        link(&format!("{NVME}/driver"), "../../../../bus/pci/drivers/nvme"),
        link(
            &format!("{NVME}/iommu_group"),
            "../../../../kernel/iommu_groups/7",
        ),
    ]
}

fn write_folder(root: &Path) {
    for (path, content) in files() {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    for (path, target) in links() {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }
}

/// A tar archive that may hold what no archiver would write.
struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn machine(prefix: &str) -> Self {
        let mut tar = Self::new();
        for (path, content) in files() {
            tar.file(&format!("{prefix}{path}"), &content);
        }
        for (path, target) in links() {
            tar.link(&format!("{prefix}{path}"), &target);
        }
        tar
    }

    fn header(path: &str, kind: tar::EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        let name = &mut header.as_old_mut().name;
        assert!(path.len() <= name.len(), "{path}");
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        header
    }

    fn file(&mut self, path: &str, content: &[u8]) {
        let header = Self::header(path, tar::EntryType::Regular, content.len() as u64);
        self.0.append(&header, content).unwrap();
    }

    fn link(&mut self, path: &str, target: &str) {
        let mut header = Self::header(path, tar::EntryType::Symlink, 0);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        self.0.append(&header, &[][..]).unwrap();
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn read(bytes: &[u8], warnings: &mut Warnings) -> Result<Snapshot, SourceError> {
    source::read(bytes, "test", 0, KeepConfig::Drop, warnings)
}

fn open(path: &Path) -> Snapshot {
    let mut warnings = Warnings::default();
    let snapshot = source::open(path, KeepConfig::Drop, &mut warnings).unwrap();
    assert_eq!(warnings.list(), []);
    snapshot
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn function<'a>(snapshot: &'a Snapshot, bdf: &str) -> &'a Function {
    let position = snapshot.position(bdf.parse().unwrap()).unwrap();
    &snapshot.functions()[position]
}

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
fn an_archive_reads_as_its_folder_does_however_it_is_packed() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path());
    let expected = open(folder.path());
    for prefix in ["", "./", "box/", "a/b/c/"] {
        let tar = Tar::machine(prefix).finish();
        for bytes in [tar.clone(), gzip(&tar)] {
            let mut warnings = Warnings::default();
            assert_eq!(read(&bytes, &mut warnings).unwrap(), expected, "{prefix}");
            assert_eq!(warnings.list(), [], "{prefix}");
        }
    }
    let mut text = Vec::new();
    json::write(&expected, &mut text).unwrap();
    assert_eq!(read(&gzip(&text), &mut Warnings::default()).unwrap(), expected);
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
fn members_that_lead_out_of_an_archive_are_skipped_with_a_warning() {
    let mut tar = Tar::machine("box/");
    tar.file("../sys/bus/pci/devices/0000:05:00.0/vendor", b"0x1\n");
    tar.file("/sys/bus/pci/devices/0000:06:00.0/vendor", b"0x1\n");
    tar.file("box/../../sys/bus/pci/devices/0000:07:00.0/vendor", b"0x1\n");
    tar.link(
        "box/sys/bus/pci/devices/0000:08:00.0",
        "/sys/devices/pci0000:00/0000:08:00.0",
    );
    tar.link(
        "box/sys/bus/pci/devices/0000:09:00.0",
        "../../../../../../devices/0000:09:00.0",
    );
    // What is there cannot be turned into something else.
    tar.file("box/sys/bus/pci/devices/0000:00:01.0/vendor", b"0x1\n");
    let mut warnings = Warnings::default();
    let snapshot = read(&tar.finish(), &mut warnings).unwrap();
    assert_eq!(snapshot.functions().len(), 2);
    assert_eq!(warnings.list().len(), 6, "{warnings:?}");
}

#[test]
fn links_in_a_circle_end() {
    let mut tar = Tar::machine("");
    tar.link("sys/bus/pci/devices/0000:0a:00.0", "0000:0b:00.0");
    tar.link("sys/bus/pci/devices/0000:0b:00.0", "0000:0a:00.0");
    let mut warnings = Warnings::default();
    let snapshot = read(&tar.finish(), &mut warnings).unwrap();
    assert_eq!(snapshot.functions().len(), 4);
    assert!(!warnings.list().is_empty());
}

#[test]
fn an_archive_cut_short_is_an_error_with_the_offset() {
    let tar = Tar::machine("").finish();
    for length in [700, 1100, tar.len() - 1500] {
        match read(&tar[..length], &mut Warnings::default()) {
            Err(SourceError::Archive {
                source: ArchiveError::Broken { offset, .. },
                ..
            }) => assert_eq!(offset, length as u64),
            other => panic!("{length}: {other:?}"),
        }
    }
    let packed = gzip(&tar);
    let error = read(&packed[..packed.len() / 2], &mut Warnings::default()).unwrap_err();
    assert!(error.to_string().contains("damaged or cut short"), "{error}");
}

#[test]
fn sizes_that_a_header_only_claims_take_no_memory() {
    for kind in [
        tar::EntryType::Regular,
        tar::EntryType::GNULongName,
        tar::EntryType::XHeader,
    ] {
        for claimed in [1 << 33, (1 << 33) - 512] {
            let header = Tar::header("sys/bus/pci/devices/0000:00:00.0/config", kind, claimed);
            let mut bytes = header.as_bytes().to_vec();
            bytes.extend([0u8; 4096]);
            assert!(read(&bytes, &mut Warnings::default()).is_err());
        }
    }
}

#[test]
fn an_archive_that_goes_on_for_ever_ends_at_a_limit() {
    let header = Tar::header(
        "sys/bus/pci/devices/0000:00:00.0/config",
        tar::EntryType::Regular,
        1 << 33,
    );
    let endless = std::io::Read::chain(&header.as_bytes()[..], std::io::repeat(0));
    let limits = ArchiveLimits {
        read_bytes: 1 << 20,
        ..ArchiveLimits::default()
    };
    let error = ArchiveTree::read(endless, limits, &mut Warnings::default()).unwrap_err();
    assert!(matches!(error, ArchiveError::TooLarge { .. }), "{error}");

    let mut many = Tar::new();
    for index in 0..200u32 {
        many.file(
            &format!("sys/bus/pci/devices/{index:04x}:00:00.0/vendor"),
            b"0x1\n",
        );
    }
    let limits = ArchiveLimits {
        members: 100,
        ..ArchiveLimits::default()
    };
    let error = ArchiveTree::read(&many.finish()[..], limits, &mut Warnings::default()).unwrap_err();
    assert!(error.to_string().contains("100 members"), "{error}");
}

#[test]
fn a_long_path_is_put_together_from_its_extended_header() {
    let deep = "x".repeat(90);
    let path = format!("{deep}/{deep}/sys/bus/pci/devices/0000:00:00.0/vendor");
    let mut tar = Tar::new();
    let mut header = tar::Header::new_gnu();
    header.set_size(7);
    header.set_mode(0o644);
    header.set_cksum();
    tar.0.append_data(&mut header, &path, &b"0x8086\n"[..]).unwrap();
    let snapshot = read(&tar.finish(), &mut Warnings::default()).unwrap();
    assert_eq!(snapshot.functions().len(), 1);
}

#[test]
fn what_is_not_understood_is_refused_from_its_start() {
    let zeros = || std::io::repeat(0);
    let error = source::read(zeros(), "zeros", 0, KeepConfig::Drop, &mut Warnings::default()).unwrap_err();
    assert!(matches!(error, SourceError::Unrecognised { .. }), "{error}");
    assert!(error.to_string().contains("offset 0"), "{error}");
    let text = std::io::Read::chain(&b"{\"peerdma_snapshot\": 1,"[..], zeros());
    let error = source::read(text, "text", 0, KeepConfig::Drop, &mut Warnings::default()).unwrap_err();
    assert!(
        matches!(error, SourceError::NotText { offset: 23, .. }),
        "{error}"
    );
    for (bytes, part) in [
        (&b""[..], "is empty"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"hello\n", "starts with \"hello\\n\""),
        (b"\x1f\x8b\x08\x00", "gzip"),
    ] {
        let error = read(bytes, &mut Warnings::default()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let twice = read(&gzip(&gzip(b"{}")), &mut Warnings::default()).unwrap_err();
    assert!(twice.to_string().contains("gzip once more"), "{twice}");
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

/// Starts that lead past recognition.
fn start() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        Just(b"{\"peerdma_snapshot\": 1, ".to_vec()),
        Just(b"BZh9".to_vec()),
        Just(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".to_vec()),
        Just(b"00:00.0 Host bridge: ".to_vec()),
        Just(
            Tar::header(
                "sys/bus/pci/devices/0000:00:00.0/config",
                tar::EntryType::Regular,
                64
            )
            .as_bytes()
            .to_vec()
        ),
        Just(Tar::header("x", tar::EntryType::XHeader, 600).as_bytes().to_vec()),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(start in start(), rest in prop::collection::vec(any::<u8>(), 0..2048)) {
        let bytes = [start, rest].concat();
        let _ = read(&bytes, &mut Warnings::default());
    }

    #[test]
    fn no_damage_to_an_archive_makes_a_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = Tar::machine("").finish();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read(&bytes, &mut Warnings::default());
    }
}
