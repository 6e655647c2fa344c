//! Why a device could not be had by VFIO, or not be used: what, why, and what to do.

use super::backend::{Api, Backend};
use super::memlock::locked_bytes;
use super::place::Member;
use peerdma::addr::Bdf;
use peerdma::device::DeviceError;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::fmt;
use std::path::PathBuf;

/// What went wrong with a device of VFIO.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VfioError {
    /// There is no such function.
    NoDevice {
        /// Which.
        bdf: Bdf,
    },
    /// No driver of VFIO has the function.
    NotBound {
        /// Which.
        bdf: Bdf,
        /// The driver that has it.
        driver: Option<String>,
    },
    /// No IOMMU translates for it.
    NoIommu {
        /// For which function.
        bdf: Bdf,
    },
    /// Other devices of its group are in the kernel's hands.
    NotViable {
        /// The group's number.
        group: u32,
        /// Those devices.
        others: Vec<Member>,
    },
    /// This user may not open a file.
    Permission {
        /// Which.
        path: PathBuf,
    },
    /// Somebody has it open already.
    Busy {
        /// Which file.
        path: PathBuf,
    },
    /// A file is not there that a module of the kernel brings.
    ModuleMissing {
        /// Which file.
        path: PathBuf,
        /// The modules.
        modules: &'static str,
    },
    /// The kernel has no file of its own for the function: it was built without VFIO_DEVICE_CDEV.
    NoDeviceFile {
        /// For which function.
        bdf: Bdf,
    },
    /// The container does not offer what was asked of it.
    NoType1,
    /// A device could forge interrupts: the kernel does not give it away.
    NoInterruptRemapping {
        /// The group's number.
        group: u32,
    },
    /// The devices would need more locked memory than this user may have.
    Memlock {
        /// How much it may have.
        limit_bytes: u64,
        /// How much of it is used.
        locked_bytes: u64,
        /// How much more was asked for.
        needed_bytes: u64,
    },
    /// The function has no such memory BAR, or none that has an address.
    NoSuchBar {
        /// The function.
        bdf: Bdf,
        /// The number of the BAR.
        bar: u8,
    },
    /// The kernel does not let the BAR be mapped.
    NotMappable {
        /// The function.
        bdf: Bdf,
        /// The number of the BAR.
        bar: u8,
    },
    /// The kernel exports no dma-buf of this device.
    NoDmaBuf {
        /// The function.
        bdf: Bdf,
    },
    /// The function has no such interrupt.
    NoInterrupt {
        /// The function.
        bdf: Bdf,
        /// The number of the interrupt.
        vector: u32,
        /// How many it has.
        count: u32,
    },
    /// The function cannot be reset.
    NoReset {
        /// The function.
        bdf: Bdf,
    },
    /// While the function was opened it was bound anew, and is in another IOMMU group now.
    GroupChanged {
        /// The function.
        bdf: Bdf,
        /// The number of its group a moment ago.
        before: u32,
        /// What it is now; nothing where it is in none.
        now: Option<u32>,
    },
    /// The registers of its BARs have lost their addresses: somebody reset the function while it was opened or closed.
    LostBars {
        /// The function.
        bdf: Bdf,
    },
    /// The function is gone.
    Gone {
        /// The function.
        bdf: Bdf,
    },
    /// The kernel refused something that it should have done.
    System {
        /// What was to be done.
        doing: String,
        /// What it said.
        errno: Errno,
    },
}

impl VfioError {
    /// What a refused [`Backend::map`] of `len_bytes` means.
    pub fn of_map(backend: &dyn Backend, len_bytes: u64, errno: Errno) -> Self {
        if let (Errno::NOMEM, Some(limit_bytes)) = (errno, getrlimit(Resource::Memlock).current) {
            let locked_bytes = locked_bytes();
            // Type 1 counts what this process has locked, iommufd what all processes of its user have.
            let is_beyond = locked_bytes.saturating_add(len_bytes) > limit_bytes;
            if is_beyond || backend.api() == Api::Iommufd {
                return Self::Memlock {
                    limit_bytes,
                    locked_bytes,
                    needed_bytes: len_bytes,
                };
            }
        }
        let by = backend.api();
        Self::System {
            doing: format!("map {len_bytes:#x} bytes for devices ({by})"),
            errno,
        }
    }

    pub(super) fn system(doing: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        let doing = doing.into();
        move |errno| Self::System { doing, errno }
    }

    /// What failed.
    pub fn what(&self) -> String {
        match self {
            Self::NoDevice { bdf } => format!("{bdf} does not exist"),
            Self::NotBound { bdf, .. } | Self::NoIommu { bdf } | Self::NoDeviceFile { bdf } => {
                format!("{bdf} cannot be opened by VFIO")
            }
            Self::NotViable { group, .. } => {
                format!("the devices of IOMMU group {group} cannot be opened by VFIO")
            }
            Self::Permission { path } | Self::Busy { path } | Self::ModuleMissing { path, .. } => {
                format!("{} cannot be opened", path.display())
            }
            Self::NoType1 => "VFIO has no address space for the device".into(),
            Self::NoInterruptRemapping { group } => {
                format!("the devices of IOMMU group {group} are not given away by the kernel")
            }
            Self::Memlock { needed_bytes, .. } => {
                format!("{} cannot be locked for devices", kib(*needed_bytes))
            }
            Self::NoSuchBar { bdf, bar } => format!("BAR {bar} of {bdf} cannot be used"),
            Self::NotMappable { bdf, bar } => format!("BAR {bar} of {bdf} cannot be mapped"),
            Self::NoDmaBuf { bdf } => format!("no dma-buf of {bdf} can be had"),
            Self::NoInterrupt { bdf, vector, .. } => format!("{bdf} has no interrupt {vector}"),
            Self::NoReset { bdf } => format!("{bdf} cannot be reset"),
            Self::GroupChanged { bdf, .. } => format!("{bdf} changed its IOMMU group while it was opened"),
            Self::LostBars { bdf } => format!("{bdf} answers nobody"),
            Self::Gone { bdf } => format!("{bdf} is gone"),
            Self::System { doing, .. } => format!("Linux did not {doing}"),
        }
    }

    /// Why.
    pub fn why(&self) -> String {
        match self {
            Self::NoDevice { .. } => "sysfs lists no PCI function of this address".into(),
            Self::NotBound { driver: Some(driver), .. } => format!("it is bound to the driver {driver}"),
            Self::NotBound { driver: None, .. } => "it is bound to no driver".into(),
            Self::NoIommu { .. } => "it is in no IOMMU group: no IOMMU translates for it".into(),
            Self::NotViable { others, .. } => {
                let others: Vec<_> = others.iter().map(Member::to_string).collect();
                match others.is_empty() {
                    true => "other devices of the group are in use by the kernel".into(),
                    false => format!("devices of the group are in use by the kernel: {}", others.join(", ")),
                }
            }
            Self::Permission { .. } => "this user may not".into(),
            Self::Busy { .. } => "another program has it open (or this one, elsewhere)".into(),
            Self::ModuleMissing { modules, .. } => format!("the file is not there: the kernel has not loaded {modules}, or was built without"),
            Self::NoDeviceFile { .. } => "the kernel has no file for it in /dev/vfio/devices: it was built without VFIO_DEVICE_CDEV".into(),
            Self::NoType1 => "the kernel offers no IOMMU of type 1 (version 2)".into(),
            Self::NoInterruptRemapping { .. } => "the IOMMU does not remap interrupts, so that a device could forge any".into(),
            Self::Memlock { limit_bytes, locked_bytes, .. } => format!(
                "{} of the {} of memory that this user may lock are in use",
                kib(*locked_bytes),
                kib(*limit_bytes)
            ),
            Self::NoSuchBar { .. } => "it is not implemented, decodes no memory, or has no address".into(),
            Self::NotMappable { .. } => "the kernel does not let programs map it: it is smaller than a page, or shares one".into(),
            Self::NoDmaBuf { .. } => "the kernel does not export BARs (Linux 6.19 or later with VFIO_PCI_DMABUF does), or the device takes no part in peer-to-peer DMA".into(),
            Self::NoInterrupt { count: 0, .. } => "it has neither MSI-X nor MSI".into(),
            Self::NoInterrupt { count, .. } => format!("it has {count}"),
            Self::NoReset { .. } => "it knows no way of resetting that would spare its neighbours".into(),
            Self::GroupChanged { before, now, .. } => match now {
                Some(now) => format!("it was in group {before}, and is in group {now}: somebody bound it anew"),
                None => format!("it was in group {before}, and is in none: somebody took it out"),
            },
            Self::LostBars { .. } => "its BARs have lost their addresses: somebody reset it while it was opened or closed".into(),
            Self::Gone { .. } => "it does not answer: it was removed, or its link is down".into(),
            Self::System { errno, .. } => errno.to_string(),
        }
    }

    /// What to do.
    pub fn fix(&self) -> String {
        match self {
            Self::NoDevice { .. } => "look at `peerdma topo`".into(),
            Self::NotBound { bdf, .. } => format!("bind it: `peerdma bind {bdf}`"),
            Self::NoIommu { .. } => "switch the IOMMU on in the firmware and for the kernel (intel_iommu=on on Intel), and boot again".into(),
            Self::NotViable { .. } => "bind them to vfio-pci too, or unbind them from their drivers".into(),
            Self::Permission { path } => {
                let which = match path {
                    path if path.ends_with("iommu") => r#"KERNEL=="iommu""#,
                    path if path.components().any(|part| part.as_os_str() == "devices") => r#"SUBSYSTEM=="vfio-dev""#,
                    _ => r#"SUBSYSTEM=="vfio""#,
                };
                format!("as root: `chown USER {}`, or for good a rule of udev: {which}, OWNER=\"USER\"", path.display())
            }
            Self::Busy { path } => format!("end it: `fuser {}` names it", path.display()),
            Self::ModuleMissing { modules, .. } => format!("as root: `modprobe -a {modules}`"),
            Self::NoDeviceFile { .. } => format!("use groups and containers instead: {}", Api::Type1),
            Self::NoType1 => "as root: `modprobe vfio_iommu_type1`".into(),
            Self::NoInterruptRemapping { .. } => "switch interrupt remapping on in the firmware; where all devices can be trusted, load vfio_iommu_type1 with allow_unsafe_interrupts=1".into(),
            Self::Memlock { locked_bytes, needed_bytes, .. } => {
                let kib = locked_bytes.saturating_add(*needed_bytes).div_ceil(1024);
                format!("allow at least {kib} KiB: `ulimit -l {kib}`, for good in /etc/security/limits.conf (memlock)")
            }
            Self::NoSuchBar { .. } => "look at its BARs: `peerdma topo`".into(),
            Self::NotMappable { .. } => "use another BAR; some firmware can align BARs to pages (pci=resource_alignment= of the kernel does too)".into(),
            Self::NoDmaBuf { .. } => "use a later kernel, or groups and containers (type1), which need none".into(),
            Self::NoInterrupt { .. } => "use a lower one, or poll".into(),
            Self::NoReset { .. } => "unbind and bind it, or start the machine anew".into(),
            Self::GroupChanged { .. } => "try again, once nobody binds it any more".into(),
            Self::LostBars { bdf } => format!(
                "run this once as root, who may write them again; or, as root: `echo 1 > /sys/bus/pci/devices/{bdf}/remove`, `echo 1 > /sys/bus/pci/rescan`, and bind it again"
            ),
            Self::Gone { .. } => "put it back, or let the kernel look again: `echo 1 > /sys/bus/pci/rescan`".into(),
            Self::System { .. } => "look at the kernel's log: `dmesg`".into(),
        }
    }

    /// The same for a driver, which cares for less.
    pub fn for_driver(&self) -> DeviceError {
        match self {
            Self::Gone { .. } | Self::NoDevice { .. } => DeviceError::Removed,
            Self::NoSuchBar { bar, .. } | Self::NotMappable { bar, .. } => {
                DeviceError::NoSuchBar { bar: *bar }
            }
            Self::NoReset { .. } => DeviceError::NoReset,
            Self::Memlock { needed_bytes, .. } => DeviceError::NoMemory {
                len_bytes: *needed_bytes,
            },
            Self::System {
                errno: Errno::NODEV | Errno::NXIO,
                ..
            } => DeviceError::Removed,
            Self::System { errno, .. } => DeviceError::System(errno.raw_os_error()),
            Self::Permission { .. } => DeviceError::System(Errno::ACCESS.raw_os_error()),
            Self::Busy { .. } => DeviceError::System(Errno::BUSY.raw_os_error()),
            _ => DeviceError::System(Errno::NODEV.raw_os_error()),
        }
    }
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({})",
            self.name,
            self.driver.as_deref().unwrap_or("no driver")
        )
    }
}

impl fmt::Display for VfioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.what(), self.why(), self.fix())
    }
}

impl std::error::Error for VfioError {}
