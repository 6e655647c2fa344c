//! What a driver made of a function: device nodes and network interfaces, found in the folders below it.

use super::System;
use super::present::folder;
use super::system::Extent;
use peerdma::addr::Bdf;
use std::path::{Path, PathBuf};

/// Something that programs open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Below `/dev`: `nvme0n1p1`, `dri/card0`.
    pub(super) name: String,
    pub(super) kind: NodeKind,
    /// `major:minor`, as sysfs and mountinfo print it.
    pub(super) number: String,
    /// Its folder in sysfs.
    pub(super) folder: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeKind {
    Block,
    Character,
}

/// What was found below a function.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) nodes: Vec<Node>,
    /// Network interfaces and their folders.
    pub(super) interfaces: Vec<(String, PathBuf)>,
    /// PCI functions, which are looked into no further: below a bridge, or behind a function that is a host bridge of its own (Intel
    /// VMD) though its class does not say so.
    pub(super) functions: Vec<Bdf>,
    /// Were there more folders than are looked into, or deeper ones? Then others may be among them.
    pub(super) is_cut: bool,
}

/// Folders are not nested deeper below a function (a SCSI disk's partition is 9 below its controller).
const DEEPEST: usize = 32;
/// Folders below a function that are looked into.
const MOST_FOLDERS: usize = 200_000;

/// Everything below a function, and what NVMe multipath keeps elsewhere.
pub(super) fn find(system: &System, bdf: Bdf) -> Found {
    let mut found = Found::default();
    let mut left = MOST_FOLDERS;
    walk(system, &folder(bdf), 0, &mut left, &mut found);
    // With native multipath the namespace that is mounted belongs to the subsystem, not to the controller.
    let below = |link: &Path| {
        link.components()
            .any(|part| part.as_os_str() == bdf.to_string().as_str())
    };
    for name in system.names("sys/class/nvme-subsystem") {
        let subsystem = Path::new("sys/class/nvme-subsystem").join(name);
        let controllers = system.names(&subsystem);
        let is_ours = |controller: &String| {
            let link = system.link(subsystem.join(controller));
            controller.starts_with("nvme") && link.is_ok_and(|link| below(&link))
        };
        if controllers.iter().any(is_ours) {
            walk(system, &subsystem, 0, &mut left, &mut found);
        }
    }
    found.nodes.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

fn walk(system: &System, at: &Path, depth: usize, left: &mut usize, found: &mut Found) {
    let (folders, extent) = system.folders(at);
    found.is_cut |= extent == Extent::Cut;
    for name in folders {
        if let Ok(function) = name.parse::<Bdf>() {
            found.functions.push(function);
            continue;
        }
        if *left == 0 || depth >= DEEPEST {
            found.is_cut = true;
            continue;
        }
        *left -= 1;
        let folder = at.join(&name);
        let subsystem = system.link_name(folder.join("subsystem"));
        if subsystem.as_deref() == Some("net") {
            found.interfaces.push((name.clone(), folder.clone()));
        }
        if let Some(number) = system.text(folder.join("dev")) {
            found.nodes.push(Node {
                name: node_name(system, &folder).unwrap_or(name),
                kind: match subsystem.as_deref() {
                    Some("block") => NodeKind::Block,
                    _ => NodeKind::Character,
                },
                number,
                folder: folder.clone(),
            });
        }
        walk(system, &folder, depth + 1, left, found);
    }
}

/// The name that the kernel gives the node itself.
fn node_name(system: &System, folder: &Path) -> Option<String> {
    let uevent = system.text(folder.join("uevent"))?;
    let name = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(name.strip_prefix("/dev/").unwrap_or(name).to_owned())
}
