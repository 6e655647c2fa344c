//! Does data arrive that our driver moves over VFIO, by every way between two devices and in every shape?
//!
//! Everything happens, and is compared, in the guest (`lab/guest/src/user_path`): our driver against the bytes that the CPU sees, against itself, and against
//! the kernel's driver before and after.

use super::{Check, Need, Plan, Scope};
use crate::chore::Failure;
use crate::lab::boot::Boot;
use crate::lab::machine::{Iommu, Machine, Processor};
use crate::lab::topologies;
use std::time::Duration;

pub(crate) const CHECK: Check = Check {
    name: "user-path",
    promise: "what our driver moves over VFIO arrives: between controllers, RAM and BARs, in every shape; the kernel's driver reads what ours wrote, and the reverse",
    needs: &[
        Need::KernelModule("vfio"),
        Need::KernelModule("vfio_iommu_type1"),
        Need::KernelModule("vfio-pci"),
    ],
    boots,
};

const MODULES: &str = "mod irqbypass vfio vfio_iommu_type1 vfio-pci-core vfio-pci";

fn boots(plan: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    // VFIO always translates: what differs is what the kernel's own devices do beside it.
    let mut machines = vec![(topologies::long_transfers(), Iommu::On)];
    if plan.scope == Scope::Full {
        machines.push((topologies::long_transfers(), Iommu::Passthrough));
        machines.push((topologies::host_bridges(), Iommu::On));
    }
    let boot = |(topology, iommu)| {
        let machine = Machine::new(topology, Processor::Epyc, iommu);
        let mut boot = Boot::new(machine, format!("{MODULES} && lab-guest user-path type1"));
        boot.name = format!("{}/type1", boot.name);
        boot.limit = Duration::from_secs(900);
        boot
    };
    Ok(machines.into_iter().map(boot).collect())
}
