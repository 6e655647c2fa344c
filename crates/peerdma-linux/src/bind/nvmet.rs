//! What this machine exports as an NVMe target: block devices as namespaces, and whole controllers (passthru).
//!
//! Called by [`in_use`](super::in_use). The target claims neither for itself, so that nothing else shows it (`nvmet_bdev_ns_enable`, `nvmet_passthru_ctrl_enable`).

use super::nodes::{self, Node, NodeKind};
use super::{Obstacle, System};
use std::io;
use std::path::Path;

/// The exports that are switched on and made of the node, or may be.
pub(super) fn exports(system: &System, node: &Node) -> Vec<Obstacle> {
    let subsystems = Path::new("sys/kernel/config/nvmet/subsystems");
    let mut exports = Vec::new();
    for subsystem in system.names(subsystems) {
        let folder = subsystems.join(&subsystem);
        let parts = match node.kind {
            NodeKind::Block => {
                let numbers = system.names(folder.join("namespaces")).into_iter();
                numbers
                    .map(|number| (folder.join("namespaces").join(&number), number))
                    .collect()
            }
            NodeKind::Character => vec![(folder.join("passthru"), "passthru".to_owned())],
        };
        for (part, name) in parts {
            if system.text(part.join("enable")).as_deref() != Some("1") {
                continue;
            }
            let Some(path) = system.text(part.join("device_path")) else {
                continue;
            };
            let device = node.name.clone();
            match leads(system, &path, node) {
                Ok(true) => exports.push(Obstacle::Held {
                    device,
                    by: format!("nvmet {subsystem}/{name}"),
                }),
                Ok(false) => {}
                Err(error) => exports.push(Obstacle::Unclear {
                    device,
                    why: format!(
                        "nvmet {subsystem}/{name} exports {path} ({error}); switch that off if it is of no use"
                    ),
                }),
            }
        }
    }
    exports
}

/// Is it the node that the path leads to? It is kept as it was written: often a link below /dev/disk.
fn leads(system: &System, path: &str, node: &Node) -> io::Result<bool> {
    if node.is_named(path) {
        return Ok(true);
    }
    let Some(below) = path.strip_prefix('/') else {
        return Err(io::Error::other("the path does not begin at the root"));
    };
    match nodes::device(&system.path(below)) {
        Ok(device) => Ok(device.is_some_and(|device| node.is(&device))),
        // A copy of a machine's tree has no nodes at all.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !system.has("dev") => Ok(false),
        Err(error) => Err(error),
    }
}
