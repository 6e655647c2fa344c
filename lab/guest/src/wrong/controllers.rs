//! The controllers of the guest, by the number of their disk, and who drives them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const DEVICES: &str = "/sys/bus/pci/devices";
const PATIENCE: Duration = Duration::from_secs(30);

/// One controller.
#[derive(Debug, Clone)]
pub(super) struct Controller {
    pub(super) address: String,
    /// Of its disk: 1 for `disk1`.
    pub(super) number: u64,
}

/// All of them, in the order of their disks; the kernel's driver has to have them.
pub(super) fn all() -> Result<Vec<Controller>, String> {
    const CLASS: &str = "/sys/class/nvme";
    let mut found = Vec::new();
    for entry in fs::read_dir(CLASS)
        .map_err(|error| format!("{CLASS}: {error}"))?
        .flatten()
    {
        let text = |name: &str| {
            let path = entry.path().join(name);
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let serial = text("serial")?;
        let number = serial
            .trim()
            .strip_prefix("disk")
            .and_then(|number| number.parse().ok());
        found.push(Controller {
            address: text("address")?.trim().to_owned(),
            number: number.ok_or_else(|| format!("`{serial}` is the number of no disk"))?,
        });
    }
    found.sort_by_key(|one| one.number);
    Ok(found)
}

/// Waits until something is so.
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > end {
            return Err(format!("after {} s still not: {what}", PATIENCE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

impl Controller {
    pub(super) fn folder(&self) -> PathBuf {
        Path::new(DEVICES).join(&self.address)
    }

    /// The driver that has it.
    pub(super) fn driver(&self) -> Option<String> {
        let link = fs::read_link(self.folder().join("driver")).ok()?;
        Some(link.file_name()?.to_string_lossy().into_owned())
    }

    /// The block device that the kernel's driver makes of it.
    pub(super) fn block(&self) -> Result<String, String> {
        let mut block = None;
        until(&format!("{} has a block device", self.address), || {
            let names = fs::read_dir(self.folder().join("nvme")).ok();
            let controller = names.and_then(|mut names| names.next()?.ok());
            let inner = controller.and_then(|controller| fs::read_dir(controller.path()).ok());
            block = inner.and_then(|inner| {
                let names = inner
                    .flatten()
                    .map(|entry| entry.file_name().to_string_lossy().into_owned());
                let mut names = names.filter(|name| name.starts_with("nvme"));
                names.next()
            });
            block
                .as_ref()
                .is_some_and(|name| Path::new("/dev").join(name).exists())
        })?;
        Ok(format!("/dev/{}", block.unwrap_or_default()))
    }

    /// The file of its IOMMU group.
    pub(super) fn group_file(&self) -> Result<String, String> {
        let link = self.folder().join("iommu_group");
        let group = fs::read_link(&link).map_err(|error| format!("{}: {error}", link.display()))?;
        let number = group
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(format!("/dev/vfio/{number}"))
    }

    /// The file of its own, where the kernel has such.
    pub(super) fn device_file(&self) -> Option<String> {
        let name = fs::read_dir(self.folder().join("vfio-dev"))
            .ok()?
            .next()?
            .ok()?
            .file_name();
        Some(format!("/dev/vfio/devices/{}", name.to_string_lossy()))
    }

    /// Gives it to `driver`, whoever has it.
    pub(super) fn give_to(&self, driver: &str) -> Result<(), String> {
        until(&format!("{} is there", self.address), || self.folder().exists())?;
        let write = |path: PathBuf, text: &str| {
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        write(self.folder().join("driver_override"), driver)?;
        match self.driver() {
            Some(now) if now == driver => return Ok(()),
            Some(_) => write(self.folder().join("driver/unbind"), &self.address)?,
            None => {}
        }
        write(PathBuf::from("/sys/bus/pci/drivers_probe"), &self.address)?;
        until(&format!("{} is bound to {driver}", self.address), || {
            self.driver().as_deref() == Some(driver)
        })
    }
}
