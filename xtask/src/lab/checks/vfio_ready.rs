//! Can the guest lend its controllers to user space, as every check of that path needs?
//!
//! The smallest check there is: a shell line, and no part in `lab-guest`.

use super::{Check, Need, Plan};
use crate::chore::Failure;
use crate::lab::boot::Boot;
use crate::lab::machine::{Iommu, Machine, Processor};
use crate::lab::topologies;

pub(crate) const CHECK: Check = Check {
    name: "vfio-ready",
    promise: "VFIO's modules load, and every controller can be bound to vfio-pci and has a group of its own to open",
    needs: &[
        Need::KernelModule("vfio"),
        Need::KernelModule("vfio_iommu_type1"),
        Need::KernelModule("vfio-pci"),
    ],
    boots,
};

const SCRIPT: &str = r#"
mod irqbypass vfio vfio_iommu_type1 vfio-pci-core vfio-pci || return 1
lent=0
for device in /sys/bus/pci/drivers/nvme/0*; do
    address=${device##*/}
    echo "$address" >"$device/driver/unbind"
    echo vfio-pci >"/sys/bus/pci/devices/$address/driver_override"
    echo "$address" >/sys/bus/pci/drivers_probe
    group=$(readlink "/sys/bus/pci/devices/$address/iommu_group")
    if [ -c "/dev/vfio/${group##*/}" ]; then
        lent=$((lent + 1))
    else
        say FAIL "$address" "is not open to user space"
    fi
done
if [ "$lent" -ne "$controllers" ]; then
    say FAIL groups "$lent of $controllers controllers are open to user space"
else
    say ok groups "$lent controllers bound to vfio-pci"
fi
"#;

fn boots(_: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    let machine = Machine::new(topologies::switch(), Processor::Epyc, Iommu::On);
    let controllers = machine.topology.controllers();
    Ok(vec![Boot::new(
        machine,
        format!("controllers={controllers}\n{SCRIPT}"),
    )])
}
