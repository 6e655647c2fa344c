//! What a plan is chosen from.

use crate::addr::{Bdf, PhysAddr, Span};
use crate::block::Limits;
use crate::dma::Routes;
use crate::memory::CpuView;
use crate::route::TlpClass;
use crate::route::bandwidth::Estimator;

/// Everything that the choice depends on.
#[derive(Clone, Copy)]
pub struct Situation<'a> {
    /// Where the data is.
    pub source: End,
    /// Where it goes to.
    pub destination: End,
    /// Memory of other devices that may be used.
    pub thirds: &'a [DeviceMemory],
    /// RAM that may be used, and that both ends can be told of.
    pub ram: Option<Span<PhysAddr>>,
    /// Who reaches whose memory, and RAM.
    pub routes: &'a dyn Routes,
    /// What the links let through.
    pub links: &'a Estimator<'a>,
    /// How the copy is to be cut.
    pub shape: Shape,
    /// What whoever asks insists on.
    pub demands: Demands,
}

/// One end of a copy.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// What the volume is and takes.
    pub limits: Limits,
    /// The kind of its device's packets.
    pub class: TlpClass,
    /// Memory of its device that may be used.
    pub memory: Option<DeviceMemory>,
    /// What its device's commands can do with data in its own memory.
    pub own_data: OwnData,
    /// What a completion queue of its needs; nothing where it can only be in RAM.
    pub completion_queue: Option<QueueNeeds>,
}

/// Memory behind a BAR that may be used for a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Whose it is.
    pub provider: Bdf,
    /// Which BAR.
    pub bar: u8,
    /// What of it is free, and can be named by its own device as well as by others.
    pub free: Span<PhysAddr>,
    /// How the CPU may touch it.
    pub cpu: CpuView,
}

/// What a device's commands can do with data in its own memory, without a request that travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnData {
    /// What it reads from its medium may go there (NVMe: CMBSZ.RDS).
    pub of_reads: bool,
    /// What it writes to its medium may come from there (NVMe: CMBSZ.WDS).
    pub of_writes: bool,
}

impl OwnData {
    /// Both.
    pub const BOTH: Self = Self {
        of_reads: true,
        of_writes: true,
    };
    /// Neither.
    pub const NONE: Self = Self {
        of_reads: false,
        of_writes: false,
    };
}

/// What a completion queue needs of the memory that it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueNeeds {
    /// How many bytes.
    pub len_bytes: u32,
    /// At a multiple of what, a power of two.
    pub align_bytes: u32,
}

/// How a copy is to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The most bytes that one operation moves; less is taken where an end, or the memory, does not allow so many.
    pub chunk_bytes: u32,
    /// How many chunks may be under way; fewer where the memory does not hold so many.
    pub depth: u32,
}

/// What whoever asks insists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demands {
    /// The data must pass the memory of this device.
    pub via: Option<Bdf>,
    /// May the data pass RAM?
    pub ram: RamUse,
    /// May a route be taken that was refused?
    pub force: Force,
    /// Must a plan prove by itself that data has arrived?
    pub arrival: Arrival,
}

/// May the data of a copy pass RAM?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RamUse {
    /// Where there is nothing better.
    #[default]
    Allowed,
    /// No (`--require-p2p`).
    Forbidden,
}

/// Must a plan prove by itself that data has arrived?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arrival {
    /// Yes.
    #[default]
    Proven,
    /// Not where the source's completions can only lie in RAM (a kernel's own driver serves it): whoever asks reads the whole destination
    /// back ([`Proof::ReadBack`](super::Proof::ReadBack)).
    ReadBack,
}

/// May a route be taken that was refused?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Force {
    /// No.
    #[default]
    Never,
    /// Yes, rather than the way through RAM (`--force-route`).
    Refused,
}
