//! Which machines are replayed: those that ship, then random ones until there are enough pairs.

use super::grow::grow;
use crate::chore::{Failure, repository};
use crate::machine::{Generated, generate};
use peerdma::snapshot::Snapshot;
use peerdma_sim::file;
use peerdma_sim::firmware;
use peerdma_sim::random::{Random, random_machine};
use std::collections::HashSet;
use std::fs;

/// Added to the domains of machines that were not made for replaying: domain 0 is QEMU's own.
const FIRST_DOMAIN: u32 = 0x1000;

/// A machine and what it is called in files.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) functions: Vec<Generated>,
}

impl Named {
    /// Every function with every one, itself too.
    pub(super) fn pairs(&self) -> usize {
        self.functions.len() * self.functions.len()
    }
}

/// The shipped machines, and random ones from `seed` on until all together have at least `pairs` ordered pairs.
pub(super) fn choose(pairs: usize, seed: u64) -> Result<Vec<Named>, Failure> {
    let mut machines = shipped()?;
    let mut random = Random::new(seed);
    let mut have: usize = machines.iter().map(Named::pairs).sum();
    let mut number = 0;
    while have < pairs {
        let own_seed = random.number();
        // The odd ones come first and are small: a quick run is to have several.
        let machine = match number % 8 {
            6 => named(format!("sim{number:03}"), simulated(own_seed)?),
            7 => {
                let functions = 20 + (own_seed % 180) as usize;
                named(format!("big{number:03}"), away(generate(functions, own_seed)))
            }
            _ => {
                let functions = 4 + (own_seed % 100) as usize;
                named(format!("odd{number:03}"), grow(functions, own_seed))
            }
        };
        have += machine.pairs();
        machines.push(machine);
        number += 1;
    }
    Ok(machines)
}

fn named(name: String, functions: Vec<Generated>) -> Named {
    Named { name, functions }
}

/// Every machine in `machines/`.
fn shipped() -> Result<Vec<Named>, Failure> {
    let folder = repository().join("machines");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .map_err(Failure::io(folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let mut machines = Vec::new();
    for path in files {
        let wrong = |error: &dyn std::fmt::Display| Failure::Bad(format!("{}: {error}", path.display()));
        let text = fs::read_to_string(&path).map_err(Failure::io(path.display()))?;
        let blueprint = file::load(&text).map_err(|error| wrong(&error))?;
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        machines.push(named(name, emitted(&blueprint.snapshot)?));
    }
    Ok(machines)
}

fn simulated(seed: u64) -> Result<Vec<Generated>, Failure> {
    let blueprint = firmware::boot(&random_machine(seed))
        .map_err(|error| Failure::Bad(format!("random machine {seed}: {error}")))?;
    emitted(&blueprint.snapshot)
}

fn emitted(snapshot: &Snapshot) -> Result<Vec<Generated>, Failure> {
    let functions = snapshot.functions().iter().map(|function| {
        let config = function.config.emit();
        let config = config.map_err(|error| Failure::Bad(format!("{}: {error}", function.bdf)))?;
        Ok(Generated {
            domain: function.bdf.domain(),
            bus: function.bdf.bus(),
            device: function.bdf.device(),
            function: function.bdf.function(),
            config: Box::new(config),
        })
    });
    functions.collect::<Result<_, _>>().map(marked).map(away)
}

/// Says of functions of one device that there are several: a snapshot does not tell it, but enumeration needs it.
fn marked(mut machine: Vec<Generated>) -> Vec<Generated> {
    let device = |one: &Generated| (one.domain, one.bus, one.device);
    let many: HashSet<_> = machine
        .iter()
        .filter(|one| one.function > 0)
        .map(device)
        .collect();
    for one in &mut machine {
        if many.contains(&device(one)) {
            one.config[0x0e] |= 0x80;
        }
    }
    machine
}

fn away(mut machine: Vec<Generated>) -> Vec<Generated> {
    for one in &mut machine {
        one.domain += FIRST_DOMAIN;
    }
    machine
}
