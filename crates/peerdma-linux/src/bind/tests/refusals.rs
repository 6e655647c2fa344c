//! What is never taken from its driver.

use super::fake::{BRIDGE, Fake, NIC, NVME, OTHER, bdf, home};
use super::{GroupWish, bind, planned, returns};
use crate::bind::{Live, Obstacle, Refusal};
use std::fs;

/// Refused, with this obstacle among the reasons, and nothing was touched.
fn refused(change: impl FnOnce(&mut Fake), named: &[&str], obstacle: &Obstacle) {
    let mut fake = Fake::new();
    change(&mut fake);
    let before = fake.everything();
    let refusals = planned(&mut fake, named, GroupWish::Named).unwrap_err();
    assert!(
        refusals.iter().any(|refusal| refusal.obstacle == *obstacle),
        "{obstacle} is not among {refusals:?}"
    );
    assert_eq!((fake.everything(), fake.calls), (before, 0));
    assert!(!obstacle.fix().is_empty());
}

const GROUP: [&str; 2] = [NVME, OTHER];

#[test]
fn what_is_mounted_swapped_to_or_held_is_refused_down_to_its_partitions() {
    let mount = "30 1 259:1 / /data rw,relatime - ext4 /dev/nvme0n1p1 rw\n";
    let mounted = |at: &str, device: &str| Obstacle::Mounted {
        device: device.into(),
        at: at.into(),
    };
    refused(
        |fake| fake.file("proc/self/mountinfo", mount),
        &GROUP,
        &mounted("/data", "nvme0n1p1"),
    );
    let btrfs = "31 1 0:44 / /pool rw - btrfs /dev/nvme0n1 rw\n";
    refused(
        |fake| fake.file("proc/1/mountinfo", btrfs),
        &GROUP,
        &mounted("/pool", "nvme0n1"),
    );
    let swaps = "Filename Type Size\n/dev/nvme0n1p1 partition 1024\n";
    refused(
        |fake| fake.file("proc/swaps", swaps),
        &GROUP,
        &Obstacle::Swap {
            device: "nvme0n1p1".into(),
        },
    );
    let held = |by: &str| Obstacle::Held {
        device: "nvme0n1p1".into(),
        by: by.into(),
    };
    let holders = format!("{}/nvme/nvme0/nvme0n1/nvme0n1p1/holders", home(NVME));
    refused(
        |fake| fake.file(&format!("{holders}/dm-0"), ""),
        &GROUP,
        &held("dm-0"),
    );
    refused(
        |fake| fake.file("sys/block/loop3/loop/backing_file", "/dev/nvme0n1p1\n"),
        &GROUP,
        &held("loop3"),
    );
    let exported = |fake: &mut Fake| {
        let namespace = "sys/kernel/config/nvmet/subsystems/box/namespaces/1";
        fake.file(&format!("{namespace}/enable"), "1\n");
        fake.file(&format!("{namespace}/device_path"), "/dev/nvme0n1p1\n");
    };
    refused(exported, &GROUP, &held("nvmet box/1"));
    refused(
        |fake| fake.claimed.push("nvme0n1"),
        &GROUP,
        &Obstacle::Claimed {
            device: "nvme0n1".into(),
        },
    );
}

#[test]
fn a_disk_that_is_claimed_for_its_mounted_partition_is_not_blamed_on_somebody_unseen() {
    let mut fake = Fake::new();
    let mount = "30 1 259:1 / /data rw,relatime - ext4 /dev/nvme0n1p1 rw\n";
    fake.file("proc/self/mountinfo", mount);
    fake.claimed.extend(["nvme0n1", "nvme0n1p1"]);
    let refusals = planned(&mut fake, &GROUP, GroupWish::Named).unwrap_err();
    let is_unseen = |obstacle: &Obstacle| matches!(obstacle, Obstacle::Claimed { .. });
    assert!(
        !refusals.iter().any(|refusal| is_unseen(&refusal.obstacle)),
        "{refusals:?}"
    );
    assert_eq!(refusals.len(), 1);
}

#[test]
fn what_nvme_multipath_keeps_at_the_subsystem_is_the_controllers_too() {
    let change = |fake: &mut Fake| {
        let head = "sys/devices/virtual/nvme-subsystem/nvme-subsys0";
        fake.file(&format!("{head}/nvme0n7/dev"), "259:9\n");
        fake.link(&format!("{head}/nvme0n7/subsystem"), "../../../../../class/block");
        fake.link(
            &format!("{head}/nvme0"),
            &format!("../../../pci0000:00/{NVME}/nvme/nvme0"),
        );
        fake.link(
            "sys/class/nvme-subsystem/nvme-subsys0",
            "../../devices/virtual/nvme-subsystem/nvme-subsys0",
        );
        fake.file(
            "proc/self/mountinfo",
            "30 1 259:9 / /data rw - xfs /dev/nvme0n7 rw\n",
        );
    };
    let mounted = Obstacle::Mounted {
        device: "nvme0n7".into(),
        at: "/data".into(),
    };
    refused(change, &GROUP, &mounted);
}

#[test]
fn what_a_program_has_open_is_refused_with_the_programs_name() {
    let change = |fake: &mut Fake| {
        fake.link("proc/123/fd/4", "/dev/nvme0n1");
        fake.link("proc/123/fd/5", "socket:[7]");
        fake.file("proc/123/comm", "qemu\n");
    };
    let open = Obstacle::Open {
        device: "nvme0n1".into(),
        process: 123,
        command: "qemu".into(),
    };
    refused(change, &GROUP, &open);
}

#[test]
fn a_device_that_a_program_has_open_under_a_name_of_its_own_is_refused() {
    // /dev/null stands for the device: containers, and whoever may call mknod, name nodes as they like.
    let change = |path: &'static str| {
        move |fake: &mut Fake| {
            fake.link("container/xvda", "/dev/null");
            let inside = fake.system.path("container/xvda").display().to_string();
            fake.link("proc/123/fd/4", &inside);
            fake.file("proc/123/comm", "postgres\n");
            fake.file(&format!("{}/{path}/dev", home(NVME)), "1:3\n");
        }
    };
    let open = Obstacle::Open {
        device: "nvme0".into(),
        process: 123,
        command: "postgres".into(),
    };
    refused(change("nvme/nvme0"), &GROUP, &open);
    // A block device of the same number is another device.
    let mut fake = Fake::new();
    change("nvme/nvme0/nvme0n1")(&mut fake);
    planned(&mut fake, &GROUP, GroupWish::Named).unwrap();
}

/// A controller's node, and a target that exports what `part` says.
fn exporting(fake: &Fake, part: &str, path: &str, enable: &str) {
    fake.file(&format!("{}/nvme/nvme0/dev", home(NVME)), "240:0\n");
    let part = format!("sys/kernel/config/nvmet/subsystems/box/{part}");
    fake.file(&format!("{part}/enable"), enable);
    fake.file(&format!("{part}/device_path"), path);
}

#[test]
fn a_controller_that_is_exported_whole_is_refused() {
    let held = Obstacle::Held {
        device: "nvme0".into(),
        by: "nvmet box/passthru".into(),
    };
    let passthru = |path: &'static str| move |fake: &mut Fake| exporting(fake, "passthru", path, "1\n");
    refused(passthru("/dev/nvme0\n"), &GROUP, &held);
    for (path, enable) in [("/dev/nvme0\n", "0\n"), ("/dev/nvme1\n", "1\n")] {
        let mut fake = Fake::new();
        exporting(&fake, "passthru", path, enable);
        planned(&mut fake, &GROUP, GroupWish::Named).unwrap();
    }
}

#[test]
fn what_is_exported_by_another_name_is_refused_and_so_is_what_may_be() {
    let linked = |fake: &mut Fake| {
        exporting(fake, "passthru", "/dev/by-id/box\n", "1\n");
        fake.file(&format!("{}/nvme/nvme0/dev", home(NVME)), "1:3\n");
        fake.link("dev/by-id/box", "/dev/null");
    };
    let held = Obstacle::Held {
        device: "nvme0".into(),
        by: "nvmet box/passthru".into(),
    };
    refused(linked, &GROUP, &held);
    for part in ["passthru", "namespaces/1"] {
        let mut fake = Fake::new();
        exporting(&fake, part, "/dev/gone\n", "1\n");
        fake.file("dev/some", "");
        let refusals = planned(&mut fake, &GROUP, GroupWish::Named).unwrap_err();
        let is_told = |refusal: &Refusal| refusal.obstacle.to_string().contains("exports /dev/gone");
        assert!(refusals.iter().all(is_told), "{refusals:?}");
    }
}

#[test]
fn bridges_the_boot_display_parents_of_virtual_functions_and_interfaces_that_are_up_stay() {
    refused(|_| (), &[BRIDGE], &Obstacle::Bridge);
    // Intel VMD: a function of another class, with a hierarchy of its own behind it.
    let behind = format!("{}/pci10000:e0/10000:e0:06.0/class", home(NIC));
    refused(|fake| fake.file(&behind, "0x060400\n"), &[NIC], &Obstacle::Bridge);
    refused(
        |fake| fake.file(&format!("{}/boot_vga", home(NIC)), "1\n"),
        &[NIC],
        &Obstacle::BootDisplay,
    );
    refused(
        |fake| fake.file(&format!("{}/sriov_numvfs", home(NIC)), "4\n"),
        &[NIC],
        &Obstacle::VirtualFunctions { count: 4 },
    );
    refused(
        |fake| fake.file(&format!("{}/net/eth0/flags", home(NIC)), "0x1003\n"),
        &[NIC],
        &Obstacle::InterfaceUp {
            interface: "eth0".into(),
        },
    );
}

#[test]
fn functions_without_a_group_with_half_of_one_or_without_vfio_are_refused_with_what_is_missing() {
    refused(
        |fake| fs::remove_file(fake.system.path(format!("{}/iommu_group", home(NIC)))).unwrap(),
        &[NIC],
        &Obstacle::NoGroup,
    );
    let shared = Obstacle::GroupShared {
        group: 7,
        others: vec![(bdf(OTHER), "nvme".into())],
    };
    refused(|_| (), &[NVME], &shared);
    refused(
        |fake| fs::remove_dir_all(fake.system.path("sys/bus/pci/drivers/vfio-pci")).unwrap(),
        &[NIC],
        &Obstacle::NoVfio,
    );
    refused(|_| (), &["0000:77:00.0"], &Obstacle::NoFunction);
    let file = |fake: &Fake| fake.state().join(NIC).display().to_string();
    let mut fake = Fake::new();
    fake.file(&format!("run/peerdma/bind/{NIC}"), "{}");
    let refusals = planned(&mut fake, &[NIC], GroupWish::Named).unwrap_err();
    assert_eq!(refusals[0].obstacle, Obstacle::Recorded { file: file(&fake) });
}

#[test]
fn nothing_is_put_back_that_was_not_bound_is_used_or_belongs_to_somebody_else_by_now() {
    let mut fake = Fake::new();
    let back = |fake: &Fake| returns(&fake.system, &[bdf(NIC)], GroupWish::Named, &fake.state());
    assert!(matches!(
        back(&fake).unwrap_err()[0].obstacle,
        Obstacle::NotRecorded { driver: None, .. }
    ));
    bind(&mut fake, &[NIC]).unwrap();
    fake.link("proc/9/fd/3", "/dev/vfio/8");
    fake.file("proc/9/comm", "vmm\n");
    let open = Obstacle::Open {
        device: "vfio/8".into(),
        process: 9,
        command: "vmm".into(),
    };
    assert_eq!(back(&fake).unwrap_err()[0].obstacle, open);
    let driver = fake.system.path(format!("{}/driver", home(NIC)));
    fs::remove_file(&driver).unwrap();
    fake.link(
        &format!("{}/driver", home(NIC)),
        "../../../bus/pci/drivers/e1000e",
    );
    assert!(matches!(
        &back(&fake).unwrap_err()[0].obstacle,
        Obstacle::Rebound { driver, .. } if driver == "e1000e"
    ));
}

#[test]
fn a_function_below_which_not_everything_was_seen_is_refused() {
    let mut fake = Fake::new();
    let deep = "a/".repeat(40);
    fake.file(&format!("{}/{deep}flags", home(NVME)), "");
    let refused = planned(&mut fake, &[NVME, OTHER], GroupWish::Named).unwrap_err();
    assert!(
        matches!(
            refused[..],
            [Refusal {
                obstacle: Obstacle::Unclear { .. },
                ..
            }]
        ),
        "{refused:?}"
    );
}

#[test]
fn a_disk_without_a_node_is_refused_but_in_a_copy_of_a_machine() {
    let fake = Fake::new();
    let named = GROUP.map(bdf);
    let plan = || crate::bind::plan(&fake.system, &mut Live, &named, GroupWish::Named, &fake.state());
    plan().unwrap();
    fake.file("dev/null", "");
    let refused = plan().unwrap_err();
    let is_unclear = |refusal: &Refusal| matches!(refusal.obstacle, Obstacle::Unclear { .. });
    assert!(
        !refused.is_empty() && refused.iter().all(is_unclear),
        "{refused:?}"
    );
}
