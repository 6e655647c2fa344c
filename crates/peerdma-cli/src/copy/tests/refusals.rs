//! The host refuses steps: the first of a copy, the second, and so on until there is none left to refuse.

use super::rig::{Case, Ending, FEW, cases, tries_everything, within_time};
use peerdma::plan::Method;
use peerdma_sim::host::Step;
use peerdma_sim::machine::{Fault, Turn};
use std::collections::BTreeMap;

/// After so many in a row that changed nothing there are none left.
const UNCHANGED: u32 = 16;

/// No copy of this size takes so many steps.
const MOST: u64 = 100_000;

/// Each of these steps is refused in turn; gives how many there are in a copy, and how many refusals ended it.
fn refuse_each(case: Case, step: Step, begin: &dyn Fn(u64)) -> (u64, u64) {
    let mut ended = 0;
    for nth in 1..MOST {
        begin(nth);
        let trial = case.switch_on(Vec::new(), 0);
        let computer = trial.computer.clone();
        computer.refuse(step, nth);
        let Ending { result, method, .. } = trial.run();
        if computer.attempts(step) < nth {
            // Some machines have no such way: all steps up to the plan were refused in turn then.
            assert!(
                result.is_ok() || method.is_none(),
                "{case:?}: nothing was refused: {result:?}"
            );
            return (nth - 1, ended);
        }
        ended += u64::from(result.is_err());
    }
    panic!("{case:?}: {step:?} never ends");
}

#[test]
fn without_refusals_every_way_is_taken_and_proven() {
    within_time(|log| {
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        for case in cases(&FEW) {
            log.begin(&case);
            let ending = case.switch_on(Vec::new(), 0).run();
            let name = match ending.method {
                Some(Method::Store) => "store",
                Some(Method::Load) => "load",
                Some(Method::ThirdParty(_)) => "third",
                Some(Method::ViaRam) => "ram",
                Some(Method::Internal) | None => "none",
            };
            assert!(
                ending.result.is_ok() || ending.method.is_none(),
                "{case:?}: {:?}",
                ending.result
            );
            *seen.entry(name).or_default() += 1;
        }
        for way in ["store", "load", "third", "ram"] {
            assert!(seen.contains_key(way), "{seen:?}");
        }
    });
}

/// A copy in which each step of one kind is refused in turn.
fn each_is_refused(step: Step) {
    within_time(move |log| {
        let (mut steps, mut ended) = (0, 0);
        for case in cases(&FEW) {
            let (of_these, by_these) = refuse_each(case, step, &|nth| log.begin(&(case, step, nth)));
            steps += of_these;
            ended += by_these;
        }
        println!("{step:?}: {steps} refused, {ended} ended the copy");
        assert!(steps > 0);
    });
}

#[test]
fn each_allocation_that_is_refused_leaves_all_as_it_was() {
    each_is_refused(Step::Allocation);
}

#[test]
fn each_mapping_that_is_refused_leaves_all_as_it_was() {
    each_is_refused(Step::Map);
}

#[test]
fn each_unmapping_that_is_refused_leaves_all_as_it_was() {
    each_is_refused(Step::Unmap);
}

/// In a copy that goes well nothing is reset: first something breaks down.
#[test]
fn each_reset_that_is_refused_leaves_all_as_it_was() {
    within_time(|log| {
        let few = if tries_everything() { 40 } else { 3 };
        for case in cases(&FEW) {
            let whole_ns = case.switch_on(Vec::new(), 0).run().at_ns;
            for device in ["nvme0", "nvme1"].map(|name| case.find(name).expect("it is there")) {
                for moment in 0..few {
                    let at = peerdma_sim::time::Time::from_ps(whole_ns * 1000 * moment / few);
                    for nth in 1..3 {
                        log.begin(&(case, device, at, nth));
                        let trial = case.switch_on(vec![Fault::BreaksDown { device, at }], 0);
                        trial.computer.refuse(Step::Reset, nth);
                        trial.run();
                    }
                }
            }
        }
    });
}

/// Memory of the machine itself that does not come into being: what was written to it is lost.
#[test]
fn each_chunk_of_memory_that_does_not_come_into_being_is_told() {
    within_time(|log| {
        for case in cases(&FEW) {
            for nth in 1..MOST {
                log.begin(&(case, nth));
                // What it is filled with comes first, and is no part of the copy.
                let Some(trial) = case.try_switch_on(vec![Fault::Allocation { nth }], 0) else {
                    continue;
                };
                let computer = trial.computer.clone();
                let Ending { result, .. } = trial.run();
                if computer.with(|machine| machine.refused_writes().0) == 0 && result.is_ok() {
                    break;
                }
            }
        }
    });
}

/// The IOMMU refuses one request after the other.
#[test]
fn each_request_that_the_iommu_refuses_is_told_and_nothing_else_happens() {
    within_time(|log| {
        let stride = if tries_everything() { 1 } else { 7 };
        let translating = |case: &Case| case.iommu == super::rig::Iommu::Translating;
        for case in cases(&FEW).into_iter().filter(translating) {
            let whole_ns = case.switch_on(vec![denied(u64::MAX)], 0).run().at_ns;
            let mut same = 0;
            for nth in (1..MOST).step_by(stride) {
                log.begin(&(case, nth));
                let ending = case.switch_on(vec![denied(nth)], 0).run();
                same = match ending.result.is_ok() && ending.at_ns == whole_ns {
                    true => same + 1,
                    false => 0,
                };
                if same == UNCHANGED {
                    break;
                }
            }
        }
    });
}

fn denied(nth: u64) -> Fault {
    Fault::Iommu {
        requester: None,
        access: None,
        first: 0,
        last: u64::MAX,
        turn: Turn::Nth(nth),
    }
}
