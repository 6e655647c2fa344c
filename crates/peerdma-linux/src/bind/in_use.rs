//! Who uses what a driver made of a function: mounts, swap, other block devices, programs, the network.

use super::nodes::{self, Node, NodeKind};
use super::system::Extent;
use super::{Hands, Obstacle, System};
use peerdma::addr::Bdf;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
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
    for node in blocks() {
        let before = uses.len();
        mounted(system, node, &mut uses);
        swapped(system, node, &mut uses);
        held(system, node, &mut uses);
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
        let is_of_node = number == Some(&node.number) || source.is_some_and(|source| is_node(source, node));
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
    if sources.any(|source| is_node(source, node)) {
        uses.push(Obstacle::Swap {
            device: node.name.clone(),
        });
    }
}

/// Block devices that are made of it (dm, md, bcache), loop devices, and namespaces that the machine exports.
fn held(system: &System, node: &Node, uses: &mut Vec<Obstacle>) {
    let mut by = system.names(node.folder.join("holders"));
    let backing = |name: &String| system.text(format!("sys/block/{name}/loop/backing_file"));
    let loops = system
        .names("sys/block")
        .into_iter()
        .filter(|name| name.starts_with("loop"));
    by.extend(loops.filter(|name| backing(name).is_some_and(|source| is_node(&source, node))));
    let targets = Path::new("sys/kernel/config/nvmet/subsystems");
    for subsystem in system.names(targets) {
        let namespaces = targets.join(&subsystem).join("namespaces");
        by.extend(system.names(&namespaces).into_iter().filter_map(|number| {
            let namespace = namespaces.join(&number);
            let is_on = system.text(namespace.join("enable")).as_deref() == Some("1");
            let source = system.text(namespace.join("device_path"))?;
            (is_on && is_node(&source, node)).then(|| format!("nvmet {subsystem}/{number}"))
        }));
    }
    uses.extend(by.into_iter().map(|by| Obstacle::Held {
        device: node.name.clone(),
        by,
    }));
}

/// Programs of a machine, and open files of a program, that are looked at: numbers of programs end here (`PID_MAX_LIMIT`, include/linux/threads.h).
const MOST_OPEN: usize = 1 << 22;

/// Programs that have a node open, as far as we may look into them.
fn opened(system: &System, nodes: &[Node], uses: &mut Vec<Obstacle>) {
    opened_within(system, nodes, MOST_OPEN, uses);
}

fn opened_within(system: &System, nodes: &[Node], most: usize, uses: &mut Vec<Obstacle>) {
    let Some(first) = nodes.first() else {
        return;
    };
    // What we were started with is open in whoever started us, too.
    let own = system.link_name("proc/self");
    let mut processes: Vec<u32> = Vec::new();
    let programs = system.visit("proc", most, |name| {
        processes.extend(name.parse::<u32>().ok().filter(|_| own.as_ref() != Some(&name)));
    });
    processes.sort_unstable();
    let mut is_cut = programs == Extent::Cut;
    for process in processes {
        let folder = format!("proc/{process}/fd");
        let files = system.visit(&folder, most, |number| {
            let file = Path::new(&folder).join(number);
            let Ok(target) = system.link(&file) else {
                return;
            };
            let target = target.to_string_lossy();
            let Some(node) = nodes.iter().find(|node| is_open(system, &file, &target, node)) else {
                return;
            };
            let open = Obstacle::Open {
                device: node.name.clone(),
                process,
                command: system.text(format!("proc/{process}/comm")).unwrap_or_default(),
            };
            if !uses.contains(&open) {
                uses.push(open);
            }
        });
        is_cut |= files == Extent::Cut;
    }
    if is_cut {
        uses.push(Obstacle::Unclear {
            device: first.name.clone(),
            why: "more programs, or open files of one, are there than are looked at".into(),
        });
    }
}

/// Is the open file the node? By its path, or by its number where a container has the node elsewhere.
fn is_open(system: &System, file: &Path, target: &str, node: &Node) -> bool {
    if is_node(target, node) {
        return true;
    }
    // Nothing else is asked for its number: a file on a dead network mount would not answer.
    if !target.starts_with('/') || Path::new(target).file_name() != Path::new(&node.name).file_name() {
        return false;
    }
    fs::metadata(system.path(file)).is_ok_and(|metadata| {
        let is_kind = match node.kind {
            NodeKind::Block => metadata.file_type().is_block_device(),
            NodeKind::Character => metadata.file_type().is_char_device(),
        };
        let number = metadata.rdev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        is_kind && node.number == format!("{major}:{minor}")
    })
}

fn is_node(path: &str, node: &Node) -> bool {
    path.strip_prefix("/dev/") == Some(&node.name)
}

fn lines(text: String) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_program_is_seen_however_many_files_it_has_open_or_that_not_all_were_seen() {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("proc/7/fd");
        fs::create_dir_all(&files).unwrap();
        for number in 0..20 {
            symlink("/dev/null", files.join(number.to_string())).unwrap();
        }
        let node = Node {
            name: "nvme0".into(),
            kind: NodeKind::Character,
            number: "240:0".into(),
            folder: "sys/class/nvme/nvme0".into(),
        };
        let nodes = [node];
        let system = System::new(folder.path());
        let within = |most| {
            let mut uses = Vec::new();
            opened_within(&system, &nodes, most, &mut uses);
            uses
        };
        assert_eq!(within(20), []);
        assert!(matches!(within(19)[..], [Obstacle::Unclear { .. }]));
        symlink("/dev/nvme0", files.join("20")).unwrap();
        assert!(matches!(within(21)[..], [Obstacle::Open { process: 7, .. }]));
    }
}
