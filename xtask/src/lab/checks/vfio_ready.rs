//! Can the guest lend its controllers to user space, as every check of that path needs? And does the first command on them work where the kernel
//! never drove them, so that nobody has switched on what is above them?
//!
//! The smallest check there is: shell lines, and no part in `lab-guest`.

use super::{Check, Need, Plan};
use crate::chore::Failure;
use crate::lab::boot::Boot;
use crate::lab::machine::{Iommu, Machine, Processor};
use crate::lab::topologies;

pub(crate) const CHECK: Check = Check {
    name: "vfio-ready",
    promise: "VFIO's modules load, every controller can be bound to vfio-pci and has a group of its own to open, and the first copy works where the kernel never drove one",
    needs: &[
        Need::KernelModule("vfio"),
        Need::KernelModule("vfio_iommu_type1"),
        Need::KernelModule("vfio-pci"),
    ],
    boots,
};

const DRIVEN_BEFORE: &str = r#"
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

/// Of every bridge Bus Master Enable is bit 2 of the command register.
const NEVER_DRIVEN: &str = r#"
mod irqbypass vfio vfio_iommu_type1 vfio-pci-core vfio-pci || return 1
controllers= shut=0
for device in /sys/bus/pci/devices/*; do
    case $(cat "$device/class") in
    0x010802)
        [ -e "$device/driver" ] && say FAIL never-driven "${device##*/} has a driver" && return 1
        controllers="$controllers ${device##*/}" ;;
    0x060400)
        command=0x$(od -An -tx2 -j4 -N2 "$device/config" | tr -d ' ')
        [ $((command & 4)) -ne 0 ] || shut=$((shut + 1)) ;;
    esac
done
[ "$shut" -gt 0 ] || say FAIL never-driven "every bridge passes requests upwards: this boot tells nothing"
set -- $controllers
peerdma bind "$1" "$2" --yes || return 1
if peerdma copy "$1" "$2" --bytes 1MiB --yes; then
    say ok first-copy "$1 was copied to $2 at the first try, below $shut bridges that passed no requests upwards before"
else
    say FAIL first-copy "copying $1 to $2 ended with $?"
fi
"#;

fn boots(_: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    let machine = Machine::new(topologies::switch(), Processor::Epyc, Iommu::On);
    let controllers = machine.topology.controllers();
    let never_driven = Boot::new(machine.clone(), NEVER_DRIVEN);
    Ok(vec![
        Boot::new(machine, format!("controllers={controllers}\n{DRIVEN_BEFORE}")),
        Boot {
            name: format!("{} never-driven", never_driven.name),
            kernel_line: "initcall_blacklist=nvme_init".into(),
            ..never_driven
        },
    ])
}
