//! Nodes of GPU drivers that sysfs does not show below the function: NVIDIA's, and the one that all of AMD's share.
//!
//! Called by [`nodes`](super::nodes). What goes by DRM (`dri/card0`, `dri/renderD128`, `accel/accel0`) lies below the function, and is found there.

use super::System;
use super::nodes::{Node, NodeKind};
use super::present::folder;
use peerdma::addr::Bdf;
use std::path::Path;

/// NVIDIA's nodes have this major number (`NV_MAJOR_DEVICE_NUMBER`, nv-chardev-numbers.h of NVIDIA's published modules).
const NVIDIA_MAJOR: u32 = 195;
/// What serves all GPUs, next to a node for each.
const NVIDIA_MODESET: u32 = 254;
const NVIDIA_CONTROL: u32 = 255;

/// The nodes by which programs use this GPU, or may.
pub(super) fn nodes(system: &System, bdf: Bdf) -> Vec<Node> {
    match system.link_name(folder(bdf).join("driver")).as_deref() {
        Some("nvidia") => nvidia(system, bdf),
        Some("amdgpu") => compute(system).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// The GPU's own node; all that the driver has where it does not say which that is.
fn nvidia(system: &System, bdf: Bdf) -> Vec<Node> {
    let node = |minor: u32| Node {
        name: match minor {
            NVIDIA_MODESET => "nvidia-modeset".into(),
            NVIDIA_CONTROL => "nvidiactl".into(),
            _ => format!("nvidia{minor}"),
        },
        kind: NodeKind::Character,
        number: format!("{NVIDIA_MAJOR}:{minor}"),
        folder: folder(bdf),
    };
    let information = system.text(format!("proc/driver/nvidia/gpus/{bdf}/information"));
    let minor = information.as_deref().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("Device Minor:"))?;
        line.trim().parse::<u32>().ok()
    });
    match minor {
        Some(minor) => vec![node(minor)],
        None => (0..=NVIDIA_CONTROL).map(node).collect(),
    }
}

/// Who opens `/dev/kfd` is made a user of every GPU that he may use (`kfd_init_apertures` in drivers/gpu/drm/amd/amdkfd/kfd_flat_memory.c).
fn compute(system: &System) -> Option<Node> {
    let folder = Path::new("sys/class/kfd/kfd");
    Some(Node {
        name: "kfd".into(),
        kind: NodeKind::Character,
        number: system.text(folder.join("dev"))?,
        folder: folder.into(),
    })
}
