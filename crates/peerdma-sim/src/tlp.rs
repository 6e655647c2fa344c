//! The words of a transaction layer packet (PCIe Base 2.2) that decide where it goes.

use peerdma::addr::Bdf;

/// What a memory request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Data: non-posted, completions come back.
    Read,
    /// To take data: posted, nothing comes back.
    Write,
}

/// The AT field (PCIe Base 2.2.4.1): what kind of address a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AddressType {
    /// An IOMMU on the way translates it.
    #[default]
    Untranslated,
    /// The device had it translated before (ATS).
    Translated,
}

/// The relaxed-ordering attribute; completions have that of their request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Ordering {
    /// It passes nothing that was posted before.
    #[default]
    Strict,
    /// It may pass.
    Relaxed,
}

/// The header of a memory request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Who sends it. A bridge from a conventional bus replaces it by its own.
    pub requester: Bdf,
    /// Read or write.
    pub access: Access,
    /// The address that travels.
    pub address: u64,
    /// How many bytes it asks for or carries.
    pub len_bytes: u32,
    /// The kind of address.
    pub address_type: AddressType,
    /// The relaxed-ordering attribute.
    pub ordering: Ordering,
}

/// How a request ended badly, as its requester learns of it (PCIe Base 2.2.8.1, 2.8). The requester of a write learns
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// A completion with the status Unsupported Request.
    UnsupportedRequest,
    /// A completion with the status Completer Abort.
    CompleterAbort,
    /// No completion came in time.
    CompletionTimeout,
    /// The data that came is marked as bad (EP bit).
    Poisoned,
    /// The function may not issue requests: bus-master enable is clear.
    MasterDisabled,
}
