//! A machine as it is when firmware has left it: all that is needed to switch it on.
//!
//! Machine files become blueprints by way of firmware, snapshots directly. The fabric is built from one.

mod bars;
mod bridge;
mod conflicts;
mod files;
mod from_snapshot;
mod function;
mod host;
pub mod identity;

pub use from_snapshot::FromSnapshotError;
pub use peerdma::snapshot::{Nature, Siblings};

use peerdma::addr::Bdf;
use peerdma::snapshot::Snapshot;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A machine that can be switched on.
#[derive(Debug, Clone, PartialEq)]
pub struct Blueprint {
    /// Configuration spaces, host bridges, RAM and IOMMU. Every fact that the fabric needs is known.
    pub snapshot: Snapshot,
    /// What the functions are that are no bridges; what is not named here is a card of plain memory.
    pub devices: BTreeMap<Bdf, DeviceKind>,
    /// What the specification leaves to the implementation.
    pub nature: Nature,
}

/// What a function is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum DeviceKind {
    /// A card of plain memory in all of its memory BARs.
    Card,
    /// An NVMe controller with its registers in BAR 0.
    Nvme(NvmeKind),
    /// An accelerator: registers in BAR 0, memory in BAR 2.
    Accelerator(AcceleratorKind),
}

/// How an NVMe controller is furnished.
#[derive(Debug, Clone, PartialEq)]
pub struct NvmeKind {
    /// Its namespaces, numbered from 1.
    pub namespaces: Vec<NamespaceKind>,
    /// Its controller memory buffer.
    pub cmb: Option<CmbKind>,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct NamespaceKind {
    /// Size of a logical block: 512 or 4096.
    pub block_bytes: u32,
    /// How many blocks it has.
    pub blocks: u64,
    /// The file that holds it; nothing for one in memory.
    pub file: Option<PathBuf>,
    /// What may be done to it.
    pub protection: Protection,
}

/// What may be done to a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protection {
    /// It is read and written.
    #[default]
    None,
    /// It is only read: its file is opened for reading alone, and writes end with the status Namespace Is Write Protected.
    WriteProtected,
}

impl Default for NamespaceKind {
    /// 1 GiB in memory, in blocks of 512 bytes.
    fn default() -> Self {
        Self {
            block_bytes: 512,
            blocks: 1 << 21,
            file: None,
            protection: Protection::None,
        }
    }
}

/// A controller memory buffer: all of a memory BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CmbKind {
    /// The BAR: 2 to 5.
    pub bar: u8,
    /// What it may hold, and whether a command may mix it with host memory.
    pub abilities: CmbAbilities,
    /// Which version of the specification it follows.
    pub style: CmbStyle,
}

/// How a controller memory buffer is found and addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CmbStyle {
    /// As in NVM Express 1.2 and 1.3: its registers always show, and the controller takes the bus addresses of its BAR for
    /// the buffer. Such a controller reports version 1.3, and has no bits in CMBLOC beside BAR and offset.
    V1_2,
    /// As from NVM Express 1.4 on: software makes its registers show and gives it an address, both with CMBMSC.
    #[default]
    V1_4,
}

/// The bits of CMBSZ and CMBLOC that say what a controller memory buffer may be used for (NVM Express Base 3.1.4.14 and
/// 3.1.4.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CmbAbilities {
    /// CMBSZ bits 0 to 4: SQS, CQS, LISTS, RDS, WDS.
    pub size_bits: u8,
    /// CMBLOC bits 3 to 8: CQMMS, CQPDS, CDPMLS, CDPCILS, CDMMMS, CQDA, in place.
    pub location_bits: u16,
}

/// How an accelerator is furnished.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceleratorKind {
    /// How many bytes its engine asks for at once before it waits for an answer.
    pub outstanding_bytes: u32,
    /// What its engine does with data that did not come.
    pub on_failure: OnFailure,
}

impl Default for AcceleratorKind {
    fn default() -> Self {
        Self {
            outstanding_bytes: 64 << 10,
            on_failure: OnFailure::Report,
        }
    }
}

/// What an engine does where a read of its own fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// It reports the error.
    Report,
    /// It takes all ones for the data, goes on, and reports success, as real ones were seen to do.
    AllOnes,
}
