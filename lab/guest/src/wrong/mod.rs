//! `wrong SCENARIO type1|iommufd ...`: copies to which something happens, and what is left afterwards.
//!
//! ```text
//! interrupted    killed, asked to end, a device unbound, removed, pulled out        (`interrupted`)
//! disturbed      somebody resets a controller, or switches its memory off          (`disturbed`)
//! refused        a group, locked memory, or device memory that does not do          (`refused`)
//! iommu-fault    a device uses an address that is not mapped                        (`iommu_fault`)
//! kernel         the same of the kernel's block devices, and of who lends its memory (`kernel`)
//! faults         every ioctl fails, one after the other                             (`faults`)
//! left           what is left mapped in a process that goes on                      (`left`)
//! ```
//!
//! Each time: an error that says so, its exit code, an end within a time, no page still pinned, and a copy on the same devices that succeeds.
//! The host looks at the disks. The machine is `going_wrong` of the lab's topologies.

mod content;
mod controllers;
mod disturbed;
mod faults;
mod interrupted;
mod iommu_fault;
mod kernel;
mod left;
mod refused;
mod run;

use crate::say;
use content::{Holds, Ranges};
use controllers::Controller;
use run::Run;

const FRESH_BYTES: u64 = 64 << 10;
/// Exit codes of a copy (`docs/copy.md`).
const BAD_INPUT: i32 = 2;
const ONLY_RAM: i32 = 3;
const NOT_PROVEN: i32 = 4;
const INTERRUPTED: i32 = 130;
/// By SIGKILL.
const KILLED: i32 = 137;

pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let all = controllers::all()?;
    match words {
        ["interrupted", api] => interrupted::run(&Guest::new(api, all)?),
        ["refused", api] => refused::run(&Guest::new(api, all)?),
        ["faults", api, scope] => faults::run(&Guest::new(api, all)?, scope),
        ["left", api] => left::run(&Guest::new(api, all)?),
        ["disturbed", api, times] => {
            let times = times.parse().map_err(|_| format!("`{times}` is no number"))?;
            disturbed::run(&Guest::new(api, all)?, times)
        }
        ["iommu-fault", api] => iommu_fault::run(&Guest::new(api, all)?),
        ["kernel"] => kernel::run(&Guest::new("type1", all)?),
        _ => Err("usage: lab-guest wrong interrupted API | disturbed API TIMES | refused API | faults API SCOPE | left API | iommu-fault API | kernel".into()),
    }
}

/// The machine, and what was done on it.
struct Guest {
    api: String,
    /// Below one switch: the first two. The third has no memory, the fourth too little, the last two share a group.
    controllers: [Controller; 6],
    ranges: Ranges,
}

impl Guest {
    fn new(api: &str, all: Vec<Controller>) -> Result<Self, String> {
        let count = all.len();
        let controllers = all
            .try_into()
            .map_err(|_| format!("{count} controllers, not 6"))?;
        Ok(Self {
            api: api.to_owned(),
            controllers,
            ranges: Ranges::default(),
        })
    }

    /// Fills the disks, and gives the controllers to VFIO.
    fn lend(&self, controllers: &[&Controller]) -> Result<(), String> {
        for controller in controllers {
            content::fill(controller)?;
        }
        controllers
            .iter()
            .try_for_each(|controller| controller.give_to("vfio-pci"))
    }

    /// A copy on the same devices succeeds.
    fn fresh(&self, from: &Controller, to: &Controller) -> Result<(), String> {
        let range = self.ranges.take(FRESH_BYTES)?;
        let ended = Run::ours(&self.api, from, to, range).end()?;
        let done = ended.expect(&[0], &[]);
        done.map_err(|why| format!("a copy afterwards failed: {why}"))?;
        self.ranges.keep("fresh", from, to, range, Holds::New);
        Ok(())
    }

    /// Says a line of the report.
    fn tell(&self, name: &str, outcome: Result<String, String>) {
        match outcome {
            Ok(text) => say::held(name, &text),
            Err(why) => say::failed(name, &why),
        }
    }
}
