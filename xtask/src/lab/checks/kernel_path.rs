//! Does what peerdma's verdicts promise happen to data that the kernel's own driver moves?
//!
//! Every NVMe controller writes from, and reads into, the memory of every controller (`lab/guest/src/kernel_path.rs`); fio moves the data, the guest
//! checks what was read, and the host looks at the disks for what was written.

use super::{Check, Need, Plan, Scope};
use crate::chore::Failure;
use crate::lab::boot::{Boot, Taken};
use crate::lab::machine::{Iommu, Machine, Processor, Topology};
use crate::lab::report::Line;
use crate::lab::topologies;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

pub(crate) const CHECK: Check = Check {
    name: "kernel-path",
    promise: "what the kernel's driver moves between NVMe and p2pmem arrives, or is refused, as peerdma's verdict says",
    needs: &[Need::Module("peerdma_judge"), Need::Fio],
    boots,
};

/// As the guest moves it.
const BYTES: usize = 256 << 10;

/// The kernel refuses a pair by one of these: invalid argument, and remote I/O.
const REFUSALS: [u32; 2] = [22, 121];

fn boots(plan: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    let topologies: Vec<Topology> = match plan.scope {
        Scope::Quick => vec![topologies::switch()],
        Scope::Full => topologies::all()
            .into_iter()
            .filter(|topology| topology.controllers() > 1 && topology.controllers() < 10)
            .collect(),
    };
    let mut boots = Vec::new();
    for topology in topologies {
        for (processor, iommu, setting) in [
            (Processor::SkylakeServer, Iommu::Off, "as-booted"),
            (Processor::Epyc, Iommu::Off, "as-booted"),
            (Processor::Epyc, Iommu::Passthrough, "as-booted"),
            (Processor::Epyc, Iommu::On, "as-booted"),
            (Processor::Epyc, Iommu::On, "redirected"),
        ] {
            let machine = Machine::new(topology.clone(), processor, iommu);
            let mut boot = Boot::new(
                machine,
                format!("mod peerdma_judge && lab-guest kernel-path {setting}"),
            );
            boot.name = format!("{}/{setting}", boot.name);
            boot.kernel_line = "ibt=off".into();
            boot.limit = Duration::from_secs(900);
            let pairs = topology.lenders() * topology.controllers();
            boot.judge = Box::new(move |taken, _| judge(taken, iommu, pairs));
            boots.push(boot);
        }
    }
    Ok(boots)
}

fn judge(taken: &Taken, iommu: Iommu, all: usize) -> Vec<Line> {
    let text = |name: &str| {
        taken
            .files
            .get(name)
            .map(|content| String::from_utf8_lossy(content))
    };
    let (Some(matrix), Some(outcomes)) = (text("matrix"), text("outcomes")) else {
        return vec![Line::failed("pairs", "the guest did not send what happened")];
    };
    let verdicts = verdicts(&matrix);
    let mut sum = Sum::default();
    let mut moved = BTreeSet::new();
    for line in outcomes.lines() {
        let outcome = Outcome::read(line).and_then(|outcome| {
            let verdict = verdicts.get(&(outcome.provider, outcome.client)).copied();
            Some((outcome, verdict?))
        });
        let Some((outcome, verdict)) = outcome else {
            return vec![Line::failed("pairs", format!("`{line}` is about no known pair"))];
        };
        moved.insert((outcome.provider, outcome.client));
        let seen = match outcome.seen(taken) {
            Ok(seen) => seen,
            Err(why) => return vec![Line::failed("pairs", why)],
        };
        if !sum.count(verdict, seen, iommu, outcome.memory()) {
            let (provider, client) = (outcome.provider, outcome.client);
            let text = format!(
                "{client} with memory of {provider}: the verdict is {verdict}, the data was {seen:?}"
            );
            return vec![Line::failed("pairs", text)];
        }
    }
    let Sum {
        pairs,
        bus,
        bridge,
        refused,
        swallowed,
    } = sum;
    if (pairs, moved.len()) != (all, all) {
        let text = format!(
            "{pairs} lines about {} pairs, and the machine has {all}",
            moved.len()
        );
        return vec![Line::failed("pairs", text)];
    }
    let swallowed = match swallowed {
        0 => String::new(),
        pairs => format!("; {pairs} by bus address came to nothing in QEMU's IOMMU, as known"),
    };
    vec![Line::held(
        "pairs",
        format!(
            "{pairs} pairs written and read: {bus} arrived by bus address, {bridge} through the host bridge, {refused} refused{swallowed}"
        ),
    )]
}

/// The map types of a matrix as `peerdma matrix --format tsv` prints it, by provider and client.
pub(super) fn verdicts(matrix: &str) -> BTreeMap<(&str, &str), &str> {
    matrix
        .lines()
        .filter_map(|line| {
            let mut columns = line.split('\t');
            Some(((columns.next()?, columns.next()?), columns.nth(1)?))
        })
        .collect()
}

/// What lies on a disk where one move put its data.
pub(super) fn on_disk(taken: &Taken, disk: &str, offset: u64) -> Result<Vec<u8>, String> {
    let path = taken.folder.join(format!("{disk}.img"));
    let failed = |error| format!("{}: {error}", path.display());
    let mut content = vec![0; BYTES];
    let disk = File::open(&path).map_err(failed)?;
    disk.read_exact_at(&mut content, offset).map_err(failed)?;
    Ok(content)
}

/// What became of a pair's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Right,
    Refused,
    /// The kernel reported success, and bytes are wrong.
    Wrong,
    /// Another error, or one way was refused and the other not.
    Else,
}

#[derive(Default)]
struct Sum {
    pairs: usize,
    bus: usize,
    bridge: usize,
    refused: usize,
    swallowed: usize,
}

impl Sum {
    /// Whether what was seen is what the verdict promised.
    fn count(&mut self, verdict: &str, seen: Seen, iommu: Iommu, memory: Whose) -> bool {
        self.pairs += 1;
        let counter = match (verdict, seen) {
            ("BUS_ADDR", Seen::Right) => &mut self.bus,
            ("THRU_HOST_BRIDGE", Seen::Right) => &mut self.bridge,
            ("NOT_SUPPORTED", Seen::Refused) => &mut self.refused,
            // QEMU sends every packet to its IOMMU, also those that a switch would turn around, and its NVMe
            // controller ignores that they fault there. A controller finds its own memory without one.
            ("BUS_ADDR", Seen::Wrong) if iommu == Iommu::On && memory == Whose::Peer => &mut self.swallowed,
            _ => return false,
        };
        *counter += 1;
        true
    }
}

/// Whose memory a controller uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Own,
    Peer,
}

/// A line of the guest's.
struct Outcome<'a> {
    provider: &'a str,
    client: &'a str,
    disk: &'a str,
    offset: u64,
    pattern: u32,
    written: u32,
    read: u32,
}

impl<'a> Outcome<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split(' ');
        Some(Self {
            provider: words.next()?,
            client: words.next()?,
            disk: words.next()?,
            offset: words.next()?.parse().ok()?,
            pattern: u32::from_str_radix(words.next()?, 16).ok()?,
            written: words.next()?.parse().ok()?,
            read: words.next()?.parse().ok()?,
        })
    }

    fn memory(&self) -> Whose {
        if self.provider == self.client {
            Whose::Own
        } else {
            Whose::Peer
        }
    }

    /// What the errors and the disk say together.
    fn seen(&self, taken: &Taken) -> Result<Seen, String> {
        const VERIFY: u32 = 84;
        let content = on_disk(taken, self.disk, self.offset)?;
        let is_there = content.chunks(4).all(|word| word == self.pattern.to_be_bytes());
        let is_untouched = content.iter().all(|&byte| byte == 0);
        Ok(match (self.written, self.read) {
            (0, 0) if is_there => Seen::Right,
            (0, 0 | VERIFY) => Seen::Wrong,
            (written, read) if REFUSALS.contains(&written) && REFUSALS.contains(&read) && is_untouched => {
                Seen::Refused
            }
            _ => Seen::Else,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_data_is_excused_only_where_qemu_is_known_to_swallow_it() {
        let held = |verdict, seen, iommu, memory| Sum::default().count(verdict, seen, iommu, memory);
        assert!(held("BUS_ADDR", Seen::Wrong, Iommu::On, Whose::Peer));
        assert!(!held("BUS_ADDR", Seen::Wrong, Iommu::On, Whose::Own));
        assert!(!held("BUS_ADDR", Seen::Wrong, Iommu::Off, Whose::Peer));
        assert!(!held("THRU_HOST_BRIDGE", Seen::Wrong, Iommu::On, Whose::Peer));
        assert!(!held("NOT_SUPPORTED", Seen::Right, Iommu::Off, Whose::Peer));
        assert!(!held("THRU_HOST_BRIDGE", Seen::Refused, Iommu::Off, Whose::Peer));
        assert!(held("NOT_SUPPORTED", Seen::Refused, Iommu::Off, Whose::Peer));
    }
}
