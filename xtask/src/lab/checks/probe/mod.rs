//! Does the command line that ships say, on a real kernel, of pairs what is so: `route`, `check`, `topo`, `probe`, its records, and `bench`?
//!
//! The guest asks (`lab/guest/src/probe.rs`); here every answer is held against the verdicts of the matrix, against what else is known, and against the
//! disks, which are to hold what they held.

mod answers;
mod probed;

use self::answers::{Asked, Captured, Judge, Sum, expect, json, list, words};
use super::kernel_path::verdicts;
use super::{Check, Need, Plan, Scope};
use crate::chore::Failure;
use crate::lab::boot::{Boot, Taken};
use crate::lab::machine::{Iommu, Machine, Processor};
use crate::lab::parts::Parts;
use crate::lab::report::Line;
use crate::lab::topologies;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Duration;

pub(crate) const CHECK: Check = Check {
    name: "probe",
    promise: "route and check say what matrix says; a probe writes only if it may, tells what arrives from what does not, puts everything back, and is remembered",
    needs: &[
        Need::KernelModule("vfio"),
        Need::KernelModule("vfio_iommu_type1"),
        Need::KernelModule("vfio-pci"),
    ],
    boots,
};

/// As the guest fills them.
const FILLED_BYTES: usize = 2 << 20;

/// Of wrong answers.
const SHOWN: usize = 4;

/// Who drives the controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    Kernel,
    User,
}

fn boots(plan: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    use Driver::{Kernel, User};
    use Processor::{Epyc, Qemu64, SkylakeServer};
    let mut asked = vec![
        (topologies::switch(), Qemu64, Iommu::Off, Kernel),
        (topologies::switch(), Epyc, Iommu::On, Kernel),
        (topologies::switch(), Epyc, Iommu::On, User),
    ];
    if plan.scope == Scope::Full {
        asked.extend([
            (topologies::switch(), Epyc, Iommu::Off, Kernel),
            (topologies::switch(), SkylakeServer, Iommu::Off, Kernel),
            (topologies::switch(), Epyc, Iommu::Passthrough, Kernel),
            (topologies::switch(), Epyc, Iommu::Passthrough, User),
            (topologies::switch(), SkylakeServer, Iommu::On, User),
            (topologies::host_bridges(), Epyc, Iommu::On, Kernel),
            (topologies::host_bridges(), Epyc, Iommu::On, User),
        ]);
    }
    let scope = match plan.scope {
        Scope::Quick => "few",
        Scope::Full => "all",
    };
    let boot = |(topology, processor, iommu, driver)| {
        let (word, script) = match driver {
            Kernel => ("kernel", ""),
            User => (
                "user",
                "mod irqbypass vfio vfio_iommu_type1 vfio-pci-core vfio-pci && ",
            ),
        };
        let script = format!("{script}lab-guest probe {word} {scope}");
        let mut boot = Boot::new(Machine::new(topology, processor, iommu), script);
        boot.name = format!("{}/{word}", boot.name);
        boot.kernel_line = "nvme.poll_queues=1".into();
        boot.limit = Duration::from_secs(1200);
        let all = All {
            controllers: boot.machine.topology.controllers(),
            lenders: boot.machine.topology.lenders(),
            scope: plan.scope,
        };
        boot.judge = Box::new(move |taken, parts| vec![judge(taken, parts, (iommu, driver), all)]);
        boot
    };
    Ok(asked.into_iter().map(boot).collect())
}

/// What there is to be asked for.
#[derive(Debug, Clone, Copy)]
struct All {
    controllers: usize,
    /// Those of them that have memory.
    lenders: usize,
    scope: Scope,
}

impl All {
    /// As the guest's part chooses (`lab/guest/src/probe.rs`); of controllers that all lend memory.
    fn asked(self, functions: usize) -> Asked {
        let Self {
            controllers, lenders, ..
        } = self;
        let (of_routes, probes) = match self.scope {
            Scope::Quick => (controllers, 4),
            Scope::Full => (functions, controllers * lenders),
        };
        Asked {
            routes: of_routes.pow(2),
            probes,
            // Two probes, each with and without a `y` in a pipe, and a measurement that writes.
            unasked: 5,
            benches: 3,
            disks: controllers,
        }
    }
}

fn judge(taken: &Taken, parts: &Parts, (iommu, driver): (Iommu, Driver), all: All) -> Line {
    let name = "pairs";
    let said = parts.programs.as_ref().map_err(Clone::clone);
    let judged = said.and_then(|programs| {
        let text = |name: &str| {
            let content = taken.files.get(name);
            let content = content.ok_or_else(|| format!("the guest did not send {name}"))?;
            Ok::<_, String>(String::from_utf8_lossy(content).into_owned())
        };
        let (matrix, facts, asked) = (text("matrix")?, json(&text("facts")?)?, text("asked")?);
        let snapshot = taken.folder.join("snapshot.json");
        fs::write(&snapshot, text("snapshot")?).map_err(|error| error.to_string())?;
        let peerdma = programs.peerdma();
        let mut judge = Judge {
            verdicts: verdicts(&matrix),
            facts,
            iommu,
            driver,
            captured: Captured {
                peerdma: &peerdma,
                snapshot: &snapshot,
            },
            topo: Value::Null,
            probed: BTreeMap::new(),
            sum: Sum::default(),
        };
        let mut wrong = Vec::new();
        for line in asked.lines() {
            let asked = json(line)?;
            if let Err(why) = judge.one(&asked) {
                let (words, code) = (words(&asked["arguments"]), &asked["code"]);
                wrong.push(format!("peerdma {words}: {why} (exit code {code})"));
            }
        }
        expect(
            wrong.is_empty(),
            format!(
                "{} answers: {}",
                wrong.len(),
                wrong.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ")
            ),
        )?;
        let records = text("records")?.lines().count();
        if records != judge.probed.len() {
            return Err(format!("{records} records of {} probes", judge.probed.len()));
        }
        judge.sum.disks = unchanged(&taken.folder)?;
        let functions = list(&judge.facts["functions"]).len();
        judge.sum.words(&all.asked(functions))
    });
    match judged {
        Ok(text) => Line::held(name, text),
        Err(why) => Line::failed(name, why),
    }
}

/// Every byte of every disk is what the guest put there, or nothing; how many disks.
fn unchanged(folder: &Path) -> Result<usize, String> {
    let mut disks = 0;
    for entry in fs::read_dir(folder).map_err(|error| error.to_string())?.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(serial) = name.strip_suffix(".img") else {
            continue;
        };
        let failed = |error| format!("{}: {error}", path.display());
        let file = File::open(&path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let mut rest = BufReader::with_capacity(1 << 20, file);
        let mut piece = vec![0; 1 << 20];
        for at in (0..len).step_by(piece.len()) {
            rest.read_exact(&mut piece).map_err(failed)?;
            let filled = len - FILLED_BYTES as u64;
            let is_so = match at.checked_sub(filled) {
                None => piece.iter().all(|&byte| byte == 0),
                Some(from) => piece == content(serial, from as u32, piece.len() as u32),
            };
            expect(
                is_so,
                format!(
                    "{serial} was changed between {at} and {}",
                    at + piece.len() as u64
                ),
            )?;
        }
        disks += 1;
    }
    Ok(disks)
}

/// What the guest writes to a disk, from `from` of the filled part on.
fn content(serial: &str, from: u32, bytes: u32) -> Vec<u8> {
    let start = serial
        .bytes()
        .fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    (from / 4..(from + bytes) / 4)
        .flat_map(|place| start.wrapping_add(place.wrapping_mul(0x9e37_79b9)).to_be_bytes())
        .collect()
}
