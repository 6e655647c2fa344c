//! Does `peerdma matrix --policy linux` say what the kernel says of machines that nobody has?
//!
//! Random machines go into the guest as configuration space; its kernel enumerates and judges them (`lab/guest/src/replay.rs`), and the
//! host compares, having generated the same machines again.

mod machines;

use super::verdicts::{matrix, same};
use super::{Check, Need, Plan, Scope};
use crate::chore::Failure;
use crate::lab::boot::{Boot, Taken};
use crate::lab::machine::{Iommu, Machine, Processor, Topology};
use crate::lab::parts::Parts;
use crate::lab::report::Line;
use crate::machine;
use machines::{Name, image};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

pub(crate) const CHECK: Check = Check {
    name: "replayed",
    promise: "the kernel's answer for every ordered pair of random machines is peerdma's",
    needs: &[Need::Module("peerdma_judge"), Need::Module("peerdma_replay")],
    boots,
};

/// What the kernel takes a processor for, and what peerdma is told it is.
const PROCESSORS: [(Processor, &str); 2] = [
    (Processor::SkylakeServer, "GenuineIntel:6"),
    (Processor::Epyc, "AuthenticAMD:0x17"),
];

fn boots(plan: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    let (pairs_each, most) = match plan.scope {
        Scope::Quick => (25_000, 60),
        Scope::Full => (250_000, 140),
    };
    let mut turn = 0;
    let mut boots = Vec::new();
    for (processor, _) in PROCESSORS {
        let machine = Machine::new(Topology::new("replayed"), processor, Iommu::Off);
        let mut boot = Boot::new(
            machine,
            "mod peerdma_judge peerdma_replay && lab-guest replay /payload/*.image",
        );
        boot.kernel_line = "ibt=off".into();
        boot.name = processor.name().into();
        boot.limit = Duration::from_secs(1200);
        boot.judge = match processor {
            Processor::Epyc => |taken, parts| judge(taken, parts, PROCESSORS[1].1),
            _ => |taken, parts| judge(taken, parts, PROCESSORS[0].1),
        };
        let mut pairs = 0;
        while pairs < pairs_each {
            let name = Name::of_turn(turn, most);
            turn += 1;
            let functions = name.functions();
            pairs += functions.len() * functions.len();
            let stem = format!("{}.image", name.stem());
            let file = plan.folder.join(&stem);
            fs::write(&file, image(&functions)).map_err(Failure::io(file.display()))?;
            boot.payload.push((file, stem));
        }
        boots.push(boot);
    }
    Ok(boots)
}

fn judge(taken: &Taken, parts: &Parts, processor: &str) -> Vec<Line> {
    let Ok(programs) = &parts.programs else {
        return Vec::new();
    };
    let (mut pairs, mut machines) = (0, 0);
    for (file, kernel) in &taken.files {
        let kernel = String::from_utf8_lossy(kernel);
        match one(file, &kernel, taken, &programs.peerdma(), processor) {
            Ok(compared) => pairs += compared,
            Err(why) => return vec![Line::failed(file.clone(), why)],
        }
        machines += 1;
    }
    if pairs == 0 {
        return vec![Line::failed("pairs", "the guest sent no matrix")];
    }
    let text = format!("{machines} random machines, {pairs} pairs: no difference");
    vec![Line::held("pairs", text)]
}

/// Compares the machine that a file is named after.
fn one(file: &str, kernel: &str, taken: &Taken, peerdma: &Path, processor: &str) -> Result<usize, String> {
    let name = file.strip_suffix(".kernel").and_then(Name::read);
    let name = name.ok_or("no machine is called so")?;
    let path = taken.folder.join("machine.lspci");
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut out = BufWriter::new(File::create(&path).map_err(failed)?);
    machine::write_lspci(&name.functions(), &mut out).map_err(failed)?;
    drop(out);
    let options = ["--kernel", "7.2", "--cpu", processor];
    same(
        kernel,
        &matrix(peerdma, &path, &options)?,
        "from its configuration space",
    )
}
