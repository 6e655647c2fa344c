//! Why a function may not be taken from its driver, and what would change that.

use peerdma::addr::Bdf;
use std::fmt;

/// One thing that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// There is no such function.
    NoFunction,
    /// It is a bridge: what lies below it would be lost.
    Bridge,
    /// The firmware's and the console's display.
    BootDisplay,
    /// It has virtual functions, which its driver would take with it.
    VirtualFunctions {
        /// How many.
        count: u32,
    },
    /// A file system on it is mounted.
    Mounted {
        /// The block device.
        device: String,
        /// Where.
        at: String,
    },
    /// It is swap space.
    Swap {
        /// The block device.
        device: String,
    },
    /// Another device is made of it.
    Held {
        /// The block device.
        device: String,
        /// The other.
        by: String,
    },
    /// Somebody has claimed it for himself, and cannot be seen from here.
    Claimed {
        /// The block device.
        device: String,
    },
    /// Whether somebody has claimed it could not be found out.
    Unclear {
        /// The block device.
        device: String,
        /// What failed.
        why: String,
    },
    /// A program has it open.
    Open {
        /// The device.
        device: String,
        /// The program's number.
        process: u32,
        /// Its name.
        command: String,
    },
    /// A network interface on it is up.
    InterfaceUp {
        /// Its name.
        interface: String,
    },
    /// It is in no IOMMU group, without which VFIO does not give it out.
    NoGroup,
    /// Others of its IOMMU group have drivers of the kernel; VFIO gives out a group as a whole.
    GroupShared {
        /// The group.
        group: u32,
        /// The others and their drivers.
        others: Vec<(Bdf, String)>,
    },
    /// The kernel has no driver vfio-pci at the moment.
    NoVfio,
    /// A record of an earlier binding is there.
    Recorded {
        /// The file.
        file: String,
    },
    /// There is no record of a binding.
    NotRecorded {
        /// The file that would hold it.
        file: String,
        /// Who drives it now.
        driver: Option<String>,
    },
    /// Somebody else has bound it to another driver since.
    Rebound {
        /// Who drives it now.
        driver: String,
        /// The file with the record.
        file: String,
    },
    /// The record cannot be used.
    BadRecord {
        /// The file.
        file: String,
        /// Why.
        why: String,
    },
}

/// What stands in the way, of which function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The function.
    pub bdf: Bdf,
    /// What stands in its way.
    pub obstacle: Obstacle,
}

impl Obstacle {
    /// What would change it.
    pub fn fix(&self) -> String {
        match self {
            Self::NoFunction => "look at `peerdma topo` for the addresses of this machine".into(),
            Self::Bridge => "name the endpoint below it; bridges stay with the kernel".into(),
            Self::BootDisplay => "use another display adapter for the console first".into(),
            Self::VirtualFunctions { .. } => {
                "write 0 to its sriov_numvfs first, once nobody uses them; or bind a virtual function".into()
            }
            Self::Mounted { at, .. } => format!("umount {at}"),
            Self::Swap { device } => format!("swapoff /dev/{device}"),
            Self::Held { by, .. } => format!(
                "take {by} apart first (dm: `dmsetup remove` or `vgchange -an`; md: `mdadm --stop`; loop: `losetup -d`; nvmet: write 0 to its `enable`)"
            ),
            Self::Claimed { device } => format!(
                "find who holds /dev/{device} (a mount in a container, ZFS, a RAID of several devices) and let him release it"
            ),
            Self::Unclear { .. } => "run as root, outside of any container".into(),
            Self::Open { process, .. } => format!("end process {process}, or let it close the device"),
            Self::InterfaceUp { interface } => format!(
                "ip link set {interface} down, if this machine is not reached through it"
            ),
            Self::NoGroup => {
                "switch the IOMMU on: in the firmware (VT-d, AMD-Vi), and with intel_iommu=on on Intel's".into()
            }
            Self::GroupShared { .. } => "bind them too: name them, or give --group".into(),
            Self::NoVfio => "modprobe vfio-pci".into(),
            Self::Recorded { file } => {
                format!("peerdma unbind puts back what it says; else look at {file} and remove it")
            }
            Self::NotRecorded { .. } => "peerdma unbind undoes what peerdma bind did; name its --state folder if it had one. By hand: write an empty \
                 line to driver_override, the address to driver/unbind and to drivers_probe"
                .into(),
            Self::Rebound { file, .. } => format!("nothing is to be put back any more: remove {file}"),
            Self::BadRecord { file, .. } => format!("look at {file}, put the driver back by hand and remove the file"),
        }
    }

    /// Is it that the question makes no sense, rather than that the answer is no?
    pub fn is_bad_input(&self) -> bool {
        matches!(self, Self::NoFunction)
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFunction => f.write_str("there is no such function"),
            Self::Bridge => f.write_str("it is a bridge: all below it would be lost"),
            Self::BootDisplay => f.write_str("it is the display that the machine started with"),
            Self::VirtualFunctions { count } => {
                write!(
                    f,
                    "it has {count} virtual functions, which its driver would take with it"
                )
            }
            Self::Mounted { device, at } => write!(f, "{device} is mounted at {at}"),
            Self::Swap { device } => write!(f, "{device} is swap space"),
            Self::Held { device, by } => write!(f, "{device} is held by {by}"),
            Self::Claimed { device } => {
                write!(f, "{device} is claimed by somebody who cannot be seen from here")
            }
            Self::Unclear { device, why } => {
                write!(
                    f,
                    "whether somebody has claimed {device} cannot be found out: {why}"
                )
            }
            Self::Open {
                device,
                process,
                command,
            } => {
                write!(f, "{device} is open in process {process} ({command})")
            }
            Self::InterfaceUp { interface } => write!(f, "its network interface {interface} is up"),
            Self::NoGroup => f.write_str("it is in no IOMMU group: VFIO does not give it out"),
            Self::GroupShared { group, others } => {
                write!(
                    f,
                    "VFIO gives out IOMMU group {group} as a whole, and others of it have drivers:"
                )?;
                for (index, (bdf, driver)) in others.iter().enumerate() {
                    write!(f, "{} {bdf} ({driver})", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Self::NoVfio => f.write_str("the kernel has no driver vfio-pci loaded"),
            Self::Recorded { file } => write!(f, "{file} tells of an earlier binding that was not put back"),
            Self::NotRecorded { file, driver } => match driver {
                Some(driver) => write!(
                    f,
                    "{file} is not there: peerdma did not bind it (its driver is {driver})"
                ),
                None => write!(
                    f,
                    "{file} is not there: peerdma did not bind it (it has no driver)"
                ),
            },
            Self::Rebound { driver, .. } => {
                write!(f, "its driver is {driver} by now: somebody has bound it since")
            }
            Self::BadRecord { file, why } => write!(f, "{file} cannot be used: {why}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.bdf, self.obstacle)
    }
}
