//! A GPU that a program computes on stays with its driver.

use super::fake::{Fake, NIC, bdf, home};
use super::{GroupWish, planned};
use crate::bind::Obstacle;

/// A machine whose last function is a GPU of this driver, and a program with these files open.
fn machine(driver: &str, open: &[&str]) -> Fake {
    let fake = Fake::new();
    fake.file(&format!("sys/bus/pci/drivers/{driver}/bind"), "");
    fake.link(
        &format!("{}/driver", home(NIC)),
        &format!("../../../bus/pci/drivers/{driver}"),
    );
    for (number, file) in open.iter().enumerate() {
        fake.link(&format!("proc/77/fd/{number}"), file);
    }
    fake.file("proc/77/comm", "train\n");
    fake
}

/// The devices that keep the GPU with its driver, for the program that has them open.
fn kept_by(mut fake: Fake) -> Vec<String> {
    let refusals = match planned(&mut fake, &[NIC], GroupWish::Named) {
        Ok(_) => return Vec::new(),
        Err(refusals) => refusals,
    };
    let device = |refusal: super::Refusal| match refusal.obstacle {
        Obstacle::Open {
            device,
            process: 77,
            command,
        } if command == "train" && refusal.bdf == bdf(NIC) => device,
        other => panic!("{other}"),
    };
    let mut devices: Vec<String> = refusals.into_iter().map(device).collect();
    devices.sort_unstable();
    devices
}

const CUDA: [&str; 3] = ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia1"];

fn says_minor(fake: &Fake, minor: &str) {
    let information = format!("Model: \t\t Some GPU\nDevice Minor: \t {minor}\nGPU Excluded:\t No\n");
    fake.file(
        &format!("proc/driver/nvidia/gpus/{NIC}/information"),
        &information,
    );
}

#[test]
fn nvidias_gpu_is_kept_by_who_has_its_node_open_and_not_by_who_uses_another() {
    for (minor, kept) in [("1", vec!["nvidia1"]), ("0", vec![])] {
        let fake = machine("nvidia", &CUDA);
        says_minor(&fake, minor);
        assert_eq!(kept_by(fake), kept);
    }
}

#[test]
fn where_nvidias_driver_does_not_say_which_node_is_whose_any_open_one_keeps_the_gpu() {
    assert_eq!(kept_by(machine("nvidia", &CUDA)), ["nvidia1", "nvidiactl"]);
    let fake = machine("nvidia", &CUDA);
    says_minor(&fake, "none");
    assert_eq!(kept_by(fake).len(), 2);
    assert!(kept_by(machine("nvidia", &["/dev/null"])).is_empty());
    // The nodes of one driver say nothing about the GPU of another.
    assert!(kept_by(machine("xe", &CUDA)).is_empty());
}

#[test]
fn a_gpu_that_goes_by_drm_is_kept_by_who_draws_or_computes_on_it() {
    for driver in ["amdgpu", "i915", "xe", "nvidia"] {
        for name in ["drm/card0", "drm/renderD128", "accel/accel0"] {
            let node = name.replace("drm/", "dri/");
            let fake = machine(driver, &[&format!("/dev/{node}")]);
            says_minor(&fake, "0");
            fake.file(&format!("{}/{name}/dev", home(NIC)), "226:0\n");
            fake.file(
                &format!("{}/{name}/uevent", home(NIC)),
                &format!("MAJOR=226\nDEVNAME={node}\n"),
            );
            assert_eq!(kept_by(fake), [node], "{driver}");
        }
    }
}

#[test]
fn amds_gpus_are_kept_by_who_computes_on_any_of_them() {
    for (driver, kept) in [("amdgpu", vec!["kfd"]), ("xe", vec![])] {
        let fake = machine(driver, &["/dev/kfd"]);
        fake.file("sys/devices/virtual/kfd/kfd/dev", "511:0\n");
        fake.link("sys/class/kfd/kfd", "../../devices/virtual/kfd/kfd");
        assert_eq!(kept_by(fake), kept);
    }
}
