//! Where sysfs has a block device: the PCI function behind it, its queue, and the devices that share its blocks.
//!
//! Read for [`super::device`]. Linux: Documentation/ABI/stable/sysfs-block.

use peerdma::addr::Bdf;
use std::path::{Path, PathBuf};

/// In which sysfs counts.
const SECTOR_BYTES: u64 = 512;

/// A block device in sysfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its name: `nvme0n1p1`.
    pub(super) name: String,
    /// The folder of the whole disk.
    disk: PathBuf,
    /// Its own folder.
    folder: PathBuf,
}

/// Who moves a disk's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
    /// Linux's nvme-pci, directly, without a layer between: its queues take p2pmem (`BLK_FEAT_PCI_P2PDMA`, drivers/nvme/host/core.c).
    NvmePci,
    /// Any other.
    Other,
}

impl Place {
    /// Device `major:minor` in the sysfs at `sys`.
    pub(super) fn of(sys: &Path, major: u32, minor: u32) -> Option<Self> {
        Self::at(&sys.join(format!("dev/block/{major}:{minor}")))
    }

    /// The device with this folder in sysfs, perhaps by a link to it.
    fn at(folder: &Path) -> Option<Self> {
        let folder = folder.canonicalize().ok()?;
        let name = folder.file_name()?.to_str()?.to_owned();
        let disk = match folder.join("partition").exists() {
            true => folder.parent()?.to_path_buf(),
            false => folder.clone(),
        };
        Some(Self { name, disk, folder })
    }

    /// The function behind the disk; none for what lies in no device (loop, dm, md, NVMe with multipath).
    pub(super) fn function(&self) -> Option<Bdf> {
        let names = self.disk.iter().rev();
        names.filter_map(|name| name.to_str()?.parse().ok()).next()
    }

    pub(super) fn driver(&self) -> Driver {
        let Some(controller) = self.disk.parent() else {
            return Driver::Other;
        };
        // .../0000:01:00.0/nvme/nvme0/nvme0n1
        let Some(function) = controller.parent().and_then(Path::parent) else {
            return Driver::Other;
        };
        let is_function = function
            .file_name()
            .and_then(|name| name.to_str()?.parse::<Bdf>().ok())
            .is_some();
        let driver = function.join("driver").canonicalize().ok();
        let is_nvme = driver.is_some_and(|driver| driver.file_name().is_some_and(|name| name == "nvme"));
        match is_function && is_nvme {
            true => Driver::NvmePci,
            false => Driver::Other,
        }
    }

    /// Bytes of a logical block.
    pub(super) fn block_bytes(&self) -> Option<u32> {
        self.queue("logical_block_size")
    }

    /// Does its driver have queues for polling?
    pub(super) fn is_polled(&self) -> bool {
        self.queue("io_poll") == Some(1)
    }

    /// Did somebody make it, or its disk, read-only? Opening it for writing works all the same, and every write fails.
    pub(super) fn is_read_only(&self) -> bool {
        [&self.folder, &self.disk]
            .into_iter()
            .any(|folder| number(&folder.join("ro")) == Some(1))
    }

    /// From which byte of its disk on it lies.
    pub(super) fn start_bytes(&self) -> u64 {
        match self.disk == self.folder {
            true => 0,
            false => number(&self.folder.join("start"))
                .unwrap_or(0)
                .saturating_mul(SECTOR_BYTES),
        }
    }

    /// The folder of its disk.
    pub(super) fn disk(&self) -> &Path {
        &self.disk
    }

    /// What lies behind its disk, if that is a loop device, and from which byte on: a file or a block device.
    pub(super) fn backing(&self) -> Option<(PathBuf, u64)> {
        let of_loop = |name: &str| self.disk.join("loop").join(name);
        let path = std::fs::read_to_string(of_loop("backing_file")).ok()?;
        let file = Path::new(path.trim_end_matches('\n')).canonicalize().ok()?;
        Some((file, number(&of_loop("offset")).unwrap_or(0)))
    }

    /// What it, or its disk, is built on (dm, md), so many at most: and whether there are more.
    pub(super) fn stands_on(&self, most: usize) -> (Vec<Self>, bool) {
        let entries = std::fs::read_dir(self.disk.join("slaves"));
        let mut paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
        let mut below: Vec<_> = paths
            .by_ref()
            .take(most)
            .filter_map(|path| Self::at(&path))
            .collect();
        below.sort_by(|one, two| one.name.cmp(&two.name));
        (below, paths.next().is_some())
    }

    /// What the blocks of the disk are known by, on all ways to them: several paths to one namespace or logical unit have several folders.
    pub(super) fn wwid(&self) -> Option<String> {
        self.said("wwid").or_else(|| self.said("device/wwid"))
    }

    /// What tells the disk from all others, under whatever name: what its blocks are known by, what was given to a device that is built on others
    /// (dm, md), or a serial number.
    pub(super) fn told_name(&self) -> Option<String> {
        let serial = || self.said("serial").or_else(|| self.said("device/serial"));
        let made = || self.said("dm/uuid").or_else(|| self.said("md/uuid"));
        let numbered = || Some(format!("serial {}", serial()?));
        self.wwid().or_else(made).or_else(numbered)
    }

    /// What a file of the disk's folder says, if anything.
    fn said(&self, name: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.disk.join(name)).ok()?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The subsystem whose namespace the disk is, and the namespace's number in it. Linux gives a controller to a subsystem by this name, and keeps
    /// from it what cannot be of one (`nvme_init_subsystem`, drivers/nvme/host/core.c).
    pub(super) fn namespace(&self) -> Option<(String, u64)> {
        Some((self.said("device/subsysnqn")?, number(&self.disk.join("nsid"))?))
    }

    /// The volume group whose logical volume the disk is: LVM gives every piece of a physical volume to one volume alone.
    pub(super) fn volume_group(&self) -> Option<String> {
        const GROUP_LETTERS: usize = 32;
        let uuid = self.said("dm/uuid")?;
        Some(uuid.strip_prefix("LVM-")?.get(..GROUP_LETTERS)?.to_owned())
    }

    /// How long it is.
    pub(super) fn len_bytes(&self) -> Option<u64> {
        number(&self.folder.join("size")).map(|sectors| sectors.saturating_mul(SECTOR_BYTES))
    }

    /// The names of the disk and its partitions that share blocks with this device: itself; of a disk its partitions; of a partition its disk.
    pub(super) fn sharers(&self) -> Vec<(String, PathBuf)> {
        let mut sharers = vec![(self.name.clone(), self.folder.clone())];
        if self.disk != self.folder {
            let name = self.disk.file_name().and_then(|name| name.to_str());
            sharers.extend(name.map(|name| (name.to_owned(), self.disk.clone())));
            return sharers;
        }
        let entries = std::fs::read_dir(&self.disk).into_iter().flatten().flatten();
        let partition = |path: PathBuf| {
            let name = path.file_name()?.to_str()?.to_owned();
            path.join("partition").exists().then_some((name, path))
        };
        let mut partitions: Vec<_> = entries.filter_map(|entry| partition(entry.path())).collect();
        partitions.sort();
        sharers.extend(partitions);
        sharers
    }

    fn queue(&self, attribute: &str) -> Option<u32> {
        let text = std::fs::read_to_string(self.disk.join("queue").join(attribute)).ok()?;
        text.trim().parse().ok()
    }
}

fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree() -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        let at = |path: &str| sys.path().join(path);
        let function = "devices/pci0000:00/0000:00:02.0/0000:01:00.0";
        let disk = format!("{function}/nvme/nvme0/nvme0n1");
        let others = [
            "devices/virtual/block/loop0",
            "devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda",
            "devices/virtual/nvme-subsystem/nvme-subsys0/nvme1n1",
            "bus/pci/drivers/nvme",
            "dev/block",
        ];
        for folder in others {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::fs::create_dir_all(at(&disk).join("queue")).unwrap();
        std::fs::write(at(&disk).join("queue/logical_block_size"), "4096\n").unwrap();
        for partition in ["nvme0n1p1", "nvme0n1p2"] {
            std::fs::create_dir_all(at(&disk).join(partition)).unwrap();
            std::fs::write(at(&disk).join(partition).join("partition"), "1\n").unwrap();
        }
        symlink(at("bus/pci/drivers/nvme"), at(function).join("driver")).unwrap();
        let links = [
            ("259:0", disk.clone()),
            ("259:1", format!("{disk}/nvme0n1p1")),
            ("7:0", others[0].to_owned()),
            ("8:0", others[1].to_owned()),
            ("259:7", others[2].to_owned()),
        ];
        for (number, to) in links {
            symlink(at(&to), at("dev/block").join(number)).unwrap();
        }
        sys
    }

    #[test]
    fn the_function_behind_a_disk_is_found_through_its_partitions() {
        let sys = tree();
        let disk = Place::of(sys.path(), 259, 0).unwrap();
        let partition = Place::of(sys.path(), 259, 1).unwrap();
        for place in [&disk, &partition] {
            assert_eq!(place.function(), Some("0000:01:00.0".parse().unwrap()));
            assert_eq!(place.driver(), Driver::NvmePci);
            assert_eq!(place.block_bytes(), Some(4096));
        }
        let names =
            |place: &Place| -> Vec<String> { place.sharers().into_iter().map(|(name, _)| name).collect() };
        assert_eq!(names(&disk), ["nvme0n1", "nvme0n1p1", "nvme0n1p2"]);
        assert_eq!(names(&partition), ["nvme0n1p1", "nvme0n1"]);
    }

    #[test]
    fn what_lies_in_no_device_has_no_function_and_other_drivers_take_no_p2pmem() {
        let sys = tree();
        let of = |major, minor| Place::of(sys.path(), major, minor).unwrap();
        assert_eq!(of(7, 0).function(), None);
        assert_eq!(of(259, 7).function(), None);
        assert_eq!(of(8, 0).function(), Some("0000:00:1f.2".parse().unwrap()));
        for (major, minor) in [(7, 0), (259, 7), (8, 0)] {
            assert_eq!(of(major, minor).driver(), Driver::Other);
        }
        assert_eq!(Place::of(sys.path(), 1, 2), None);
    }

    #[test]
    fn a_partition_lies_on_its_disk_and_a_loop_device_in_its_file() {
        let sys = tree();
        let disk = Place::of(sys.path(), 259, 0).unwrap();
        std::fs::write(disk.folder.join("nvme0n1p1/start"), "2048\n").unwrap();
        let partition = Place::of(sys.path(), 259, 1).unwrap();
        assert_eq!((disk.disk(), disk.start_bytes()), (&*disk.folder, 0));
        assert_eq!(
            (partition.disk(), partition.start_bytes()),
            (&*disk.folder, 1 << 20)
        );
        assert_eq!(disk.backing(), None);
        let image = sys.path().canonicalize().unwrap().join("disk.img");
        std::fs::write(&image, "x").unwrap();
        let device = Place::of(sys.path(), 7, 0).unwrap();
        std::fs::create_dir(device.folder.join("loop")).unwrap();
        std::fs::write(
            device.folder.join("loop/backing_file"),
            format!("{}\n", image.display()),
        )
        .unwrap();
        std::fs::write(device.folder.join("loop/offset"), "4096\n").unwrap();
        assert_eq!(device.backing(), Some((image, 4096)));
    }

    #[test]
    fn a_partition_of_a_disk_that_is_read_only_is_read_only() {
        let sys = tree();
        let of = |minor| Place::of(sys.path(), 259, minor).unwrap();
        assert!(!of(0).is_read_only());
        std::fs::write(of(0).folder.join("ro"), "1\n").unwrap();
        assert!(of(0).is_read_only() && of(1).is_read_only());
        std::fs::write(of(0).folder.join("ro"), "0\n").unwrap();
        std::fs::write(of(1).folder.join("ro"), "1\n").unwrap();
        assert!(!of(0).is_read_only() && of(1).is_read_only());
    }
}
