//! What a machine file says: a machine as a person describes it, before firmware has numbered anything.
//!
//! [`super::read`] makes one from text, tests make them at random, [`crate::firmware::boot`] switches them on.

use super::At;
use crate::blueprint::{AcceleratorKind, CmbAbilities, CmbStyle, NamespaceKind, Nature};
use peerdma::addr::{PhysAddr, Span};
use peerdma::pci::{AcsFlags, Id, LinkState};
use peerdma::snapshot::{Cpu, Forwarding, HostWindow, IommuMode, KernelVersion};

/// A machine as a person describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Processor, kernel, IOMMU and RAM.
    pub host: Host,
    /// What the specification leaves to the implementation, and time.
    pub nature: Nature,
    /// How firmware behaves.
    pub firmware: Habits,
    /// The host bridges, in the order in which firmware numbers them.
    pub bridges: Vec<HostBridge>,
}

/// What is not PCI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The processor.
    pub cpu: Cpu,
    /// The Linux release.
    pub kernel: KernelVersion,
    /// What the IOMMU does.
    pub iommu: IommuMode,
    /// Where RAM lies.
    pub ram: Vec<Span<PhysAddr>>,
}

/// How firmware behaves, well or badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Habits {
    /// How it chooses payload sizes.
    pub payload: PayloadHabit,
    /// Does it let devices issue requests?
    pub bus_master: Switched,
    /// Does it let devices answer at their BARs?
    pub memory: Switched,
    /// How large it makes resizable BARs.
    pub bars: BarHabit,
}

/// How firmware chooses the payload size (MPS) of functions that are told none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PayloadHabit {
    /// One for the whole machine: what every function can take.
    #[default]
    Safe,
    /// For each root port, what every function below it can take.
    PerRootPort,
    /// For each function as much as it can take by itself: a mismatch wherever two differ.
    AsCapable,
}

/// How large firmware makes resizable BARs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BarHabit {
    /// As large as they are.
    #[default]
    Full,
    /// The smallest size that they offer.
    Small,
}

/// A bit that firmware sets, unless it is told not to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Switched {
    /// Set.
    #[default]
    On,
    /// Clear.
    Off,
}

impl Switched {
    /// On only where both are.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::On, Self::On) => Self::On,
            _ => Self::Off,
        }
    }
}

/// A host bridge and what hangs on its root bus.
#[derive(Debug, Clone, PartialEq)]
pub struct HostBridge {
    /// Where the file describes it.
    pub at: At,
    /// Its name.
    pub name: Option<String>,
    /// Vendor and device of function 00.0 on its root bus, which Linux looks up in its list; nothing where there is
    /// no such function.
    pub id: Option<Id>,
    /// PCI domain.
    pub domain: u32,
    /// Root bus; nothing for the first that is free.
    pub bus: Option<u8>,
    /// NUMA node of all below it.
    pub numa_node: Option<u32>,
    /// Physical address less bus address, of windows that firmware chooses.
    pub bus_offset: i64,
    /// Windows; none where firmware chooses them.
    pub windows: Vec<HostWindow>,
    /// Added to addresses that come up.
    pub inbound_offset: i64,
    /// What it does with requests from device to device.
    pub forwarding: Forwarding,
    /// Its root ports.
    pub ports: Vec<Port>,
    /// Bridges to conventional buses on the root bus.
    pub conventional: Vec<ConventionalBridge>,
    /// Devices integrated into the root complex.
    pub devices: Vec<Device>,
}

/// What every function has.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Common {
    /// Where the file describes it.
    pub at: At,
    /// Its name.
    pub name: Option<String>,
    /// Vendor and device; nothing for the simulator's own.
    pub id: Option<Id>,
    /// The largest payload that it can take, in bytes.
    pub max_supported_bytes: u16,
    /// The payload size that it is told to use, in bytes; nothing for what firmware chooses.
    pub max_payload_bytes: Option<u16>,
    /// The largest read that it may request, in bytes.
    pub max_read_request_bytes: u16,
    /// May it issue requests (a bridge: forward upstream)?
    pub bus_master: Switched,
    /// Does it answer at its BARs (a bridge: forward downstream)?
    pub memory: Switched,
    /// Its Access Control Services; nothing where it lacks them.
    pub acs: Option<Acs>,
}

/// Access Control Services of one function.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acs {
    /// Where the file describes it.
    pub at: At,
    /// What it can do.
    pub capable: AcsFlags,
    /// What is switched on.
    pub control: AcsFlags,
    /// To which ports of the same switch or root bus (functions of the same device) the direct way is forbidden.
    pub egress: Vec<Egress>,
    /// Bits of the egress control vector; nothing for as many as are needed.
    pub egress_bits: Option<u16>,
}

/// A port that an egress control vector forbids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Egress {
    /// By port number, or function number.
    Number(u8),
    /// By name.
    Name(String),
}

/// A link: what a port can do and what was trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// What this end can do.
    pub max: LinkState,
    /// What was trained; nothing for the best that both ends can do.
    pub trained: Option<LinkState>,
}

/// A root port or a downstream port of a switch, and what is plugged into it.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// What it has as every function.
    pub common: Common,
    /// Its link.
    pub link: Link,
    /// Port number; nothing for its place among its siblings, from 1.
    pub number: Option<u8>,
    /// Does firmware open its windows?
    pub windows: Switched,
    /// A switch below it.
    pub switch: Option<Box<PcieSwitch>>,
    /// A bridge to a conventional bus below it.
    pub conventional: Option<Box<ConventionalBridge>>,
    /// The functions of the device below it; beside a switch, further functions of the device that the switch is.
    pub devices: Vec<Device>,
}

/// A switch.
#[derive(Debug, Clone, PartialEq)]
pub struct PcieSwitch {
    /// Its upstream port.
    pub common: Common,
    /// What its upstream port's end of the link can do; nothing for the same as the port above.
    pub link: Option<LinkState>,
    /// Does firmware open the windows of its upstream port?
    pub windows: Switched,
    /// Its downstream ports.
    pub ports: Vec<Port>,
}

/// A bridge to a conventional PCI bus.
#[derive(Debug, Clone, PartialEq)]
pub struct ConventionalBridge {
    /// What it has as every function.
    pub common: Common,
    /// What its end of the link can do; nothing for the same as the port above.
    pub link: Option<LinkState>,
    /// Does firmware open its windows?
    pub windows: Switched,
    /// Devices on its bus.
    pub devices: Vec<Device>,
    /// Further bridges on its bus.
    pub conventional: Vec<ConventionalBridge>,
}

/// One function of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// What it has as every function.
    pub common: Common,
    /// Device and function number; nothing for the next.
    pub slot: Option<Slot>,
    /// What its end of the link can do; nothing for the same as the port above.
    pub link: Option<LinkState>,
    /// Address Translation Services; nothing where it lacks them.
    pub ats: Option<Switched>,
    /// What it is.
    pub kind: Kind,
}

/// Device and function number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// 0 to 31.
    pub device: u8,
    /// 0 to 7.
    pub function: u8,
}

/// What a device is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A card of plain memory.
    Card {
        /// Its BARs.
        bars: Vec<Bar>,
    },
    /// An NVMe controller.
    Nvme {
        /// Its namespaces.
        namespaces: Vec<NamespaceKind>,
        /// Its controller memory buffer.
        cmb: Option<Cmb>,
    },
    /// An accelerator.
    Accelerator {
        /// Its memory, in BAR 2.
        memory: Bar,
        /// Its engine.
        kind: AcceleratorKind,
    },
}

/// A controller memory buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cmb {
    /// The BAR that it fills.
    pub bar: Bar,
    /// What it may be used for.
    pub abilities: CmbAbilities,
    /// Which version of the specification it follows.
    pub style: CmbStyle,
}

/// A memory BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// Where the file describes it.
    pub at: At,
    /// Number of its (first) register, 0 to 5.
    pub index: u8,
    /// Its size, a power of two.
    pub size_bytes: u64,
    /// How wide its address is.
    pub width: BarWidth,
    /// Is it free of side effects on reading?
    pub prefetchable: Prefetchable,
    /// The smallest size that it can be set to, where it is resizable.
    pub smallest_bytes: Option<u64>,
    /// Where firmware puts it.
    pub reach: Reach,
}

/// How wide a BAR's address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarWidth {
    /// 32 bits: one register.
    Narrow,
    /// 64 bits: two registers.
    Wide,
}

/// Is memory free of side effects on reading?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefetchable {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// Where firmware puts a BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Where the CPU sees it.
    #[default]
    Cpu,
    /// Outside of every window of the host bridge: peers reach it, the CPU does not.
    PeersOnly,
    /// Nowhere: it gets no address.
    Unassigned,
}
