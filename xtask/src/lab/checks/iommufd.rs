//! Do copies between controllers arrive that iommufd lends, where memory behind a BAR is a dma-buf?
//!
//! Everything happens, and is compared, in the guest (`lab/guest/src/iommufd.rs`), on a kernel that has it.

use super::{Check, Need, Plan, Scope};
use crate::chore::Failure;
use crate::lab::boot::Boot;
use crate::lab::machine::{Iommu, Machine, Processor};
use crate::lab::topologies;
use std::time::Duration;

pub(crate) const CHECK: Check = Check {
    name: "iommufd",
    promise: "where the kernel has iommufd a copy takes it, or type1 if told; copies by the memory of every controller arrive",
    needs: &[Need::Iommufd],
    boots,
};

fn boots(plan: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    let (machines, scope) = match plan.scope {
        Scope::Quick => (vec![(topologies::switch(), Iommu::On)], "few"),
        Scope::Full => {
            let switch = [Iommu::On, Iommu::Passthrough].map(|iommu| (topologies::switch(), iommu));
            (switch.into(), "all")
        }
    };
    let boot = |(topology, iommu)| {
        let machine = Machine::new(topology, Processor::Epyc, iommu);
        let controllers = machine.topology.controllers();
        let boot = Boot::new(machine, format!("lab-guest iommufd {scope} {controllers}")).on_iommufd();
        Boot {
            limit: Duration::from_secs(900),
            ..boot
        }
    };
    Ok(machines.into_iter().map(boot).collect())
}
