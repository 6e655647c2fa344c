//! By what a block device is known when its name goes to another: names are given anew with every boot.
//!
//! Asked by who comes back to a device later, as the command line does that goes on with an interrupted copy.
//! Linux: Documentation/ABI/stable/sysfs-block, and `wwid` of drivers/nvme/host/sysfs.c and drivers/scsi/scsi_sysfs.c.

use super::place::Place;
use rustix::fs::FileType;
use std::path::Path;

/// By what blocks are known under any name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// No block device: files keep their names.
    NoDevice,
    /// A block device, and nothing tells it from others (loop devices, drives without a number).
    Untold,
    /// What the device says of itself, and where in it the blocks begin.
    Told(String),
}

impl Identity {
    /// Of what has this path now.
    pub fn of(path: &Path) -> Self {
        let found = match rustix::fs::stat(path) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::BlockDevice => found,
            _ => return Self::NoDevice,
        };
        let number = found.st_rdev;
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        Place::of(Path::new("/sys"), major, minor).map_or(Self::Untold, |place| Self::of_place(&place))
    }

    fn of_place(place: &Place) -> Self {
        let start_bytes = place.start_bytes();
        match place.told_name() {
            Some(name) => Self::Told(format!("{name} from byte {start_bytes}")),
            None => Self::Untold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_disk_is_known_by_what_it_says_and_its_partitions_by_where_they_begin() {
        let sys = tempfile::tempdir().unwrap();
        let devices = [
            ("8:0", "sda", Some(("device/wwid", "naa.1\n"))),
            ("8:16", "sdb", Some(("device/wwid", "\n"))),
            ("253:0", "vda", Some(("serial", "disk 1\n"))),
            ("254:0", "dm-0", Some(("dm/uuid", "CRYPT-1\n"))),
            ("7:0", "loop0", None),
        ];
        fs::create_dir_all(sys.path().join("dev/block")).unwrap();
        for (number, name, said) in devices {
            let folder = sys.path().join("block").join(name);
            fs::create_dir_all(&folder).unwrap();
            if let Some((file, text)) = said {
                fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
                fs::write(folder.join(file), text).unwrap();
            }
            symlink(folder, sys.path().join("dev/block").join(number)).unwrap();
        }
        let partition = sys.path().join("block/sda/sda1");
        fs::create_dir(&partition).unwrap();
        fs::write(partition.join("partition"), "1\n").unwrap();
        fs::write(partition.join("start"), "2048\n").unwrap();
        symlink(partition, sys.path().join("dev/block/8:1")).unwrap();
        let of = |major, minor| Identity::of_place(&Place::of(sys.path(), major, minor).unwrap());
        let told = |text: &str| Identity::Told(text.to_owned());
        assert_eq!(of(8, 0), told("naa.1 from byte 0"));
        assert_eq!(of(8, 1), told("naa.1 from byte 1048576"));
        assert_eq!(of(253, 0), told("serial disk 1 from byte 0"));
        assert_eq!(of(254, 0), told("CRYPT-1 from byte 0"));
        assert_eq!((of(8, 16), of(7, 0)), (Identity::Untold, Identity::Untold));
        assert_eq!(Identity::of(sys.path()), Identity::NoDevice);
    }
}
