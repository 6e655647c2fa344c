//! Who uses the blocks of a device: what is mounted, swapped to, or built on it.
//!
//! The kernel is the one who decides (`O_EXCL` on a block device, open(2)); this names whom a person must ask.

use super::place::Place;
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Who uses the blocks of a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Holder {
    /// A file system on it is mounted.
    Mounted {
        /// The device: itself, its disk, or a partition of it.
        device: String,
        /// Where.
        at: String,
    },
    /// The system swaps to it.
    Swap {
        /// The device.
        device: String,
    },
    /// Another block device (LVM, a RAID, encryption) is built on it.
    Device {
        /// The device.
        device: String,
        /// Which.
        by: String,
    },
    /// A program has it open for itself alone.
    Program,
}

/// All that hold a device, by the `proc` and the `sys` at these places.
pub(super) fn holders(proc: &Path, place: &Place) -> Vec<Holder> {
    let mut found = Vec::new();
    let mut by_number = BTreeMap::new();
    let mut by_name = BTreeMap::new();
    for (device, folder) in place.sharers() {
        if let Ok(number) = std::fs::read_to_string(folder.join("dev")) {
            by_number.insert(number.trim().to_owned(), device.clone());
        }
        let holders = std::fs::read_dir(folder.join("holders"));
        for holder in holders.into_iter().flatten().flatten() {
            let by = holder.file_name().to_string_lossy().into_owned();
            let device = device.clone();
            found.push(Holder::Device { device, by });
        }
        by_name.insert(format!("/dev/{device}"), device);
    }
    let read = |name: &str| std::fs::read(proc.join(name)).unwrap_or_default();
    for (number, at) in mounts(&String::from_utf8_lossy(&read("self/mountinfo"))) {
        let device = by_number.get(number).cloned();
        found.extend(device.map(|device| Holder::Mounted { device, at }));
    }
    for path in swaps(&String::from_utf8_lossy(&read("swaps"))) {
        let number = std::fs::metadata(&path).ok().map(|swap| {
            let number = swap.rdev();
            format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number))
        });
        let by_number = number.and_then(|number| by_number.get(&number));
        let device = by_number.or_else(|| by_name.get(&path)).cloned();
        found.extend(device.map(|device| Holder::Swap { device }));
    }
    found.sort();
    found.dedup();
    found
}

/// `major:minor` and place of every mount (proc(5), `/proc/pid/mountinfo`).
fn mounts(text: &str) -> impl Iterator<Item = (&str, String)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let number = fields.nth(2)?;
        Some((number, unescaped(fields.nth(1)?)))
    })
}

/// The path of every swap (proc(5), `/proc/swaps`): a headline, then one a line.
fn swaps(text: &str) -> impl Iterator<Item = String> {
    text.lines()
        .skip(1)
        .filter_map(|line| Some(unescaped(line.split_whitespace().next()?)))
}

/// Blanks and their like are written in octal: `\040`.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let code = part.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) => {
                bytes.push(code);
                bytes.extend(rest.as_bytes());
            }
            _ => {
                bytes.push(b'\\');
                bytes.extend(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted { device, at } => write!(f, "{device} is mounted at {}", at.escape_debug()),
            Self::Swap { device } => write!(f, "the system swaps to {device}"),
            Self::Device { device, by } => write!(f, "{by} is built on {device}"),
            Self::Program => f.write_str("another program has it open for itself alone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_uses_a_disk_or_its_partitions_is_named() {
        let root = tempfile::tempdir().unwrap();
        let disk = root.path().join("devices/nvme0n1");
        for (folder, number) in [("", "259:0"), ("nvme0n1p1", "259:1"), ("nvme0n1p2", "259:2")] {
            std::fs::create_dir_all(disk.join(folder).join("holders")).unwrap();
            std::fs::write(disk.join(folder).join("dev"), format!("{number}\n")).unwrap();
            if !folder.is_empty() {
                std::fs::write(disk.join(folder).join("partition"), "1\n").unwrap();
            }
        }
        std::fs::create_dir(disk.join("nvme0n1p2/holders/dm-0")).unwrap();
        std::fs::create_dir_all(root.path().join("dev/block")).unwrap();
        std::os::unix::fs::symlink(&disk, root.path().join("dev/block/259:0")).unwrap();
        std::fs::create_dir_all(root.path().join("proc/self")).unwrap();
        let mounts =
            "22 1 259:1 / /a\\040b rw - ext4 /dev/nvme0n1p1 rw\n23 1 8:1 / /other rw - ext4 /dev/sda1 rw\n";
        std::fs::write(root.path().join("proc/self/mountinfo"), mounts).unwrap();
        let swaps = "Filename\tType\n/dev/nvme0n1p2  partition 1 0 -2\n/swapfile file 1 0 -3\n";
        std::fs::write(root.path().join("proc/swaps"), swaps).unwrap();

        let place = Place::of(root.path(), 259, 0).unwrap();
        let found = holders(&root.path().join("proc"), &place);

        let shown: Vec<String> = found.iter().map(Holder::to_string).collect();
        assert_eq!(
            shown,
            [
                "nvme0n1p1 is mounted at /a b",
                "the system swaps to nvme0n1p2",
                "dm-0 is built on nvme0n1p2"
            ]
        );
    }

    #[test]
    fn no_text_in_proc_is_misread_as_a_mount() {
        assert_eq!(mounts("").count(), 0);
        assert_eq!(mounts("x\n1 2\n").count(), 0);
        assert_eq!(unescaped("a\\04"), "a\\04");
        assert_eq!(unescaped("\\"), "\\");
        assert_eq!(unescaped("é\\134é"), "é\\é");
    }
}
