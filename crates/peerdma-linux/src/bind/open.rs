//! Programs that have a node open, found among the files of every program.
//!
//! Called by [`in_use`](super::in_use). Seen is what proc_pid_fd(5) lists: neither files that io_uring keeps, nor those on their way through a
//! socket, nor mappings whose file was closed.

use super::nodes::{self, Node};
use super::system::Extent;
use super::{Obstacle, System};
use std::path::Path;

/// Programs of a machine, and open files of a program, that are looked at: numbers of programs end here (`PID_MAX_LIMIT`, include/linux/threads.h).
const MOST_OPEN: usize = 1 << 22;

/// Programs that have a node open, as far as we may look into them.
pub(super) fn opened(system: &System, wanted: &[Node], uses: &mut Vec<Obstacle>) {
    opened_within(system, wanted, MOST_OPEN, uses);
}

fn opened_within(system: &System, wanted: &[Node], most: usize, uses: &mut Vec<Obstacle>) {
    let Some(first) = wanted.first() else {
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
            // Sockets, pipes and what else has no path are not asked.
            let device = match target.starts_with('/') {
                true => nodes::device(&system.path(&file)).ok().flatten(),
                false => None,
            };
            // By its number, whatever a container calls it; by its name in a copy of a machine's tree.
            let is_open = |node: &&Node| {
                node.is_named(&target) || device.as_ref().is_some_and(|device| node.is(device))
            };
            let Some(node) = wanted.iter().find(is_open) else {
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

#[cfg(test)]
mod tests {
    use super::super::nodes::NodeKind;
    use super::*;
    use std::fs;
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
