//! Where the kernel shows a device to VFIO: what sysfs says of it, and the files below `/dev`.

use crate::sysfs::{registers, resource};
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::pci::Bar;
use peerdma::snapshot::Resource;
use std::fs;
use std::path::{Path, PathBuf};

/// The two folders in which a kernel shows its devices.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) sys: PathBuf,
    pub(super) dev: PathBuf,
}

/// A device of an IOMMU group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name: an address, unless it is no PCI device.
    pub name: String,
    /// The driver that it is bound to.
    pub driver: Option<String>,
}

/// More members than a group has.
const MOST_MEMBERS: usize = 1 << 12;

impl Default for Places {
    fn default() -> Self {
        Self {
            sys: "/sys".into(),
            dev: "/dev".into(),
        }
    }
}

impl Places {
    /// The folder of a function.
    pub(super) fn function(&self, bdf: Bdf) -> PathBuf {
        self.sys.join("bus/pci/devices").join(bdf.to_string())
    }

    /// The driver that a function is bound to.
    pub(super) fn driver(&self, bdf: Bdf) -> Option<String> {
        target(&self.function(bdf).join("driver"))
    }

    /// The number of a function's IOMMU group; nothing without an IOMMU.
    pub(super) fn group(&self, bdf: Bdf) -> Option<u32> {
        target(&self.function(bdf).join("iommu_group"))?.parse().ok()
    }

    /// All devices of a group.
    pub(super) fn members(&self, group: u32) -> Vec<Member> {
        let folder = self.sys.join(format!("kernel/iommu_groups/{group}/devices"));
        let mut members: Vec<_> = names(&folder)
            .map(|name| Member {
                driver: target(&folder.join(&name).join("driver")),
                name,
            })
            .collect();
        members.sort_by(|one, other| one.name.cmp(&other.name));
        members
    }

    /// Those of a group that keep it from user space: bound to a driver that does DMA of its own. Drivers of bridges do none.
    pub(super) fn obstacles(&self, group: u32) -> Vec<Member> {
        let mut members = self.members(group);
        members.retain(|member| match member.driver.as_deref() {
            None | Some("pcieport" | "shpchp" | "pci-stub") => false,
            Some(driver) => !is_vfio(driver) && !self.is_in_vfio(&member.name),
        });
        members
    }

    /// The name of a function among VFIO's own devices (`vfio0`); nothing where no driver of VFIO has it, or on kernels before 6.1.
    pub(super) fn vfio_name(&self, bdf: Bdf) -> Option<String> {
        names(&self.function(bdf).join("vfio-dev")).find(|name| name.starts_with("vfio"))
    }

    /// Does a driver of VFIO have this function?
    pub(super) fn is_bound(&self, bdf: Bdf) -> bool {
        self.vfio_name(bdf).is_some() || self.driver(bdf).as_deref().is_some_and(is_vfio)
    }

    fn is_in_vfio(&self, name: &str) -> bool {
        self.sys
            .join("bus/pci/devices")
            .join(name)
            .join("vfio-dev")
            .exists()
    }

    /// Where the CPU sees a function's BARs.
    pub(super) fn resources(&self, bdf: Bdf) -> Vec<Resource> {
        let text = fs::read(self.function(bdf).join("resource")).unwrap_or_default();
        match resource::parse(&text) {
            Fact::Known(resources) => resources,
            Fact::Unknown(_) => Vec::new(),
        }
    }

    /// What a function's BAR registers hold: the kernel shows them to everybody.
    pub(super) fn registers(&self, bdf: Bdf) -> Vec<Bar> {
        registers::bars(&self.function(bdf))
    }

    /// `/dev/vfio/vfio`: where containers come from.
    pub(super) fn container(&self) -> PathBuf {
        self.dev.join("vfio/vfio")
    }

    /// `/dev/vfio/NUMBER`.
    pub(super) fn group_file(&self, group: u32) -> PathBuf {
        self.dev.join(format!("vfio/{group}"))
    }

    /// `/dev/iommu`.
    pub(super) fn iommu(&self) -> PathBuf {
        self.dev.join("iommu")
    }

    /// `/dev/vfio/devices/vfioN` of a function; nothing where the kernel has no such file.
    pub(super) fn device_file(&self, bdf: Bdf) -> Option<PathBuf> {
        let file = self.dev.join("vfio/devices").join(self.vfio_name(bdf)?);
        file.exists().then_some(file)
    }
}

fn is_vfio(driver: &str) -> bool {
    driver.starts_with("vfio") || driver.ends_with("vfio_pci") || driver.ends_with("vfio-pci")
}

/// The last part of where a link leads.
fn target(link: &Path) -> Option<String> {
    let target = fs::read_link(link).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).ok();
    let entries = entries.into_iter().flatten().take(MOST_MEMBERS);
    entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
}
