//! Does `peerdma matrix --policy linux` say what the kernel says of machines that nobody has?
//!
//! Random machines go into the guest as configuration space; its kernel enumerates and judges them (`lab/guest/src/replay.rs`), and the
//! host compares, having generated the same machines again.

use super::verdicts::{matrix, same};
use super::{Check, Need, Plan, Scope};
use crate::chore::Failure;
use crate::lab::boot::{Boot, Taken};
use crate::lab::machine::{Iommu, Machine, Processor, Topology};
use crate::lab::parts::Parts;
use crate::lab::report::Line;
use crate::machine::{self, Generated};
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

/// Domains of the machines begin here; the guest's own machine is in domain 0.
const FIRST_DOMAIN: u32 = 0x1000;

/// What the kernel takes a processor for, and what peerdma is told it is.
const PROCESSORS: [(Processor, &str); 2] = [
    (Processor::SkylakeServer, "GenuineIntel:6"),
    (Processor::Epyc, "AuthenticAMD:0x17"),
];

fn boots(plan: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    let pairs_each = match plan.scope {
        Scope::Quick => 25_000,
        Scope::Full => 250_000,
    };
    let mut seed = 0;
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
            seed += 1;
            let functions = functions_of(seed, plan.scope);
            pairs += functions * functions;
            let name = format!("machine-{functions}-{seed}.image");
            let file = plan.folder.join(&name);
            fs::write(&file, image(&generated(functions, seed))).map_err(Failure::io(file.display()))?;
            boot.payload.push((file, name));
        }
        boots.push(boot);
    }
    Ok(boots)
}

/// Small machines and large ones, in no order.
fn functions_of(seed: u64, scope: Scope) -> usize {
    let most = match scope {
        Scope::Quick => 60,
        Scope::Full => 200,
    };
    5 + (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize % most
}

fn generated(functions: usize, seed: u64) -> Vec<Generated> {
    let mut machine = machine::generate(functions, seed);
    for function in &mut machine {
        function.domain += FIRST_DOMAIN;
    }
    machine
}

/// The machine as the module `peerdma_replay` reads it (`lab/modules/replay_image.c`).
fn image(machine: &[Generated]) -> Vec<u8> {
    const HEADER_BYTES: usize = 16;
    let mut functions = Vec::new();
    for one in machine {
        let used = one
            .config
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        let used = used.max(64);
        functions.extend(one.domain.to_le_bytes());
        functions.extend([one.bus, one.device << 3 | one.function]);
        functions.extend((used as u16).to_le_bytes());
        functions.extend(&one.config[..used]);
    }
    let mut text = b"PEERDMA1".to_vec();
    text.extend(((HEADER_BYTES + functions.len()) as u32).to_le_bytes());
    text.extend((machine.len() as u32).to_le_bytes());
    text.extend(functions);
    text
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

/// Compares one machine, named `machine-FUNCTIONS-SEED.kernel`.
fn one(file: &str, kernel: &str, taken: &Taken, peerdma: &Path, processor: &str) -> Result<usize, String> {
    let stem = file.strip_suffix(".kernel").unwrap_or(file);
    let mut numbers = stem.split('-').skip(1).map(str::parse::<u64>);
    let (Some(Ok(functions)), Some(Ok(seed))) = (numbers.next(), numbers.next()) else {
        return Err("no machine is called so".into());
    };
    let path = taken.folder.join("machine.lspci");
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut out = BufWriter::new(File::create(&path).map_err(failed)?);
    machine::write_lspci(&generated(functions as usize, seed), &mut out).map_err(failed)?;
    drop(out);
    let options = ["--kernel", "7.2", "--cpu", processor];
    same(
        kernel,
        &matrix(peerdma, &path, &options)?,
        "from its configuration space",
    )
}
