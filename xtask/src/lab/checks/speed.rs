//! How fast is our driver beside the kernel's, on the same controller in the same boot?
//!
//! In the guest (`lab/guest/src/speed.rs`) fio by the kernel's driver and `peerdma bench` by ours read the same controller in turns, round after round, and
//! `peerdma copy` copies by the memory of a controller and by way of RAM. Emulated: only ratios mean anything.

use super::{Check, Need, Plan, Scope};
use crate::chore::Failure;
use crate::lab::boot::{Boot, Taken};
use crate::lab::machine::{Iommu, Machine, Processor};
use crate::lab::report::Line;
use crate::lab::topologies;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

pub(crate) const CHECK: Check = Check {
    name: "speed",
    promise: "at depth 32 our driver reads at least as often a second as fio with io_uring polled, at less CPU time a read; a copy by a device's memory passes no data through RAM",
    needs: &[
        Need::KernelModule("vfio"),
        Need::KernelModule("vfio_iommu_type1"),
        Need::KernelModule("vfio-pci"),
        Need::Fio,
    ],
    boots,
};

/// By whom our driver is measured: one submission a system call, and up to 16.
const RIVAL: &str = "io_uring-polled/32";
const IN_BATCHES: &str = "io_uring-polled-in-batches/32";
const OURS: &str = "peerdma/32";

fn boots(plan: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    let scope = plan.scope;
    let (rounds, seconds) = match scope {
        Scope::Quick => (3, 2),
        Scope::Full => (7, 3),
    };
    let machine = Machine::new(topologies::switch(), Processor::Epyc, Iommu::On);
    let script = format!(
        "mod irqbypass vfio vfio_iommu_type1 vfio-pci-core vfio-pci && lab-guest speed {rounds} {seconds}"
    );
    let mut boot = Boot::new(machine, script);
    boot.kernel_line = "nvme.poll_queues=1".into();
    boot.limit = Duration::from_secs(900);
    boot.judge = Box::new(move |taken, _| judge(taken, scope));
    Ok(vec![boot])
}

fn judge(taken: &Taken, scope: Scope) -> Vec<Line> {
    let Some(text) = taken.files.get("speed") else {
        return vec![Line::failed("reads", "the guest did not send what it measured")];
    };
    let Some(measured) = Measured::read(&String::from_utf8_lossy(text)) else {
        return vec![Line::failed("reads", "what the guest sent is no table")];
    };
    if scope == Scope::Full {
        println!("\n{}", measured.table());
    }
    vec![measured.reads(), measured.copies()]
}

/// What was measured, by name, in the order of rounds.
#[derive(Default)]
struct Measured {
    reads: BTreeMap<String, Vec<One>>,
    copies: BTreeMap<String, Vec<One>>,
}

/// One measurement: of a read, or of a copy.
#[derive(Clone, Copy)]
struct One {
    rate: f64,
    cpu_ns: f64,
    ram_bytes: f64,
}

impl Measured {
    fn read(text: &str) -> Option<Self> {
        let mut measured = Self::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let all = match words.next()? {
                "reads" => &mut measured.reads,
                "copy" => &mut measured.copies,
                _ => return None,
            };
            let name = words.next()?.to_owned();
            let mut number = || words.next()?.parse().ok();
            let one = One {
                rate: number()?,
                cpu_ns: number()?,
                ram_bytes: number()?,
            };
            all.entry(name).or_default().push(one);
        }
        Some(measured)
    }

    /// Holds if ours is not behind, in reads a second and in CPU time.
    fn reads(&self) -> Line {
        let all = [OURS, RIVAL, IN_BATCHES].map(|name| self.reads.get(name));
        let [Some(ours), Some(rival), Some(in_batches)] = all else {
            return Line::failed("reads", "not all was measured");
        };
        let rate = ratio(ours, rival, |one| one.rate);
        let cpu = ratio(ours, rival, |one| one.cpu_ns);
        let batched_rate = ratio(ours, in_batches, |one| one.rate);
        let batched_cpu = ratio(ours, in_batches, |one| one.cpu_ns);
        let text = format!(
            "depth 32: {:.0} reads a second, {:.2} times those of fio io_uring polled ({:.0}); CPU time a read {:.2} times ({:.1} us, {:.1} us); where fio submits in batches {:.2} and {:.2} times; medians of {} rounds",
            middle(ours, |one| one.rate).of,
            rate.of,
            middle(rival, |one| one.rate).of,
            cpu.of,
            middle(ours, |one| one.cpu_ns).of / 1e3,
            middle(rival, |one| one.cpu_ns).of / 1e3,
            batched_rate.of,
            batched_cpu.of,
            ours.len()
        );
        let is_faster = rate.of >= 1.0 && batched_rate.of >= 1.0;
        match is_faster && cpu.of < 1.0 && batched_cpu.of < 1.0 {
            true => Line::held("reads", text),
            false => Line::failed("reads", text),
        }
    }

    /// Holds if no byte of data passed RAM on the direct way.
    fn copies(&self) -> Line {
        let (Some(direct), Some(by_ram)) = (self.copies.get("p2p"), self.copies.get("ram")) else {
            return Line::failed("copies", "not all was measured");
        };
        let most = direct.iter().map(|one| one.ram_bytes).fold(0.0, f64::max);
        let least = by_ram.iter().map(|one| one.ram_bytes).fold(f64::MAX, f64::min);
        let rate = ratio(direct, by_ram, |one| one.rate);
        let text = format!(
            "a copy by a controller's memory: {most:.0} bytes of data through RAM, {:.2} times the speed of the same by way of RAM ({least:.0} bytes)",
            rate.of
        );
        match most == 0.0 && least > 0.0 {
            true => Line::held("copies", text),
            false => Line::failed("copies", text),
        }
    }

    /// For docs/benchmarks.md.
    fn table(&self) -> String {
        let mut text = String::new();
        let rival = self.reads.get(RIVAL).map(Vec::as_slice).unwrap_or_default();
        text.push_str("| reads of 4 KiB, depth | reads a second | of fio io_uring polled, depth 32 | CPU time a read | bytes in RAM a read |\n|---|--:|--:|--:|--:|\n");
        for (name, all) in &self.reads {
            let (rate, cpu) = (middle(all, |one| one.rate), middle(all, |one| one.cpu_ns / 1e3));
            let ratio = ratio(all, rival, |one| one.rate);
            let ram_bytes = middle(all, |one| one.ram_bytes).of;
            let name = name.replace('/', ", ").replace('-', " ");
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} us | {ram_bytes:.0} |",
                rate.shown(0),
                ratio.shown(2),
                cpu.shown(1)
            );
        }
        text.push_str("\n| copy of 16 MiB | MiB a second | CPU time a MiB | bytes of data through RAM |\n|---|--:|--:|--:|\n");
        for (name, all) in &self.copies {
            let name = match name.as_str() {
                "p2p" => "by a controller's memory",
                _ => "by way of RAM",
            };
            let rate = middle(all, |one| one.rate / f64::from(1 << 20));
            let cpu = middle(all, |one| one.cpu_ns / 1e6);
            let ram_bytes = middle(all, |one| one.ram_bytes).of;
            let _ = writeln!(
                text,
                "| {name} | {} | {} ms | {ram_bytes:.0} |",
                rate.shown(1),
                cpu.shown(1)
            );
        }
        text
    }
}

/// A median, and how far all others are from it.
struct Middle {
    of: f64,
    least: f64,
    most: f64,
}

impl Middle {
    fn new(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        let at = |index: usize| numbers.get(index).copied().unwrap_or(f64::NAN);
        Self {
            of: at(numbers.len() / 2),
            least: at(0),
            most: at(numbers.len().saturating_sub(1)),
        }
    }

    fn shown(&self, digits: usize) -> String {
        let Self { of, least, most } = self;
        format!("{of:.digits$} ({least:.digits$} to {most:.digits$})")
    }
}

fn middle(all: &[One], of: impl Fn(&One) -> f64) -> Middle {
    Middle::new(all.iter().map(of).collect())
}

/// Round by round: what disturbs a round disturbs both.
fn ratio(one: &[One], other: &[One], of: impl Fn(&One) -> f64) -> Middle {
    Middle::new(
        one.iter()
            .zip(other)
            .map(|(one, other)| of(one) / of(other))
            .collect(),
    )
}
