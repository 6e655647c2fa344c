//! Does `peerdma copy --via` between the kernel's block devices do what its verdicts promise, and never call wrong data right?
//!
//! All sources, destinations and providers (`lab/guest/src/copies.rs`); the host looks at the disks.

use super::kernel_path::{on_disk, verdicts};
use super::{Check, Plan, Scope};
use crate::chore::Failure;
use crate::lab::boot::{Boot, Taken};
use crate::lab::machine::{Iommu, Machine, Processor};
use crate::lab::report::Line;
use crate::lab::topologies;
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const CHECK: Check = Check {
    name: "copies",
    promise: "a copy from NVMe by way of p2pmem to NVMe arrives where the verdicts say so, is refused where they refuse, and never calls wrong data right",
    needs: &[],
    boots,
};

fn boots(plan: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    let topologies = match plan.scope {
        Scope::Quick => vec![topologies::switch()],
        Scope::Full => topologies::all()
            .into_iter()
            .filter(|topology| (2..7).contains(&topology.controllers()))
            .collect(),
    };
    let mut boots = Vec::new();
    for topology in topologies {
        for (processor, iommu) in [
            (Processor::SkylakeServer, Iommu::Off),
            (Processor::Epyc, Iommu::Off),
            (Processor::Epyc, Iommu::Passthrough),
            (Processor::Epyc, Iommu::On),
        ] {
            let mut boot = Boot::new(
                Machine::new(topology.clone(), processor, iommu),
                "lab-guest copies",
            );
            boot.limit = Duration::from_secs(900);
            boot.judge = Box::new(move |taken, _| vec![judge(taken, iommu)]);
            boots.push(boot);
        }
    }
    Ok(boots)
}

fn judge(taken: &Taken, iommu: Iommu) -> Line {
    let name = "copies";
    let text = |name: &str| {
        taken
            .files
            .get(name)
            .map(|content| String::from_utf8_lossy(content))
    };
    let (Some(matrix), Some(outcomes)) = (text("matrix"), text("outcomes")) else {
        return Line::failed(name, "the guest did not send what happened");
    };
    let verdicts = verdicts(&matrix);
    let mut sum = Sum::default();
    for line in outcomes.lines() {
        if let Err(why) = sum.count(line, &verdicts, taken, iommu) {
            return Line::failed(name, format!("`{line}`: {why}"));
        }
    }
    let Sum {
        right,
        refused,
        caught,
    } = sum;
    // On some machines every one of them is to be refused.
    if right + refused + caught == 0 {
        return Line::failed(name, "the guest copied nothing");
    }
    let caught = match caught {
        0 => String::new(),
        copies => format!("; {copies} that QEMU's IOMMU swallowed were told as not proven"),
    };
    Line::held(
        name,
        format!("{right} copies arrived, {refused} were refused{caught}"),
    )
}

#[derive(Default)]
struct Sum {
    right: usize,
    refused: usize,
    caught: usize,
}

impl Sum {
    /// Counts `SOURCE DESTINATION DISK VIA OFFSET PATTERN EXIT_CODE`; why it is not as promised.
    fn count(
        &mut self,
        line: &str,
        verdicts: &BTreeMap<(&str, &str), &str>,
        taken: &Taken,
        iommu: Iommu,
    ) -> Result<(), String> {
        let words: Vec<&str> = line.split(' ').collect();
        let [source, destination, disk, via, offset, pattern, code] = words[..] else {
            return Err("this is no outcome".into());
        };
        let pattern = u32::from_str_radix(pattern, 16).map_err(|error| error.to_string())?;
        let offset = offset.parse().map_err(|_| "this is no offset")?;
        let content = on_disk(taken, disk, offset)?;
        let is_right = content.chunks(4).all(|word| word == pattern.to_be_bytes());
        let verdict = |client| {
            verdicts
                .get(&(via, client))
                .copied()
                .ok_or("this is no known pair")
        };
        let way = [(source, verdict(source)?), (destination, verdict(destination)?)];
        let is_refused = way.iter().any(|(_, verdict)| *verdict == "NOT_SUPPORTED");
        // The one case that is QEMU's own: see `kernel_path`.
        let by_bus = |(client, verdict): &(&str, &str)| *verdict == "BUS_ADDR" && *client != via;
        let is_swallowed = iommu == Iommu::On && way.iter().any(by_bus);
        match (code, is_refused, is_swallowed) {
            ("0", _, _) if !is_right => Err("it was called right, and the disk has other bytes".into()),
            ("0", false, _) => {
                self.right += 1;
                Ok(())
            }
            ("0", true, _) => Err("the verdict refuses it, and it arrived".into()),
            (_, true, _) if content.iter().any(|&byte| byte != 0) => {
                Err("it was refused, and it wrote".into())
            }
            (_, true, _) => {
                self.refused += 1;
                Ok(())
            }
            ("4", false, true) => {
                self.caught += 1;
                Ok(())
            }
            _ => Err("the verdicts promise that it arrives".into()),
        }
    }
}
