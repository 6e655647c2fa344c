//! What lies on what, in a sysfs of our own making.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;

const MIB: u64 = 1 << 20;

/// A sysfs with nothing but block devices.
struct Sys {
    root: tempfile::TempDir,
    minors: std::cell::Cell<u32>,
}

impl Sys {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("dev/block")).unwrap();
        Self {
            root,
            minors: std::cell::Cell::new(0),
        }
    }

    fn folder(&self, device: &str) -> PathBuf {
        self.root.path().join("devices").join(device)
    }

    /// Makes `sda`, or its partition `sda/sda1` from a byte on.
    fn device(&self, device: &str, start_bytes: u64, len_bytes: u64) -> u32 {
        let folder = self.folder(device);
        fs::create_dir_all(folder.join("slaves")).unwrap();
        fs::write(folder.join("size"), format!("{}\n", len_bytes / 512)).unwrap();
        if device.contains('/') {
            fs::write(folder.join("partition"), "1\n").unwrap();
            fs::write(folder.join("start"), format!("{}\n", start_bytes / 512)).unwrap();
        }
        let minor = self.minors.get();
        self.minors.set(minor + 1);
        symlink(&folder, self.root.path().join(format!("dev/block/8:{minor}"))).unwrap();
        minor
    }

    fn put(&self, device: &str, on: &str) {
        let name = Path::new(on).file_name().unwrap();
        symlink(self.folder(on), self.folder(device).join("slaves").join(name)).unwrap();
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn extent(&self, minor: u32) -> Extent {
        Extent::of_place(&Place::of(self.root.path(), 8, minor).unwrap())
    }
}

fn is_certain(overlap: Option<Overlap>) -> bool {
    matches!(overlap, Some(Overlap::Certain { .. }))
}

fn is_possible(overlap: Option<Overlap>, on: &str) -> bool {
    overlap == Some(Overlap::Possible { keeper: on.into() })
}

#[test]
fn parts_of_one_disk_overlap_where_they_share_a_byte() {
    let sys = Sys::new();
    let disk = sys.extent(sys.device("sda", 0, 8 * MIB));
    let partition = sys.extent(sys.device("sda/sda1", MIB, 4 * MIB));
    let other = sys.extent(sys.device("sdb", 0, 8 * MIB));
    assert!(is_certain(disk.overlap(0, &partition, 0, MIB + 1)));
    assert_eq!(disk.overlap(0, &partition, 0, MIB), None);
    assert!(is_certain(partition.overlap(0, &disk, MIB, 1)));
    assert_eq!(partition.overlap(0, &disk, 0, MIB), None);
    assert_eq!(disk.overlap(0, &other, 0, u64::MAX), None);
    assert!(is_certain(disk.overlap(
        u64::MAX - MIB,
        &partition,
        u64::MAX - 2 * MIB,
        1
    )));
    assert_eq!(disk.overlap(0, &disk, 0, 0), None);
}

#[test]
fn what_is_built_on_a_disk_may_share_any_of_its_blocks_and_no_others() {
    let sys = Sys::new();
    let disk = sys.extent(sys.device("sda", 0, 8 * MIB));
    let first = sys.extent(sys.device("sda/sda1", MIB, 2 * MIB));
    let second = sys.extent(sys.device("sda/sda2", 3 * MIB, 2 * MIB));
    let raid = sys.device("md0", 0, 2 * MIB);
    sys.put("md0", "sda/sda1");
    let raid = sys.extent(raid);
    assert!(is_possible(first.overlap(0, &raid, MIB, 4096), "sda1"));
    assert!(
        is_possible(raid.overlap(MIB, &first, 0, 4096), "md0")
            || is_possible(raid.overlap(MIB, &first, 0, 4096), "sda1")
    );
    assert_eq!(raid.overlap(0, &second, 0, MIB), None);
    assert!(is_possible(disk.overlap(MIB, &raid, 0, 4096), "sda"));
    assert_eq!(disk.overlap(4 * MIB, &raid, 0, MIB), None);
    assert!(is_certain(raid.overlap(0, &raid, MIB, MIB + 1)));
    assert_eq!(raid.overlap(0, &raid, MIB, MIB), None);
}

#[test]
fn parts_of_one_array_lie_apart_on_all_that_it_is_built_on() {
    let sys = Sys::new();
    sys.device("sda", 0, 8 * MIB);
    sys.device("md0", 0, 8 * MIB);
    sys.put("md0", "sda");
    let first = sys.extent(sys.device("md0/md0p1", MIB, MIB));
    let second = sys.extent(sys.device("md0/md0p2", 2 * MIB, MIB));
    assert_eq!(first.overlap(0, &second, 0, MIB), None);
    assert!(is_certain(first.overlap(0, &second, 0, MIB + 512)));
}

#[test]
fn volumes_of_one_group_lie_apart_and_others_on_one_disk_may_not() {
    const GROUP: &str = "LVM-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let sys = Sys::new();
    let disk = sys.extent(sys.device("sda", 0, 8 * MIB));
    let minors = ["dm-0", "dm-1", "dm-2", "dm-3"].map(|name| {
        let minor = sys.device(name, 0, 2 * MIB);
        sys.put(name, "sda");
        minor
    });
    sys.write("dm-0/dm/uuid", &format!("{GROUP}first"));
    sys.write("dm-1/dm/uuid", &format!("{GROUP}second"));
    sys.write("dm-2/dm/uuid", "LVM-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbthird");
    let [one, two, three, four] = minors.map(|minor| sys.extent(minor));
    assert_eq!(one.overlap(0, &two, 0, MIB), None);
    for other in [&three, &four] {
        assert!(is_possible(one.overlap(0, other, 0, MIB), "sda"));
    }
    assert!(is_possible(one.overlap(0, &disk, 0, MIB), "sda"));
    // Encrypted, it lies where it lay.
    let crypt = sys.device("dm-4", 0, 2 * MIB);
    sys.put("dm-4", "dm-0");
    let crypt = sys.extent(crypt);
    assert_eq!(crypt.overlap(0, &two, 0, MIB), None);
    assert!(is_possible(one.overlap(0, &crypt, 0, MIB), "dm-0"));
}

#[test]
fn two_paths_to_one_namespace_are_one_disk() {
    let sys = Sys::new();
    let minors = ["nvme0n1", "nvme1n1", "nvme2n1"].map(|name| sys.device(name, 0, 8 * MIB));
    for (name, wwid) in [("nvme0n1", "eui.1"), ("nvme1n1", "eui.1"), ("nvme2n1", "eui.2")] {
        sys.write(&format!("{name}/wwid"), &format!("{wwid}\n"));
    }
    let [one, two, other] = minors.map(|minor| sys.extent(minor));
    assert!(is_certain(one.overlap(0, &two, 0, 512)));
    assert_eq!(one.overlap(0, &two, MIB, MIB), None);
    assert_eq!(one.overlap(0, &other, 0, MIB), None);
    let part = sys.extent(sys.device("nvme1n1/nvme1n1p1", MIB, MIB));
    assert!(is_certain(part.overlap(0, &one, MIB, 512)));
}

#[test]
fn rings_end_and_towers_without_end_are_refused() {
    let sys = Sys::new();
    let minors: Vec<u32> = (0..40)
        .map(|at| sys.device(&format!("dm-{at}"), 0, MIB))
        .collect();
    for at in 0..39 {
        sys.put(&format!("dm-{at}"), &format!("dm-{}", at + 1));
    }
    let plain = sys.extent(sys.device("sda", 0, MIB));
    let tower = sys.extent(minors[0]);
    assert_eq!(tower.overlap(0, &plain, 0, 512), Some(Overlap::Untold));
    let top = sys.extent(minors[30]);
    assert_eq!(top.overlap(0, &plain, 0, 512), None);
    let ring = sys.device("dm-50", 0, MIB);
    sys.device("dm-51", 0, MIB);
    sys.put("dm-50", "dm-51");
    sys.put("dm-51", "dm-50");
    assert_eq!(sys.extent(ring).overlap(0, &plain, 0, 512), None);
    // Each on both of the next: as many ways down as there are pieces to look at.
    for at in 0..15 {
        for side in ["a", "b"] {
            sys.device(&format!("w{at}{side}"), 0, MIB);
        }
    }
    let wide = sys.device("top", 0, MIB);
    for side in ["a", "b"] {
        sys.put("top", &format!("w0{side}"));
        for at in 0..14 {
            for below in ["a", "b"] {
                sys.put(&format!("w{at}{side}"), &format!("w{}{below}", at + 1));
            }
        }
    }
    assert_eq!(sys.extent(wide).overlap(0, &plain, 0, 512), Some(Overlap::Untold));
}
