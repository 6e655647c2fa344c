//! What the operating system, or the tool that printed a dump, says of a function.

use crate::addr::{Bdf, PhysAddr, Span};
use crate::fact::{Fact, Unread};
use crate::pci::{BarKind, Link, PortType};
use alloc::string::String;
use alloc::vec::Vec;

/// What the operating system, or the tool that printed a dump, says of a function.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Os {
    /// Where its BARs lie in the machine's memory map.
    pub resources: Fact<Vec<Resource>>,
    /// The link, as sysfs tells it to everybody.
    pub link: Fact<Option<Link>>,
    /// Device/Port Type, as the names of port services in sysfs tell it to everybody.
    pub port_type: Fact<Option<PortType>>,
    /// NUMA node; `None` where the firmware names none.
    pub numa_node: Fact<Option<u32>>,
    /// IOMMU group; `None` where there is none.
    pub iommu_group: Fact<Option<IommuGroup>>,
    /// Driver; `None` where none is bound.
    pub driver: Fact<Option<String>>,
    /// Kernel names of what the driver made of it: `nvme0`, `mlx5_0`, `eth0`.
    pub names: Vec<String>,
    /// Memory that it offers to peers through the kernel.
    pub p2pmem: Fact<Option<P2pmem>>,
    /// The physical function of a virtual one; `None` for all others.
    pub physical_function: Fact<Option<Bdf>>,
}

/// One BAR as the operating system has placed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Resource {
    /// Number of the BAR, 0 to 5.
    pub index: u8,
    /// Which space it decodes, and how wide it is.
    pub kind: BarKind,
    /// Is the memory free of side effects on reading?
    pub prefetchable: bool,
    /// Where the CPU sees it; unknown where it has a size and no address yet.
    pub span: Fact<Span<PhysAddr>>,
    /// How many bytes it has.
    pub size_bytes: Fact<u64>,
}

/// An IOMMU group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct IommuGroup {
    /// Its number.
    pub number: u32,
    /// The type of its domain in the kernel's words: `DMA`, `DMA-FQ`, `identity`.
    pub domain_type: Fact<String>,
}

/// A function's `p2pmem` folder in sysfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct P2pmem {
    /// All memory that the driver offers.
    pub size_bytes: u64,
    /// What is free of it.
    pub available_bytes: u64,
    /// May other drivers use it?
    pub published: bool,
}

impl Os {
    /// Nothing is known, for this reason.
    pub fn unknown(why: Unread) -> Self {
        Self {
            resources: Fact::Unknown(why),
            link: Fact::Unknown(why),
            port_type: Fact::Unknown(why),
            numa_node: Fact::Unknown(why),
            iommu_group: Fact::Unknown(why),
            driver: Fact::Unknown(why),
            names: Vec::new(),
            p2pmem: Fact::Unknown(why),
            physical_function: Fact::Unknown(why),
        }
    }
}
