//! What becomes of copies to which something happens, and of the disks that they were let loose on?
//!
//! The guest (`lab/guest/src/wrong/`) lets things happen, judges what peerdma says, and tells which part of which disk each copy was about; the
//! host looks at every block of every disk.

use super::{Check, Need, Plan, Scope};
use crate::chore::Failure;
use crate::lab::boot::{Boot, Faults, Kernel, Taken};
use crate::lab::machine::{Iommu, Machine, Processor};
use crate::lab::report::Line;
use crate::lab::topologies;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

pub(crate) const CHECK: Check = Check {
    name: "going-wrong",
    promise: "whatever happens to a copy, it says so, ends, leaves nothing mapped, and no block is neither old nor new",
    needs: &[
        Need::KernelModule("vfio"),
        Need::KernelModule("vfio_iommu_type1"),
        Need::KernelModule("vfio-pci"),
    ],
    boots,
};

const BLOCK_BYTES: usize = 512;
/// The guest fills the first 64 MiB of a disk; what lies behind stays zeros.
const FILLED_BLOCKS: u64 = (64 << 20) / BLOCK_BYTES as u64;
/// So many copies have a controller reset, and half as many its memory switched off.
const DISTURBED: u32 = 30;
const MODULES: &str = "mod irqbypass vfio vfio_iommu_type1 vfio-pci-core vfio-pci";

pub(crate) const IOMMUFD: Check = Check {
    name: "wrong-iommufd",
    promise: "the same of copies between controllers by the files of devices and iommufd (--full)",
    needs: &[Need::Iommufd],
    boots: boots_iommufd,
};

fn boots(plan: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    let mut scenarios = vec![
        "interrupted",
        "refused",
        "iommu-fault",
        "faults",
        "left",
        "kernel",
    ];
    if plan.scope == Scope::Full {
        scenarios.push("disturbed");
    }
    let boots = scenarios.into_iter();
    Ok(boots.map(|scenario| boot(plan, scenario, "type1")).collect())
}

fn boots_iommufd(plan: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    let scenarios = [
        "interrupted",
        "refused",
        "iommu-fault",
        "faults",
        "left",
        "disturbed",
    ];
    Ok(match plan.scope {
        Scope::Quick => Vec::new(),
        Scope::Full => {
            let boot = |scenario| Boot {
                kernel: Kernel::Iommufd,
                ..boot(plan, scenario, "iommufd")
            };
            scenarios.map(boot).into()
        }
    })
}

fn boot(plan: &Plan<'_>, scenario: &str, api: &str) -> Boot {
    let scope = match plan.scope {
        Scope::Quick => "few",
        Scope::Full => "all",
    };
    let (iommu, words, limit_s) = match scenario {
        // Where QEMU's IOMMU translates, the kernel's pairs below one switch come to nothing.
        "kernel" => (Iommu::Off, String::new(), 900),
        "faults" => (Iommu::On, format!("{api} {scope}"), 3600),
        "disturbed" => (Iommu::On, format!("{api} {DISTURBED}"), 3600),
        _ => (Iommu::On, api.to_owned(), 900),
    };
    let machine = Machine::new(topologies::going_wrong(), Processor::Epyc, iommu);
    // Who may lock nothing more cannot be given a limit.
    let script = format!("ulimit -l unlimited && lab-guest wrong {scenario} {words}");
    let mut boot = Boot::new(machine, script);
    if api == "type1" {
        // In the kernel with iommufd they are built in.
        boot.script = format!("{MODULES} && {}", boot.script);
    }
    boot.name = scenario.into();
    boot.limit = Duration::from_secs(limit_s);
    if scenario == "faults" {
        boot.faults = Faults::Possible;
        boot.script = format!("chmod +x /payload/peerdma-faults && {}", boot.script);
    }
    boot.judge = Box::new(|taken, _| match judge(taken) {
        Ok(text) => vec![Line::held("disks", text)],
        Err(why) => vec![Line::failed("disks", why)],
    });
    boot
}

/// Looks at every block of the disks that were filled.
fn judge(taken: &Taken) -> Result<String, String> {
    let text = taken
        .files
        .get("ranges")
        .ok_or("the guest did not send which parts of disks it used")?;
    let ranges = Ranges::read(&String::from_utf8_lossy(text))
        .ok_or("what the guest sent is no list of parts of disks")?;
    let mut sum = Sum::default();
    for disk in &ranges.filled {
        let path = taken.folder.join(format!("disk{disk}.img"));
        let content = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        for (index, block) in (0u64..).zip(content.chunks_exact(BLOCK_BYTES)) {
            let found = ranges.at(*disk, index);
            let seen = Seen::of(block, *disk, index, found.map(|range| range.source));
            sum.count(found, index, seen)
                .map_err(|why| format!("disk{disk}, block {index}: {why}"))?;
        }
    }
    sum.told()
}

/// A part of a disk that one copy was about.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    name: String,
    source: u64,
    destination: u64,
    first_block: u64,
    blocks: u64,
    holds: Holds,
    /// How many blocks from the first on are new for certain.
    new_blocks: u64,
}

/// What its destination is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    New,
    OldOrNew,
    Old,
    /// The copy says that it is not proven, and went through memory that was taken away.
    Anything,
}

struct Ranges {
    filled: Vec<u64>,
    /// By their first block: no two have a block in common.
    all: BTreeMap<u64, Range>,
}

impl Ranges {
    /// `DISK...` on the first line, then `NAME SOURCE DESTINATION FIRST BLOCKS HOLDS NEW`; of two lines about one part the later
    /// knows more.
    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let filled = lines.next()?.split(' ').map(|word| word.parse().ok());
        let filled = filled.collect::<Option<Vec<u64>>>()?;
        let ranges = lines.map(|line| {
            let mut words = line.split(' ');
            let name = words.next()?.to_owned();
            let mut number = || words.next()?.parse::<u64>().ok();
            let (source, destination, first_block, blocks) = (number()?, number()?, number()?, number()?);
            let holds = match words.next()? {
                "new" => Holds::New,
                "old-or-new" => Holds::OldOrNew,
                "old" => Holds::Old,
                "anything" => Holds::Anything,
                _ => return None,
            };
            let new_blocks = words.next()?.parse().ok()?;
            let range = Range {
                new_blocks,
                name,
                source,
                destination,
                first_block,
                blocks,
                holds,
            };
            Some((first_block, range))
        });
        Some(Self {
            filled,
            all: ranges.collect::<Option<_>>()?,
        })
    }

    /// The part that a block of a disk may have been written in.
    fn at(&self, disk: u64, index: u64) -> Option<&Range> {
        let (_, range) = self.all.range(..=index).next_back()?;
        let is_inside = index - range.first_block < range.blocks;
        (is_inside && range.destination == disk).then_some(range)
    }
}

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Old,
    New,
    Neither,
}

impl Seen {
    fn of(block: &[u8], disk: u64, index: u64, source: Option<u64>) -> Self {
        if index >= FILLED_BLOCKS {
            return match block.iter().all(|byte| *byte == 0) {
                true => Seen::Old,
                false => Seen::Neither,
            };
        }
        let is = |disk| {
            block
                .chunks(8)
                .all(|word| word == word_of(disk, index).to_le_bytes())
        };
        match (is(disk), source.is_some_and(is)) {
            (true, _) => Seen::Old,
            (_, true) => Seen::New,
            _ => Seen::Neither,
        }
    }
}

/// As the guest fills disks: a block is this word, over and over.
fn word_of(disk: u64, index: u64) -> u64 {
    (disk << 32 | index).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

#[derive(Default)]
struct Sum {
    blocks: u64,
    /// New blocks, and all, of what was caught in the middle, by the copy's name.
    caught: BTreeMap<(String, u64), (u64, u64)>,
}

impl Sum {
    fn count(&mut self, range: Option<&Range>, index: u64, seen: Seen) -> Result<(), String> {
        self.blocks += 1;
        let holds = match range {
            Some(range) if index - range.first_block < range.new_blocks => Holds::New,
            Some(range) => range.holds,
            None => Holds::Old,
        };
        let is_right = match holds {
            Holds::New => seen == Seen::New,
            Holds::Old => seen == Seen::Old,
            Holds::Anything => true,
            Holds::OldOrNew => seen != Seen::Neither,
        };
        let name = range.map_or("no copy", |range| &range.name);
        if !is_right {
            return Err(format!("{seen:?}, of `{name}`, where {holds:?} was to be seen"));
        }
        if let Some(range) = range.filter(|range| range.holds == Holds::OldOrNew) {
            let place = self
                .caught
                .entry((range.name.clone(), range.first_block))
                .or_default();
            place.0 += u64::from(seen == Seen::New);
            place.1 += 1;
        }
        Ok(())
    }

    fn told(self) -> Result<String, String> {
        if self.blocks == 0 {
            return Err("no disk was looked at".into());
        }
        let is_halfway = |(new, all): &&(u64, u64)| *new > 0 && new < all;
        let halfway = self.caught.values().filter(is_halfway).count();
        Ok(format!(
            "{} blocks: none changed outside of a copy's range; of {} copies that something happened to, {halfway} were caught in the middle, every block \
             old or new",
            self.blocks,
            self.caught.len()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "1 3\nKILL 1 3 0 4 old-or-new 0\nKILL 1 3 0 4 old-or-new 1\nfresh 1 3 5 2 new 2\nrefused 1 3 8 2 old 0\n";

    fn block(disk: u64, index: u64) -> Vec<u8> {
        word_of(disk, index).to_le_bytes().repeat(BLOCK_BYTES / 8)
    }

    fn counted(disk: u64, index: u64, content: &[u8]) -> Result<(), String> {
        let ranges = Ranges::read(TEXT).unwrap();
        let range = ranges.at(disk, index);
        let seen = Seen::of(content, disk, index, range.map(|range| range.source));
        Sum::default().count(range, index, seen)
    }

    #[test]
    fn only_the_range_of_a_copy_may_be_new_and_no_block_may_be_torn() {
        for index in 0..10 {
            let (old, new) = (block(3, index), block(1, index));
            let torn = [&new[..256], &old[256..]].concat();
            assert_eq!(
                counted(3, index, &old).is_ok(),
                // The first was said to be written.
                ![0, 5, 6].contains(&index),
                "{index}"
            );
            assert_eq!(
                counted(3, index, &new).is_ok(),
                index < 4 || (5..7).contains(&index),
                "{index}"
            );
            assert!(counted(3, index, &torn).is_err(), "{index}");
            assert!(counted(3, index, &block(1, index + 1)).is_err(), "{index}");
            assert!(counted(1, index, &new).is_ok(), "{index}");
            assert!(counted(1, index, &old).is_err(), "{index}");
        }
    }

    #[test]
    fn what_is_no_list_of_ranges_is_not_taken_for_an_empty_one() {
        for text in ["", "x\n", "1\nKILL 1 3 0 4 perhaps 0\n", "1\nKILL 1 3 0\n"] {
            assert!(Ranges::read(text).is_none(), "{text}");
        }
    }
}
