//! Probes on the machines that ship.

use crate::rig::{Rig, shipped};
use peerdma::addr::PhysAddr;
use peerdma::load::Wish;
use peerdma::probe::{
    CpuWitness, Judgement, Looks, Options, Outcome, Pattern, Promise, Speed, Stage, Witness, WitnessError,
};
use peerdma::route::Access;
use peerdma_sim::host::Computer;
use peerdma_sim::machine::FaultPlan;
use std::cell::Cell;

fn rig(name: &str) -> Rig {
    Rig::named(&shipped(name), "nvme0", FaultPlan::default())
}

#[test]
fn on_machines_where_peers_reach_each_other_every_byte_arrives_and_all_is_put_back() {
    for name in ["two-ssds", "offset-bridge", "two-sockets", "shared-group"] {
        let rig = rig(name);
        let (region, memory) = rig.memory_of("nvme1");
        rig.fill(&region, memory);
        let before = rig.computer.state();
        for (promise, judgement, report) in rig.judged(&region, memory, &Options::default()) {
            assert_eq!(
                (promise, judgement),
                (Promise::Reached, Judgement::Agrees),
                "{name}"
            );
            let direction = &report.directions[0];
            assert!(
                direction.cases > 30 && direction.verified_bytes > 1 << 19,
                "{direction:?}"
            );
        }
        assert_eq!(rig.changed(&before), [], "{name}");
    }
}

#[test]
fn the_redirect_that_answers_success_is_found_with_its_first_wrong_byte() {
    let rig = rig("redirect");
    let (region, memory) = rig.memory_of("nvme1");
    rig.fill(&region, memory);
    let before = rig.computer.state();
    let judged = rig.judged(&region, memory, &Options::default());
    assert_eq!(rig.changed(&before), []);
    for (promise, judgement, report) in judged {
        assert_eq!(promise, Promise::Refused);
        let direction = &report.directions[0];
        match (direction.access, &direction.outcome) {
            (Access::Write, Outcome::Corrupt(corruption)) => {
                assert_eq!(judgement, Judgement::Corrupts);
                let case = direction.case.unwrap();
                assert_eq!(corruption.offset_bytes, case.offset_bytes);
                assert_eq!(
                    (corruption.within_bytes, corruption.looks),
                    (0, Looks::NeverArrived)
                );
                assert_eq!(corruption.case.pattern, Pattern::Addressed);
                assert_eq!(
                    (corruption.wrong_bytes, corruption.guard_bytes),
                    (case.total_bytes(), 0)
                );
                let mut expected = [0; 16];
                Pattern::Addressed.fill(Options::default().seed, case.offset_bytes, &mut expected);
                assert_eq!(corruption.expected, expected);
                assert_eq!(corruption.found, expected.map(|byte| !byte));
            }
            // A read that nobody answers is one that this controller tells of.
            (Access::Read, Outcome::DeviceError(_)) => {
                assert_eq!(judgement, Judgement::RefusedAsPromised);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn where_only_stores_pass_only_stores_do() {
    let rig = rig("store-only");
    let (region, memory) = rig.memory_of("nvme1");
    let judged = rig.judged(&region, memory, &Options::default());
    let judgements: Vec<_> = judged
        .iter()
        .map(|(promise, judgement, _)| (*promise, *judgement))
        .collect();
    assert_eq!(
        judgements,
        [
            (Promise::Refused, Judgement::RefusedAsPromised),
            (Promise::Reached, Judgement::Agrees)
        ]
    );
}

#[test]
fn whoever_interrupts_a_probe_gets_everything_back() {
    let rig = rig("two-ssds");
    let (region, memory) = rig.memory_of("nvme1");
    rig.fill(&region, memory);
    let before = rig.computer.state();
    for after in [0, 1, 2, 7, 19, 20, 21, 40, 100, 150] {
        let mut left = after;
        let mut watch = |stage| {
            let is_over = left == 0 && stage != Stage::Restoring;
            left = left.max(1) - 1;
            if is_over { Wish::Stop } else { Wish::GoOn }
        };
        let report = rig
            .watched(&mut rig.disk(), memory, &Options::default(), &mut watch)
            .unwrap();
        assert!(report.interrupted);
        assert_eq!(report.not_restored, None);
        assert_eq!(rig.changed(&before), []);
    }
}

/// The CPU, and how many bytes it has touched since somebody was asked whether to go on.
struct Counted<'c> {
    cpu: CpuWitness<'c, Computer>,
    bytes: &'c Cell<usize>,
}

impl Witness for Counted<'_> {
    fn granule_bytes(&self) -> u64 {
        self.cpu.granule_bytes()
    }

    fn read(&mut self, at: PhysAddr, into: &mut [u8]) -> Result<(), WitnessError> {
        self.bytes.set(self.bytes.get() + into.len());
        self.cpu.read(at, into)
    }

    fn write(&mut self, at: PhysAddr, from: &[u8]) -> Result<(), WitnessError> {
        self.bytes.set(self.bytes.get() + from.len());
        self.cpu.write(at, from)
    }
}

#[test]
fn a_wish_to_stop_is_asked_for_however_slow_the_memory_is() {
    let rig = rig("two-ssds");
    let (_, memory) = rig.memory_of("nvme1");
    let bytes = Cell::new(0);
    let mut witness = Counted {
        cpu: CpuWitness::new(&rig.computer, &rig.map),
        bytes: &bytes,
    };
    let mut most_bytes = 0;
    let mut watch = |_| {
        most_bytes = most_bytes.max(bytes.replace(0));
        Wish::GoOn
    };
    let report = rig.witnessed(
        &mut rig.disk(),
        (memory, &mut witness),
        &Options::default(),
        &mut watch,
    );
    assert!(
        report
            .unwrap()
            .directions
            .iter()
            .all(|one| one.outcome == Outcome::Delivered)
    );
    assert!(most_bytes <= 16 << 10, "{most_bytes}");
}

#[test]
fn figures_are_whole_or_none() {
    let rig = rig("two-ssds");
    let (_, memory) = rig.memory_of("nvme1");
    let options = Options {
        accesses: &[Access::Write],
        speed: Some(Speed::default()),
        ..Options::default()
    };
    let mut measured = 0;
    let mut watch = |stage| {
        measured += u32::from(matches!(stage, Stage::Measuring(_)));
        match (stage, measured) {
            (Stage::Measuring(_), 3..) => Wish::Stop,
            _ => Wish::GoOn,
        }
    };
    let report = rig
        .watched(&mut rig.disk(), memory, &options, &mut watch)
        .unwrap();
    assert!(report.interrupted);
    assert_eq!(report.not_restored, None);
    assert_eq!(report.directions[0].outcome, Outcome::Delivered);
    assert_eq!(report.directions[0].figures, None);
}

#[test]
fn figures_are_taken_of_the_pair_and_of_ram() {
    let rig = rig("two-ssds");
    let (region, memory) = rig.memory_of("nvme1");
    let options = Options {
        speed: Some(Speed::default()),
        ..Options::default()
    };
    rig.fill(&region, memory);
    let before = rig.computer.state();
    let report = rig.probe(&mut rig.disk(), memory, &options).unwrap();
    assert_eq!(rig.changed(&before), []);
    for direction in &report.directions {
        for figures in direction.figures.unwrap() {
            assert!(figures.min_ns > 0 && figures.min_ns <= figures.median_ns);
            assert!(figures.median_ns <= figures.p99_ns && figures.depth > 1);
            assert!(figures.bytes_per_second().unwrap() > 100_000_000, "{figures:?}");
        }
    }
}

#[test]
fn memory_is_looked_at_by_its_own_controller_in_the_place_of_the_cpu() {
    let rig = rig("two-ssds");
    let before = rig.computer.state();
    let report = rig.probe_by_other(&Options::default()).unwrap();
    assert_eq!(report.not_restored, None);
    for direction in &report.directions {
        assert_eq!(direction.outcome, Outcome::Delivered);
        assert!(direction.cases > 20);
    }
    // Its scratch blocks are all that was given away for good.
    let changed = rig.changed(&before);
    let is_given = |area| matches!(area, peerdma_sim::host::Area::Namespace { bdf, .. } if bdf != rig.bdf);
    assert!(changed.iter().all(|change| is_given(change.area)), "{changed:?}");
}
