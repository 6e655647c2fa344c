//! What the specification leaves to the maker of a controller, and why one cannot be made.

use std::path::PathBuf;

/// What the specification leaves to the maker of a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traits {
    /// Tells controllers apart: it becomes the serial number, and a part of the globally unique identifiers.
    pub identity: u64,
    /// PCI vendor, as in configuration space.
    pub vendor: u16,
    /// PCI subsystem vendor, as in configuration space.
    pub subsystem_vendor: u16,
    /// CAP.DSTRD: doorbells are 4 << this bytes apart.
    pub doorbell_stride_log2: u8,
    /// How many I/O submission queues, and how many I/O completion queues, it has at most.
    pub io_queues: u16,
    /// How many interrupt vectors it has.
    pub vectors: u16,
    /// From the last fetched byte of a command to the first byte of its data, in picoseconds.
    pub read_media_ps: u64,
    /// From the last byte of a write to its completion entry, and what a flush takes, in picoseconds.
    pub write_media_ps: u64,
}

impl Default for Traits {
    fn default() -> Self {
        Self {
            identity: 0,
            vendor: 0,
            subsystem_vendor: 0,
            doorbell_stride_log2: 0,
            io_queues: 64,
            vectors: 65,
            read_media_ps: 8_000_000,
            write_media_ps: 4_000_000,
        }
    }
}

/// From CC.EN to CSTS.RDY, in picoseconds.
pub(super) const ENABLING_PS: u64 = 20_000_000;
/// From clearing CC.EN to clearing CSTS.RDY, at least: transfers under way are waited for.
pub(super) const DISABLING_PS: u64 = 5_000_000;
/// From CC.SHN to the end of the shutdown.
pub(super) const SHUTDOWN_PS: u64 = 10_000_000;

/// Why a controller cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NvmeError {
    /// The first BAR is too small for the registers.
    #[error("BAR 0 has {have_bytes:#x} bytes; the registers of an NVMe controller need {need_bytes:#x}")]
    RegistersDoNotFit {
        /// Bytes of the BAR.
        have_bytes: u64,
        /// Bytes that it needs.
        need_bytes: u64,
    },
    /// Traits that cannot be.
    #[error("{what} of an NVMe controller is {is}, and may be {min} to {max}")]
    Trait {
        /// Which.
        what: &'static str,
        /// Its value.
        is: u64,
        /// The least that may be.
        min: u64,
        /// The most that may be.
        max: u64,
    },
    /// Namespace with blocks of a size that is not offered.
    #[error("namespace {namespace} has blocks of {block_bytes} bytes; write 512 or 4096")]
    BlockSize {
        /// Its number.
        namespace: u32,
        /// What was asked for.
        block_bytes: u32,
    },
    /// Namespace without blocks, or with more than can be counted in bytes.
    #[error(
        "namespace {namespace} has {blocks} blocks of {block_bytes} bytes; write 1 or more, and less than 2^63 bytes"
    )]
    NamespaceSize {
        /// Its number.
        namespace: u32,
        /// How many blocks.
        blocks: u64,
        /// Bytes of each.
        block_bytes: u32,
    },
    /// The file of a namespace could not be opened or read.
    #[error("the file {} of namespace {namespace} cannot be {attempt}: {cause}", path.display())]
    File {
        /// Its number.
        namespace: u32,
        /// The file.
        path: PathBuf,
        /// What was tried.
        attempt: &'static str,
        /// What the system says.
        cause: String,
    },
    /// Nobody allowed the machine to open the files that its description names.
    #[error("namespace {namespace} is to be in the file {}, and nobody allowed the machine to open files: a machine's description may come from anybody", path.display())]
    FileNotAllowed {
        /// Its number.
        namespace: u32,
        /// The file.
        path: PathBuf,
    },
    /// What is to hold a namespace is a folder, a pipe or a device.
    #[error("{} of namespace {namespace} is no regular file; name one that is", path.display())]
    NotAFile {
        /// Its number.
        namespace: u32,
        /// What is none.
        path: PathBuf,
    },
    /// Another namespace is in this file already.
    #[error("namespace {namespace} is to be in the file {}, where another namespace is already; give each a file of its own", path.display())]
    SharedFile {
        /// Its number.
        namespace: u32,
        /// The file.
        path: PathBuf,
    },
    /// The file of a namespace is not as long as the namespace.
    #[error("the file {} of namespace {namespace} has {have_bytes} bytes, the namespace {need_bytes}: make them equal", path.display())]
    FileSize {
        /// Its number.
        namespace: u32,
        /// The file.
        path: PathBuf,
        /// Bytes of the file.
        have_bytes: u64,
        /// Bytes of the namespace.
        need_bytes: u64,
    },
    /// The buffer is to be in a BAR where it cannot be.
    #[error(
        "the controller memory buffer is to be in BAR {bar}, which has {size_bytes:#x} bytes; it needs a memory BAR, 2 to 5, of 4 KiB or a larger power of two"
    )]
    BufferBar {
        /// Which BAR.
        bar: u8,
        /// How large it is.
        size_bytes: u64,
    },
    /// The buffer's abilities are bits that mean nothing.
    #[error(
        "the controller memory buffer's abilities (CMBSZ {size_bits:#x}, CMBLOC {location_bits:#x}) are none: only bits 0 to 4 of CMBSZ are, and from NVM Express 1.4 on bits 3 to 8 of CMBLOC"
    )]
    BufferAbilities {
        /// Bits for CMBSZ.
        size_bits: u8,
        /// Bits for CMBLOC.
        location_bits: u16,
    },
}
