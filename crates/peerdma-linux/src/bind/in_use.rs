//! Who uses what a driver made of a function: mounts, swap, other block devices, programs, the network.

use super::nodes::{self, Node, NodeKind};
use super::open::opened;
use super::{Hands, Obstacle, System, nvmet};
use peerdma::addr::Bdf;
use std::io::ErrorKind;
use std::path::Path;

/// Everything that keeps a function from being taken from its driver.
pub(super) fn uses(system: &System, hands: &mut impl Hands, bdf: Bdf) -> Vec<Obstacle> {
    let found = nodes::find(system, bdf);
    let mut uses = Vec::new();
    if !found.functions.is_empty() {
        uses.push(Obstacle::Bridge);
    }
    if found.is_cut {
        uses.push(Obstacle::Unclear {
            device: bdf.to_string(),
            why: "more lies below it than is looked into".into(),
        });
    }
    let blocks = || found.nodes.iter().filter(|node| node.kind == NodeKind::Block);
    let mut used = Vec::new();
    for node in &found.nodes {
        let before = uses.len();
        if node.kind == NodeKind::Block {
            mounted(system, node, &mut uses);
            swapped(system, node, &mut uses);
            held(system, node, &mut uses);
        }
        uses.extend(nvmet::exports(system, node));
        if uses.len() > before {
            used.push(&node.folder);
        }
    }
    for node in blocks() {
        // Whoever uses a partition claims its disk, too.
        let known = used.iter().any(|folder| folder.starts_with(&node.folder));
        match hands.is_claimed(&system.path("dev").join(&node.name), &node.number) {
            // Whoever it is, he is named already, or sits where we do not see him: another mount namespace, a file system of many devices.
            Ok(true) if !known => uses.push(Obstacle::Claimed {
                device: node.name.clone(),
            }),
            Ok(_) => {}
            // A copy of a machine's tree has no nodes at all, and nobody to lose anything.
            Err(error) if error.kind() == ErrorKind::NotFound && !system.has("dev") => {}
            Err(error) => uses.push(Obstacle::Unclear {
                device: node.name.clone(),
                why: error.to_string(),
            }),
        }
    }
    opened(system, &found.nodes, &mut uses);
    for (interface, folder) in &found.interfaces {
        const IFF_UP: u32 = 1;
        let flags = system.text(folder.join("flags"));
        let flags = flags.and_then(|text| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok());
        // What cannot be read may be up.
        if flags.is_none_or(|flags| flags & IFF_UP != 0) {
            uses.push(Obstacle::InterfaceUp {
                interface: interface.clone(),
            });
        }
    }
    uses
}

/// Programs that hold the VFIO group or device of a function: taking it from vfio-pci would wait for them.
pub(super) fn lent_to(system: &System, bdf: Bdf, group: Option<u32>) -> Vec<Obstacle> {
    let mut nodes = nodes::find(system, bdf).nodes;
    nodes.extend(group.map(|group| {
        let folder = Path::new("sys/class/vfio").join(group.to_string());
        Node {
            name: format!("vfio/{group}"),
            kind: NodeKind::Character,
            number: system.text(folder.join("dev")).unwrap_or_default(),
            folder,
        }
    }));
    let mut uses = Vec::new();
    opened(system, &nodes, &mut uses);
    uses
}

/// Mounts of this process and of the first one (proc_pid_mountinfo(5)).
fn mounted(system: &System, node: &Node, uses: &mut Vec<Obstacle>) {
    let tables = ["proc/self/mountinfo", "proc/1/mountinfo"];
    for line in tables.iter().filter_map(|path| system.text(path)).flat_map(lines) {
        let mut words = line.split(' ');
        let number = words.nth(2);
        let Some(at) = words.nth(1) else {
            continue;
        };
        let source = line
            .split_once(" - ")
            .and_then(|(_, rest)| rest.split(' ').nth(1));
        // A file system of several devices (btrfs) has a number of its own, and names one of them.
        let is_of_node = number == Some(&node.number) || source.is_some_and(|source| node.is_named(source));
        let mount = Obstacle::Mounted {
            device: node.name.clone(),
            at: at.to_owned(),
        };
        if is_of_node && !uses.contains(&mount) {
            uses.push(mount);
        }
    }
}

fn swapped(system: &System, node: &Node, uses: &mut Vec<Obstacle>) {
    let swaps = system.text("proc/swaps").unwrap_or_default();
    let mut sources = swaps
        .lines()
        .skip(1)
        .filter_map(|line| line.split_ascii_whitespace().next());
    if sources.any(|source| node.is_named(source)) {
        uses.push(Obstacle::Swap {
            device: node.name.clone(),
        });
    }
}

/// Block devices that are made of it (dm, md, bcache), and loop devices.
fn held(system: &System, node: &Node, uses: &mut Vec<Obstacle>) {
    let mut by = system.names(node.folder.join("holders"));
    let backing = |name: &String| system.text(format!("sys/block/{name}/loop/backing_file"));
    let loops = system
        .names("sys/block")
        .into_iter()
        .filter(|name| name.starts_with("loop"));
    by.extend(loops.filter(|name| backing(name).is_some_and(|source| node.is_named(&source))));
    uses.extend(by.into_iter().map(|by| Obstacle::Held {
        device: node.name.clone(),
        by,
    }));
}

fn lines(text: String) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
