//! Many orders of arrival.

use super::rig::{Case, Iommu, MACHINES, Way, tries_everything, within_time};
use peerdma_sim::host::Step;

#[test]
fn on_every_machine_a_copy_is_proven_in_any_order_of_arrival() {
    within_time(|log| {
        let seeds = if tries_everything() { 1000 } else { 20 };
        for machine in MACHINES {
            let case = Case {
                machine,
                iommu: Iommu::AsShipped,
                way: Way::Any,
            };
            for seed in 0..seeds {
                log.begin(&(case, seed));
                let ending = case.switch_on(Vec::new(), seed).run();
                assert_eq!(ending.result, Ok(()), "{case:?}, seed {seed}");
            }
        }
    });
}

#[test]
fn a_controller_that_is_an_end_and_the_way_too_is_opened_once() {
    let case = Case {
        machine: "two-ssds",
        iommu: Iommu::AsShipped,
        // The plan is the same, whether that way is asked for or not.
        way: Way::Load,
    };
    let allocations = |via_source: Option<()>| {
        let mut trial = case.switch_on(Vec::new(), 0);
        trial.request.way.via = via_source.map(|()| trial.request.source.initiator);
        let computer = trial.computer.clone();
        assert_eq!(trial.run().result, Ok(()));
        computer.attempts(Step::Allocation)
    };
    assert_eq!(allocations(Some(())), allocations(None));
}
