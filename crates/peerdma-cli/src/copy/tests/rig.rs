//! A machine, what is copied on it, and what must hold afterwards.

use super::super::account::{Account, Ended};
use super::super::carry::{self, Halt, ReadBack, Verdict, Watcher};
use super::super::request::{MemoryWanted, Request, WayWanted};
use crate::error::Problem;
use crate::ground::{End, Pattern, Place};
use peerdma::addr::{Address, Bdf};
use peerdma::engine::{Check, Counts};
use peerdma::plan::{CopyPlan, Force, Method};
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use peerdma_sim::blueprint::Blueprint;
use peerdma_sim::host::{Area, Computer, Difference, State};
use peerdma_sim::machine::{Fault, FaultPlan, Options};
use std::fmt::Debug;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// All shipped machines with two SSDs.
pub(super) const MACHINES: [&str; 9] = [
    "two-ssds",
    "offset-bridge",
    "gpu-box",
    "shared-group",
    "two-sockets",
    "two-offset-bridges",
    "store-only",
    "no-forward",
    "redirect",
];

/// Does the IOMMU translate?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Iommu {
    AsShipped,
    Off,
    Translating,
}

/// How the copy is to go, as far as the machine allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// As it is planned.
    Any,
    /// The source has no memory of its own.
    Store,
    /// The destination has none.
    Load,
    /// Through an accelerator.
    Third,
    Ram,
}

/// Chunks, and a tail that is shorter.
pub(super) const LEN_BYTES: u64 = 5 * CHUNK_BYTES as u64 + 4096;
const CHUNK_BYTES: u32 = 8192;
/// The copy begins there at both ends: what lies before it must stay as it is.
const OFFSET: u64 = 16 << 10;
const TRUTH: Pattern = Pattern::Seeded(11);
const OLD: Pattern = Pattern::Poison(0x5a);
const BLOCK_BYTES: usize = 512;
/// A run takes milliseconds.
const MOST_SECONDS: u64 = 60;
/// Time-outs, aborts and resets of both ends, one after the other, for each of few commands: no run takes longer.
const MOST_SIMULATED_NS: u64 = 3_600_000_000_000;

/// What is tried: it can be made again as often as needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) machine: &'static str,
    pub(super) iommu: Iommu,
    pub(super) way: Way,
}

/// Is everything to be tried?
pub(super) fn tries_everything() -> bool {
    std::env::var_os("PEERDMA_FAULTS").is_some_and(|value| value == "all")
}

/// Every way on every machine, and on those that are asked for where not everything is tried.
pub(super) fn cases(few: &[Case]) -> Vec<Case> {
    if !tries_everything() {
        return few.to_vec();
    }
    let mut cases = Vec::new();
    for machine in MACHINES {
        for iommu in [Iommu::Off, Iommu::Translating] {
            for way in [Way::Store, Way::Load, Way::Third, Way::Ram] {
                let case = Case { machine, iommu, way };
                if way != Way::Third || case.text().contains("gpu0") {
                    cases.push(case);
                }
            }
        }
    }
    cases
}

/// One of each way, with and without translation.
pub(super) const FEW: [Case; 5] = [
    Case {
        machine: "two-ssds",
        iommu: Iommu::Off,
        way: Way::Store,
    },
    Case {
        machine: "two-sockets",
        iommu: Iommu::Translating,
        way: Way::Store,
    },
    Case {
        machine: "shared-group",
        iommu: Iommu::Translating,
        way: Way::Load,
    },
    Case {
        machine: "gpu-box",
        iommu: Iommu::Translating,
        way: Way::Third,
    },
    Case {
        machine: "redirect",
        iommu: Iommu::Translating,
        way: Way::Ram,
    },
];

impl Case {
    /// The shipped machine file, with small buffers where there are any: a run is short.
    fn text(&self) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../machines")
            .join(self.machine);
        let text = std::fs::read_to_string(path.with_extension("toml")).expect("it ships");
        let bare = match self.way {
            Way::Store => "\"nvme0\"",
            Way::Load => "\"nvme1\"",
            Way::Any | Way::Third | Way::Ram => "",
        };
        let line = |line: &str| -> String {
            if line.starts_with("iommu") {
                return match self.iommu {
                    Iommu::AsShipped => line.into(),
                    Iommu::Off => "iommu = \"off\"".into(),
                    Iommu::Translating => "iommu = \"translating\"".into(),
                };
            }
            match !bare.is_empty() && line.contains(bare) {
                true => line
                    .replace("128 MiB", "64 MiB")
                    .replace(", cmb = { size = \"64 MiB\" }", ""),
                false => line.replace("128 MiB", "64 MiB").replace("64 MiB", "128 KiB"),
            }
        };
        text.lines().map(|one| line(one) + "\n").collect()
    }

    fn blueprint(&self) -> Blueprint {
        let machine = peerdma_sim::file::read(&self.text()).expect("a machine");
        peerdma_sim::firmware::boot(&machine).expect("it boots")
    }

    /// A machine that is filled, and what is to be copied on it.
    pub(super) fn switch_on(&self, faults: Vec<Fault>, seed: u64) -> Trial {
        self.try_switch_on(faults, seed)
            .expect("there is room for what it is filled with")
    }

    /// The same; nothing where the faults do not let it be filled.
    pub(super) fn try_switch_on(&self, faults: Vec<Fault>, seed: u64) -> Option<Trial> {
        let blueprint = self.blueprint();
        let topology = Topology::new(blueprint.snapshot.clone(), &mut Warnings::default());
        let end = |name| End::of_blueprint(&blueprint, &topology, name).expect("it is there");
        let (source, destination) = (end("nvme0n1"), end("nvme1n1"));
        let options = Options {
            faults: FaultPlan { seed: 1, faults },
            seed: Some(seed),
            ..Options::default()
        };
        let computer = Computer::new(&blueprint, options).expect("it can be switched on");
        let via = match self.way {
            Way::Third => computer.find("gpu0").map(|found| found.bdf),
            _ => None,
        };
        let request = Request {
            source,
            destination,
            source_offset: OFFSET,
            destination_offset: OFFSET,
            len_bytes: LEN_BYTES,
            resume_bytes: 0,
            queue_depth: 4,
            chunk_bytes: CHUNK_BYTES,
            fitted: None,
            way: WayWanted {
                via,
                memory: match self.way {
                    Way::Ram => MemoryWanted::Ram,
                    _ => MemoryWanted::Any,
                },
                force: Force::Never,
            },
            pattern: Some(TRUTH),
            files: [None, None],
        };
        let all = 0..2 * OFFSET + LEN_BYTES;
        for (end, pattern) in [(&request.source, TRUTH), (&request.destination, OLD)] {
            computer
                .fill_namespace(end.initiator, number(end), all.clone(), pattern)
                .ok()?;
        }
        let before = computer.state();
        Some(Trial {
            case: *self,
            computer,
            request,
            before,
        })
    }

    /// The function of a name.
    pub(super) fn find(&self, name: &str) -> Option<Bdf> {
        let computer = Computer::new(&self.blueprint(), Options::default()).expect("it can be switched on");
        computer.find(name).map(|found| found.bdf)
    }
}

fn number(end: &End) -> u32 {
    match end.place {
        Place::Namespace(number) => number,
        Place::Own(_) => panic!("all ends are namespaces"),
    }
}

/// A machine before its copy.
pub(super) struct Trial {
    case: Case,
    pub(super) computer: Computer,
    pub(super) request: Request,
    before: State,
}

/// How a copy ended, of which everything that must hold was found to hold.
pub(super) struct Ending {
    /// Proven, or why not.
    pub(super) result: Result<(), String>,
    /// The way that was planned, if it came to that.
    pub(super) method: Option<Method>,
    /// When, by the machine's clock.
    pub(super) at_ns: u64,
}

impl Trial {
    /// Runs the whole copy, and checks what must hold, whatever happened.
    pub(super) fn run(self) -> Ending {
        self.run_with(&mut |_, _| Verdict::GoOn)
    }

    /// The same; `copied` is called each time something was done.
    pub(super) fn run_with(self, copied: &mut dyn FnMut(&Computer, Counts) -> Verdict) -> Ending {
        let mut watcher = Keeper {
            computer: self.computer.clone(),
            plan: None,
            copied,
        };
        let result = carry::carry(&self.computer, &self.request, ReadBack::Yes, &mut watcher);
        self.judge(result, watcher.plan.as_ref())
    }

    fn judge(self, result: Result<Account, Halt>, plan: Option<&CopyPlan>) -> Ending {
        let Self {
            case,
            computer,
            request,
            before,
        } = &self;
        let at_ns = computer.with(|machine| machine.now().as_ps() / 1000);
        assert!(at_ns < MOST_SIMULATED_NS, "{case:?}: it took {at_ns} ns");
        let after = computer.state();
        assert_eq!(
            after.mappings(),
            before.mappings(),
            "{case:?}: mapped, after {result:?}"
        );
        assert_eq!(
            after.allocations(),
            before.allocations(),
            "{case:?}: allocated, after {result:?}"
        );
        for difference in before.differences(&after) {
            assert!(
                self.may_differ(&difference, plan),
                "{case:?}: {difference:?} after {result:?}"
            );
        }
        let mut bad_from = u64::MAX;
        let (whole, durable_bytes) = match &result {
            Ok(account) => {
                assert_eq!(
                    (account.counts.lost, account.counts.under_way),
                    (0, 0),
                    "{case:?}: {account:?}"
                );
                if let Some(Check::Differs(mismatch)) = &account.check {
                    bad_from = mismatch.offset_bytes;
                }
                (
                    account.ended == Ended::Whole && account.check == Some(Check::Equal),
                    account.counts.durable_bytes,
                )
            }
            Err(_) => (false, 0),
        };
        let durable_bytes = match whole {
            true => request.len_bytes,
            false => durable_bytes,
        };
        self.assert_destination(durable_bytes, bad_from, &result);
        Ending {
            result: match result {
                Ok(_) if whole => Ok(()),
                Ok(account) => Err(format!("{:?} {:?}", account.ended, account.check)),
                Err(Halt::Problem(problem)) => {
                    assert!(!problem.error.is_empty() && !problem.why.is_empty() && !problem.fix.is_empty());
                    Err(format!("{}: {}", problem.error, problem.why))
                }
                Err(Halt::NoPlan(why)) => Err(format!("{why:?}")),
            },
            method: plan.map(|plan| plan.method),
            at_ns,
        }
    }

    /// The destination's part of the namespace, memory of the two ends that was set up for them, and the slots.
    fn may_differ(&self, difference: &Difference, plan: Option<&CopyPlan>) -> bool {
        let request = &self.request;
        let within = |first: u64, len: u64| first <= difference.first && difference.last < first + len;
        match difference.area {
            Area::Ram => false,
            Area::Namespace { bdf, number } => {
                let end = &request.destination;
                (bdf, Place::Namespace(number)) == (end.initiator, end.place)
                    && within(request.destination_offset, request.len_bytes)
            }
            Area::Bar { bdf, .. }
                if [request.source.initiator, request.destination.initiator].contains(&bdf) =>
            {
                true
            }
            Area::Bar { bdf, bar } => plan.is_some_and(|plan| {
                let layout = &plan.layout;
                let map = self.computer.memory_map();
                let region = Computer::bar_region(&map, bdf, bar);
                let slots_len = layout.stride_bytes * u64::from(layout.slots);
                let slots_last = layout.slots_at.to_u64() + slots_len - 1;
                let queue = layout
                    .completion_queue
                    .map(|queue| (queue.first().to_u64(), queue.last().to_u64()));
                region.is_some_and(|region| {
                    let base = region.span.first().to_u64();
                    let inside =
                        |(first, last)| first <= base + difference.first && base + difference.last <= last;
                    inside((layout.slots_at.to_u64(), slots_last)) || queue.is_some_and(inside)
                })
            }),
        }
    }

    /// What is said to be written is; each block of the rest is as it was, or as it was to be. From `bad_from` on nothing is said: writes
    /// that are lost without a word are found when the destination is read back, and then all before the first is as it should be.
    fn assert_destination(&self, durable_bytes: u64, bad_from: u64, result: &dyn Debug) {
        let request = &self.request;
        let len = request.len_bytes as usize;
        let (mut found, mut new, mut old) = (vec![0; len], vec![0; len], vec![0; len]);
        TRUTH.fill(request.source_offset, &mut new);
        OLD.fill(request.destination_offset, &mut old);
        let end = &request.destination;
        let read =
            self.computer
                .read_namespace(end.initiator, number(end), request.destination_offset, &mut found);
        read.expect("the medium is there, even of a device that is not");
        let durable = durable_bytes.min(bad_from) as usize;
        assert!(
            found[..durable] == new[..durable],
            "{:?}: not what was said to be written, after {result:?}",
            self.case
        );
        for (block, found) in found.chunks(BLOCK_BYTES).enumerate() {
            let at = block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES;
            let known = at.end as u64 > bad_from || *found == new[at.clone()] || *found == old[at];
            assert!(
                known,
                "{:?}: block {block} is neither old nor new, after {result:?}",
                self.case
            );
        }
    }
}

/// Keeps the plan.
struct Keeper<'k> {
    computer: Computer,
    plan: Option<CopyPlan>,
    copied: &'k mut dyn FnMut(&Computer, Counts) -> Verdict,
}

impl Watcher for Keeper<'_> {
    fn planned(&mut self, plan: &CopyPlan) -> Result<(), Problem> {
        self.plan = Some(plan.clone());
        Ok(())
    }

    fn copied(&mut self, counts: Counts) -> Verdict {
        (self.copied)(&self.computer, counts)
    }

    fn checked(&mut self, _: u64) -> Verdict {
        Verdict::GoOn
    }
}

/// Says which run is under way, for [`within_time`].
#[derive(Debug, Clone, Default)]
pub(super) struct Log(Arc<Mutex<(u64, String)>>);

impl Log {
    pub(super) fn begin(&self, what: &dyn Debug) {
        let mut log = self.0.lock().expect("nobody panics here");
        *log = (log.0 + 1, format!("{what:?}"));
    }

    fn last(&self) -> (u64, String) {
        self.0.lock().map_or((0, String::new()), |log| log.clone())
    }
}

/// Runs a test; where a run of it does not end, the test fails and says which.
pub(super) fn within_time(test: impl FnOnce(&Log) + Send + 'static) {
    let log = Log::default();
    let (send, receive) = channel();
    let worker = {
        let log = log.clone();
        std::thread::spawn(move || {
            test(&log);
            let _ = send.send(());
        })
    };
    let mut last = log.last();
    loop {
        match receive.recv_timeout(Duration::from_secs(MOST_SECONDS)) {
            Ok(()) => break,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let now = log.last();
                assert!(now.0 != last.0, "it hangs: {}", now.1);
                last = now;
            }
        }
    }
    if let Err(panic) = worker.join() {
        eprintln!("in {}", log.last().1);
        std::panic::resume_unwind(panic);
    }
}
