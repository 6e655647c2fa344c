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

pub(crate) const IOMMUFD: Check = Check {
    name: "user-iommufd",
    promise: "the same by the files of devices and iommufd, where memory behind a BAR is mapped as a dma-buf",
    needs: &[Need::Iommufd],
    boots: boots_iommufd,
};

const MODULES: &str = "mod irqbypass vfio vfio_iommu_type1 vfio-pci-core vfio-pci";

fn boots(plan: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    Ok(machines(plan.scope).into_iter().map(by_type1).collect())
}

fn boots_iommufd(plan: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    Ok(machines(plan.scope).into_iter().map(by_iommufd).collect())
}

/// VFIO always translates: what differs is what the kernel's own devices do beside it.
fn machines(scope: Scope) -> Vec<Machine> {
    let mut machines = vec![(topologies::long_transfers(), Iommu::On)];
    if scope == Scope::Full {
        machines.push((topologies::long_transfers(), Iommu::Passthrough));
        machines.push((topologies::host_bridges(), Iommu::On));
    }
    let machine = |(topology, iommu)| Machine::new(topology, Processor::Epyc, iommu);
    machines.into_iter().map(machine).collect()
}

fn by_type1(machine: Machine) -> Boot {
    let script = format!("{MODULES} && {}", script(&machine, "type1"));
    let boot = Boot::new(machine, script);
    Boot { limit: LIMIT, ..boot }
}

fn by_iommufd(machine: Machine) -> Boot {
    let script = script(&machine, "iommufd");
    let boot = Boot::new(machine, script).on_iommufd();
    Boot { limit: LIMIT, ..boot }
}

/// The guest is told how many controllers, and functions beside them that are memory, it has to find.
fn script(machine: &Machine, api: &str) -> String {
    let topology = &machine.topology;
    let (controllers, memories) = (topology.controllers(), topology.memories());
    format!("lab-guest user-path {api} {controllers} {memories}")
}

/// Every pair, two forms of lists, and two ways, on an emulated processor.
const LIMIT: Duration = Duration::from_secs(900);
