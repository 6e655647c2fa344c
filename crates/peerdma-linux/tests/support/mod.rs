//! One small machine by hand, as files and links: a root port, an NVMe controller below it, an IOMMU.

#![allow(dead_code, reason = "every test file takes what it needs")]
#![allow(unreachable_pub, reason = "every test file is a crate of its own")]

use peerdma::snapshot::{Function, Snapshot, Warnings};
use peerdma_linux::KeepConfig;
use peerdma_linux::source::{self, SourceError};
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

pub const ROOT_PORT: &str = "sys/devices/pci0000:00/0000:00:01.0";
pub const NVME: &str = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0";
pub const NO_BAR: &str = "0x0000000000000000 0x0000000000000000 0x0000000000000000\n";

/// Files of a machine with a root port, an NVMe controller below it, and an IOMMU.
pub fn files() -> Vec<(String, Vec<u8>)> {
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
        add(format!("{folder}/local_cpulist"), b"0-7\n");
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
    // Longer than one read gives: the kernel hands out a page at a time.
    let kernel = "  00200000-00200fff : Kernel code\n".repeat(300);
    let iomem = [
        "00100000-3fffffff : System RAM\n",
        &kernel,
        "fe000000-febfffff : PCI Bus 0000:00\n  fe000000-fe0fffff : PCI Bus 0000:01\n",
    ];
    add("proc/iomem".into(), iomem.concat().as_bytes());
    files
}

/// Links of the same machine.
pub fn links() -> Vec<(String, String)> {
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

pub fn write_folder(root: &Path) {
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
pub struct Tar(pub tar::Builder<Vec<u8>>);

impl Tar {
    pub fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub fn machine(prefix: &str) -> Self {
        let mut tar = Self::new();
        for (path, content) in files() {
            tar.file(&format!("{prefix}{path}"), &content);
        }
        for (path, target) in links() {
            tar.link(&format!("{prefix}{path}"), &target);
        }
        tar
    }

    pub fn header(path: &str, kind: tar::EntryType, size: u64) -> tar::Header {
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

    pub fn file(&mut self, path: &str, content: &[u8]) {
        let header = Self::header(path, tar::EntryType::Regular, content.len() as u64);
        self.0.append(&header, content).unwrap();
    }

    pub fn link(&mut self, path: &str, target: &str) {
        let mut header = Self::header(path, tar::EntryType::Symlink, 0);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        self.0.append(&header, &[][..]).unwrap();
    }

    pub fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

pub fn read(bytes: &[u8], warnings: &mut Warnings) -> Result<Snapshot, SourceError> {
    source::read(bytes, "test", 0, KeepConfig::Drop, warnings)
}

pub fn open(path: &Path) -> Snapshot {
    let mut warnings = Warnings::default();
    let snapshot = source::open(path, KeepConfig::Drop, &mut warnings).unwrap();
    assert_eq!(warnings.list(), []);
    snapshot
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn function<'a>(snapshot: &'a Snapshot, bdf: &str) -> &'a Function {
    let position = snapshot.position(bdf.parse().unwrap()).unwrap();
    &snapshot.functions()[position]
}
