//! What a driver made of a function: device nodes and network interfaces, found in the folders below it.

use super::present::folder;
use super::system::Extent;
use super::{System, gpu};
use peerdma::addr::Bdf;
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags};
use std::io;
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

/// What a file is a node of, whatever its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    kind: NodeKind,
    /// `major:minor`.
    number: String,
}

impl Node {
    /// Is it the node's path on this machine?
    pub(super) fn is_named(&self, path: &str) -> bool {
        path.strip_prefix("/dev/") == Some(&self.name)
    }

    /// Is it what the node stands for?
    pub(super) fn is(&self, device: &Device) -> bool {
        self.kind == device.kind && self.number == device.number
    }
}

/// What the file at `path` is a node of; nothing where it is another kind of file.
///
/// Every open file of every program is asked so, among them some of servers that are gone. Kind and number of a file never change, so that what
/// the kernel remembers is enough: with `AT_STATX_DONT_SYNC` and nothing but the kind wanted, neither NFS nor FUSE asks its server
/// (`nfs_getattr`, `fuse_update_get_attr`), and following a link of /proc asks NFS no more than whether the file was removed here
/// (`nfs_weak_revalidate`). SMB and 9p may ask, where they hold nothing; GFS2 and OCFS2 take their lock. A stat(2) would wait for all of them, and
/// the text of the link does not tell: it is a path of the program's own.
///
/// # Errors
/// Those of statx(2).
pub(super) fn device(path: &Path) -> io::Result<Option<Device>> {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let found = rustix::fs::statx(CWD, path, flags, StatxFlags::TYPE)?;
    let kind = match FileType::from_raw_mode(found.stx_mode.into()) {
        FileType::BlockDevice => NodeKind::Block,
        FileType::CharacterDevice => NodeKind::Character,
        _ => return Ok(None),
    };
    let number = format!("{}:{}", found.stx_rdev_major, found.stx_rdev_minor);
    Ok(Some(Device { kind, number }))
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

/// Everything below a function, and what NVMe multipath and drivers of GPUs keep elsewhere.
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
    found.nodes.extend(gpu::nodes(system, bdf));
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
