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

    /// Makes a loop device over a device of ours, from a byte on. A file with its number stands for its node.
    fn loop_over(&self, device: &str, minor: u32, offset: u64, len_bytes: u64) -> u32 {
        let node = self.root.path().join(format!("node{minor}"));
        fs::write(&node, minor.to_string()).unwrap();
        let made = self.device(device, 0, len_bytes);
        self.write(
            &format!("{device}/loop/backing_file"),
            &format!("{}\n", node.display()),
        );
        self.write(&format!("{device}/loop/offset"), &format!("{offset}\n"));
        made
    }

    fn extent(&self, minor: u32) -> Extent {
        let node = |path: &Path| Some((8, fs::read_to_string(path).ok()?.parse().ok()?));
        Extent::of_place(
            self.root.path(),
            node,
            &Place::of(self.root.path(), 8, minor).unwrap(),
        )
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
fn a_loop_device_over_a_block_device_lies_where_that_lies() {
    let sys = Sys::new();
    let minors = ["sda", "sdb"].map(|name| sys.device(name, 0, 8 * MIB));
    let part = sys.device("sda/sda1", MIB, 4 * MIB);
    let over_disk = sys.loop_over("loop0", minors[0], 2 * MIB, MIB);
    let over_part = sys.loop_over("loop1", part, MIB, MIB);
    let part_of_loop = sys.device("loop1/loop1p1", 4096, 4096);
    let over_loop = sys.loop_over("loop2", over_part, 512, 512);
    let [disk, other] = minors.map(|minor| sys.extent(minor));
    let [part, over_disk, over_part, part_of_loop, over_loop] =
        [part, over_disk, over_part, part_of_loop, over_loop].map(|minor| sys.extent(minor));
    for looped in [&over_disk, &over_part] {
        assert!(is_certain(looped.overlap(0, &disk, 2 * MIB, 512)));
        assert!(is_certain(disk.overlap(2 * MIB, looped, 0, 512)));
        assert_eq!(looped.overlap(0, &disk, 0, MIB), None);
        assert_eq!(looped.overlap(0, &other, 0, 4 * MIB), None);
        assert!(is_certain(looped.overlap(0, &part, MIB, 512)));
    }
    assert!(is_certain(over_disk.overlap(0, &over_part, 0, 512)));
    assert!(is_certain(part_of_loop.overlap(0, &disk, 2 * MIB + 4096, 512)));
    assert_eq!(part_of_loop.overlap(0, &disk, 2 * MIB, 512), None);
    assert!(is_certain(over_loop.overlap(0, &disk, 2 * MIB + 512, 512)));
    assert_eq!(over_loop.overlap(0, &disk, 2 * MIB, 512), None);
}

#[test]
fn a_loop_device_is_known_by_and_built_on_what_its_block_device_is() {
    let sys = Sys::new();
    let paths = ["sda", "sdb"].map(|name| {
        let minor = sys.device(name, 0, 8 * MIB);
        sys.write(&format!("{name}/device/wwid"), "naa.1\n");
        minor
    });
    let over_path = sys.extent(sys.loop_over("loop0", paths[0], 0, MIB));
    assert!(is_certain(over_path.overlap(0, &sys.extent(paths[1]), 0, 512)));
    let leg = sys.device("sdc", 0, 8 * MIB);
    let raid = sys.device("md0", 0, 8 * MIB);
    sys.put("md0", "sdc");
    let over_raid = sys.extent(sys.loop_over("loop1", raid, 0, MIB));
    assert!(is_certain(over_raid.overlap(0, &sys.extent(raid), 0, 512)));
    assert!(is_possible(over_raid.overlap(0, &sys.extent(leg), 0, 512), "sdc"));
    // An array on a loop device over a disk.
    let member = sys.loop_over("loop2", paths[0], 2 * MIB, MIB);
    let other = sys.device("md1", 0, MIB);
    sys.put("md1", "loop2");
    let (member, other) = (sys.extent(member), sys.extent(other));
    assert!(is_possible(
        other.overlap(0, &sys.extent(paths[1]), 2 * MIB, 512),
        "loop2"
    ));
    assert_eq!(other.overlap(0, &sys.extent(paths[1]), 0, 2 * MIB), None);
    assert!(is_possible(other.overlap(0, &member, 0, 512), "loop2"));
}

#[test]
fn loop_devices_over_each_other_end() {
    let sys = Sys::new();
    let plain = sys.extent(sys.device("sda", 0, MIB));
    let one = sys.device("loop0", 0, MIB);
    let two = sys.loop_over("loop1", one, 0, MIB);
    let node = sys.root.path().join("back");
    fs::write(&node, two.to_string()).unwrap();
    sys.write("loop0/loop/backing_file", &format!("{}\n", node.display()));
    assert_eq!(sys.extent(one).overlap(0, &plain, 0, 512), Some(Overlap::Untold));
}

#[test]
fn a_file_by_another_link_lies_in_the_loop_device_over_it() {
    let sys = Sys::new();
    let at = |name: &str| sys.root.path().join(name);
    fs::write(at("disk.img"), "x").unwrap();
    fs::write(at("other.img"), "x").unwrap();
    fs::hard_link(at("disk.img"), at("link.img")).unwrap();
    let minor = sys.device("loop0", 0, 8 * MIB);
    sys.write(
        "loop0/loop/backing_file",
        &format!("{}\n", at("disk.img").display()),
    );
    sys.write("loop0/loop/offset", "4096\n");
    let looped = sys.extent(minor);
    for name in ["disk.img", "link.img"] {
        let file = Extent::of(&at(name)).unwrap();
        assert!(is_certain(looped.overlap(0, &file, 4096, 512)));
        assert_eq!(looped.overlap(0, &file, 0, 4096), None);
    }
    let other = Extent::of(&at("other.img")).unwrap();
    assert_eq!(looped.overlap(0, &other, 0, 1 << 20), None);
}

#[test]
fn disks_with_one_serial_are_one_only_as_one_namespace_of_one_subsystem() {
    const CLONED: &str = "nvme.1b36-31-51454d55-00000001";
    let sys = Sys::new();
    let disk = |controller: &str, name: &str, subsystem: &str, nsid: &str| {
        let device = format!("{controller}/{name}");
        let folder = sys.folder(&device);
        sys.write(&format!("{controller}/subsysnqn"), subsystem);
        sys.write(&format!("{device}/wwid"), CLONED);
        sys.write(&format!("{device}/nsid"), nsid);
        symlink(sys.folder(controller), folder.join("device")).unwrap();
        let minor = sys.device(&device, 0, 8 * MIB);
        fs::remove_file(folder.join("partition")).unwrap();
        fs::remove_file(folder.join("start")).unwrap();
        sys.extent(minor)
    };
    let one = disk("nvme0", "nvme0n1", "nqn.one\n", "1\n");
    let path = disk("nvme1", "nvme1n1", "nqn.one\n", "1\n");
    let second = disk("nvme1", "nvme1n2", "nqn.one\n", "2\n");
    let clone = disk("nvme2", "nvme2n1", "nqn.two\n", "1\n");
    assert!(is_certain(one.overlap(0, &path, 0, 512)));
    assert_eq!(one.overlap(0, &path, MIB, MIB), None);
    let alike = Some(Overlap::Alike {
        names: ["nvme0n1".into(), "nvme2n1".into()],
        wwid: CLONED.into(),
    });
    assert_eq!(one.overlap(0, &clone, 0, 512), alike);
    assert_eq!(one.overlap(0, &clone, MIB, MIB), None);
    // Two namespaces of one subsystem are two, whatever they are called.
    assert_eq!(one.overlap(0, &second, 0, 512), None);
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
