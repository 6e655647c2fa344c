//! A machine as a folder, and hands that do to it what Linux would, until a step fails.

use super::super::{Hands, Live, System};
use peerdma::addr::Bdf;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

pub(super) const NVME: &str = "0000:03:00.0";
pub(super) const OTHER: &str = "0000:03:00.1";
pub(super) const NIC: &str = "0000:05:00.0";
pub(super) const BRIDGE: &str = "0000:00:02.0";

pub(super) fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

/// An NVMe controller and another function in group 7, with the bridge above them, and a network adapter in group 8.
pub(super) struct Fake {
    folder: tempfile::TempDir,
    pub(super) system: System,
    /// Which call fails, counted from 0.
    pub(super) fails_at: Vec<usize>,
    pub(super) calls: usize,
    /// Drivers that take no function, though the write succeeds.
    pub(super) refusing: Option<&'static str>,
    pub(super) claimed: Vec<&'static str>,
}

impl Fake {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fake = Self {
            system: System::new(folder.path()),
            folder,
            fails_at: Vec::new(),
            calls: 0,
            refusing: None,
            claimed: Vec::new(),
        };
        fake.function(BRIDGE, "0x060400", Some("pcieport"), 7);
        fake.function(NVME, "0x010802", Some("nvme"), 7);
        fake.function(OTHER, "0x010802", Some("nvme"), 7);
        fake.function(NIC, "0x020000", None, 8);
        fake.file("sys/bus/pci/drivers/vfio-pci/bind", "");
        fake.file("proc/sys/kernel/random/boot_id", "this-boot\n");
        fake.file("proc/self/mountinfo", "22 1 0:20 / /proc rw - proc proc rw\n");
        fake.file("proc/swaps", "Filename Type Size Used Priority\n");
        fake.block("nvme/nvme0", "nvme0n1", "259:0");
        fake.block("nvme/nvme0/nvme0n1", "nvme0n1p1", "259:1");
        fake.file(&format!("{}/net/eth0/flags", home(NIC)), "0x1002\n");
        fake.link(
            &format!("{}/net/eth0/subsystem", home(NIC)),
            "../../../../../class/net",
        );
        fake
    }

    fn function(&self, at: &str, class: &str, driver: Option<&str>, group: u32) {
        let home = home(at);
        self.file(&format!("{home}/class"), &format!("{class}\n"));
        self.file(&format!("{home}/driver_override"), "(null)\n");
        self.link(
            &format!("sys/bus/pci/devices/{at}"),
            &format!("../../../devices/pci0000:00/{at}"),
        );
        self.link(
            &format!("{home}/iommu_group"),
            &format!("../../../kernel/iommu_groups/{group}"),
        );
        self.link(
            &format!("sys/kernel/iommu_groups/{group}/devices/{at}"),
            &format!("../../../../devices/pci0000:00/{at}"),
        );
        if let Some(driver) = driver {
            self.file(&format!("sys/bus/pci/drivers/{driver}/bind"), "");
            self.link(
                &format!("{home}/driver"),
                &format!("../../../bus/pci/drivers/{driver}"),
            );
        }
    }

    /// A block device of the NVMe controller.
    fn block(&self, above: &str, name: &str, number: &str) {
        let folder = format!("{}/{above}/{name}", home(NVME));
        self.file(&format!("{folder}/dev"), &format!("{number}\n"));
        self.file(
            &format!("{folder}/uevent"),
            &format!("MAJOR=259\nDEVNAME={name}\n"),
        );
        self.link(&format!("{folder}/subsystem"), "../../../../../../class/block");
        fs::create_dir_all(self.system.path(format!("{folder}/holders"))).unwrap();
    }

    pub(super) fn file(&self, path: &str, content: &str) {
        let path = self.system.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(super) fn link(&self, path: &str, target: &str) {
        let path = self.system.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    pub(super) fn state(&self) -> PathBuf {
        self.system.path("run/peerdma/bind")
    }

    pub(super) fn driver(&self, at: &str) -> Option<String> {
        self.system.link_name(format!("{}/driver", home(at)))
    }

    /// Every file and link of the machine; folders that are empty do not count.
    pub(super) fn everything(&self) -> BTreeMap<PathBuf, String> {
        let mut all = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let kind = path.symlink_metadata().unwrap().file_type();
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_symlink() {
                    let target = fs::read_link(&path).unwrap().display().to_string();
                    all.insert(path, target);
                } else {
                    let content = fs::read_to_string(&path).unwrap();
                    all.insert(path, content);
                }
            }
        }
        all
    }

    fn count(&mut self) -> io::Result<()> {
        let now = self.calls;
        self.calls += 1;
        match self.fails_at.contains(&now) {
            true => Err(io::Error::from_raw_os_error(5)),
            false => Ok(()),
        }
    }
}

/// A function's own folder.
pub(super) fn home(at: &str) -> String {
    format!("sys/devices/pci0000:00/{at}")
}

impl Hands for Fake {
    /// As drivers/base/bus.c and drivers/base/driver.c do.
    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        const ENODEV: i32 = 19;
        self.count()?;
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name == "driver_override" {
            let kept = if text == "\n" { "(null)\n" } else { &text };
            return fs::write(path, kept);
        }
        let at = text.trim_end();
        let driver = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let link = self.system.path(format!("{}/driver", home(at)));
        let current = self.driver(at);
        match name {
            "unbind" if current.as_deref() == Some(driver) => fs::remove_file(link),
            "bind" if current.is_none() => {
                let only = self.system.text(format!("{}/driver_override", home(at)));
                let only = only.filter(|only| only != "(null)");
                match only.as_deref().unwrap_or(driver) == driver && path.parent().unwrap().is_dir() {
                    true if self.refusing == Some(driver) => Ok(()),
                    true => symlink(format!("../../../bus/pci/drivers/{driver}"), link),
                    false => Err(io::Error::from_raw_os_error(ENODEV)),
                }
            }
            _ => Err(io::Error::from_raw_os_error(ENODEV)),
        }
    }

    fn keep(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.count()?;
        Live.keep(path, bytes)
    }

    fn forget(&mut self, path: &Path) -> io::Result<()> {
        self.count()?;
        Live.forget(path)
    }

    fn is_claimed(&mut self, node: &Path, _: &str) -> io::Result<bool> {
        let name = node.file_name().unwrap().to_str().unwrap();
        Ok(self.claimed.contains(&name))
    }
}
