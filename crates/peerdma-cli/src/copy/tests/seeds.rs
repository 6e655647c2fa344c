//! Many orders of arrival.

use super::rig::{Case, Iommu, MACHINES, Way, tries_everything, within_time};

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
