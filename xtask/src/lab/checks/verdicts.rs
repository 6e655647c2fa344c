//! Does `peerdma matrix --policy linux` say what the kernel says, live and from its snapshot?
//!
//! Every ordered pair of every topology, for one setting of ACS after another, changed at run time (`lab/guest/src/verdicts.rs`).

use super::{Check, Need, Plan, Scope};
use crate::chore::Failure;
use crate::kernel_truth::matrices::compare;
use crate::lab::boot::{Boot, Taken};
use crate::lab::machine::{Iommu, Machine, Processor};
use crate::lab::parts::Parts;
use crate::lab::report::Line;
use crate::lab::topologies;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

pub(crate) const CHECK: Check = Check {
    name: "verdicts",
    promise: "the kernel's answer for every ordered pair is peerdma's, live in the guest and on the host from its snapshot",
    needs: &[Need::Module("peerdma_judge")],
    boots,
};

fn boots(plan: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    let mut boots = Vec::new();
    for (turn, topology) in topologies::all().into_iter().enumerate() {
        // Where little is booted, processors take turns at the settings of the IOMMU.
        let (listed, unlisted) = (
            Processor::Epyc,
            [Processor::SkylakeServer, Processor::Qemu64][turn % 2],
        );
        let combinations = match plan.scope {
            Scope::Quick if turn % 2 == 0 => vec![
                (unlisted, Iommu::Off),
                (listed, Iommu::Passthrough),
                (unlisted, Iommu::On),
            ],
            Scope::Quick => vec![
                (listed, Iommu::Off),
                (unlisted, Iommu::Passthrough),
                (listed, Iommu::On),
            ],
            Scope::Full => [Processor::Epyc, Processor::SkylakeServer, Processor::Qemu64]
                .into_iter()
                .flat_map(|processor| {
                    [Iommu::Off, Iommu::Passthrough, Iommu::On].map(|iommu| (processor, iommu))
                })
                .collect(),
        };
        let random = match plan.scope {
            Scope::Quick => 4,
            Scope::Full => 30,
        };
        for (processor, iommu) in combinations {
            let machine = Machine::new(topology.clone(), processor, iommu);
            let mut boot = Boot::new(
                machine,
                format!("mod peerdma_judge && lab-guest verdicts {random}"),
            );
            // The kernel's function is called through a pointer, for which it was not built.
            boot.kernel_line = "ibt=off".into();
            boot.limit = Duration::from_secs(600);
            let asked = Asked {
                settings: settings(topology.has_switch(), random),
                controllers: topology.controllers(),
            };
            boot.judge = Box::new(move |taken, parts| judge(taken, parts, asked));
            boots.push(boot);
        }
    }
    Ok(boots)
}

/// What a guest is to have asked.
#[derive(Debug, Clone, Copy)]
struct Asked {
    settings: usize,
    /// Of each setting: more pairs than these have among themselves.
    controllers: usize,
}

/// As booted; what is common to all root ports, and to all ports where there are those of a switch (`COMMON` of the guest's part); and random ones.
fn settings(has_switch: bool, random: usize) -> usize {
    const COMMON: usize = 5;
    1 + COMMON + if has_switch { COMMON } else { 0 } + random
}

fn judge(taken: &Taken, parts: &Parts, asked: Asked) -> Vec<Line> {
    let Ok(programs) = &parts.programs else {
        return vec![Line::failed("pairs", "there is no program to ask on the host")];
    };
    let settings: Vec<&str> = taken
        .files
        .keys()
        .filter_map(|name| name.strip_suffix(".kernel"))
        .collect();
    if settings.len() != asked.settings {
        let text = format!(
            "{} settings of ACS were asked, not {}",
            settings.len(),
            asked.settings
        );
        return vec![Line::failed("pairs", text)];
    }
    let mut sum = Sum::default();
    for setting in &settings {
        let before = sum.pairs;
        let done = sum.setting(taken, setting, &programs.peerdma());
        let done = done.and_then(|()| match sum.pairs - before {
            pairs if pairs < asked.controllers.pow(2) => Err(format!("the kernel judged {pairs} pairs only")),
            _ => Ok(()),
        });
        if let Err(why) = done {
            return vec![Line::failed(*setting, why)];
        }
    }
    let Sum {
        pairs,
        bus,
        bridge,
        refused,
    } = sum;
    let settings = settings.len();
    vec![Line::held(
        "pairs",
        format!(
            "{settings} settings of ACS, {pairs} pairs ({bus} BUS_ADDR, {bridge} THRU_HOST_BRIDGE, {refused} NOT_SUPPORTED), \
             live and from the snapshot: no difference"
        ),
    )]
}

/// What was compared so far, and what the kernel said.
#[derive(Default)]
struct Sum {
    pairs: usize,
    bus: usize,
    bridge: usize,
    refused: usize,
}

impl Sum {
    fn setting(&mut self, taken: &Taken, setting: &str, peerdma: &Path) -> Result<(), String> {
        let text = |kind: &str| {
            let content = taken.files.get(&format!("{setting}.{kind}"));
            let content = content.ok_or_else(|| format!("the guest did not send {setting}.{kind}"))?;
            Ok::<_, String>(String::from_utf8_lossy(content).into_owned())
        };
        let kernel = text("kernel")?;
        same(&kernel, &text("live")?, "live")?;
        let snapshot = taken.folder.join("snapshot.json");
        fs::write(&snapshot, text("snapshot")?).map_err(|error| error.to_string())?;
        same(&kernel, &matrix(peerdma, &snapshot)?, "from the snapshot")?;
        self.pairs += kernel.lines().count();
        for line in kernel.lines() {
            match line.split(' ').nth(3) {
                Some("BUS_ADDR") => self.bus += 1,
                Some("THRU_HOST_BRIDGE") => self.bridge += 1,
                _ => self.refused += 1,
            }
        }
        Ok(())
    }
}

/// Fails unless both say the same of the same pairs; how many there are.
fn same(kernel: &str, said: &str, how: &str) -> Result<usize, String> {
    let compared = compare(kernel, said, 3).map_err(|why| format!("{how}: {why}"))?;
    if compared.differing == 0 {
        return Ok(compared.pairs);
    }
    let shown: Vec<String> = compared.shown.iter().map(ToString::to_string).collect();
    Err(format!(
        "{how}: {} of {} pairs differ: {}",
        compared.differing,
        compared.pairs,
        shown.join("; ")
    ))
}

/// What peerdma says of a captured machine, on the host.
fn matrix(peerdma: &Path, machine: &Path) -> Result<String, String> {
    let output = Command::new(peerdma)
        .args(["matrix", "--policy", "linux", "--format", "tsv", "--from"])
        .arg(machine)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("peerdma: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("peerdma matrix: {} {}", output.status, said.trim()))
}
