//! What an IOMMU offers for one I/O address space, whoever provides it: a simulated one, VFIO, a kernel.

use crate::addr::{Iova, PhysAddr, Span};
use core::fmt;

/// The translations of one I/O address space.
///
/// Ranges are whole pages of [`Self::page_bytes`]. A call that fails has changed nothing.
pub trait Translations {
    /// Bytes of the smallest page: a power of two.
    fn page_bytes(&self) -> u64;

    /// The addresses that can be mapped (its aperture): sorted, none overlaps another.
    fn apertures(&self) -> &[Span<Iova>];

    /// Maps `len_bytes` from `iova` on to `phys`.
    ///
    /// # Errors
    /// [`IommuError`]; nothing was mapped.
    fn map(
        &mut self,
        iova: Iova,
        phys: PhysAddr,
        len_bytes: u64,
        rights: Rights,
        target: Target,
    ) -> Result<(), IommuError>;

    /// Unmaps what was mapped from `iova` on by one call of [`Self::map`] with this length. When it returns no device of the address
    /// space reaches the memory through it, not even by a translation that it has kept.
    ///
    /// # Errors
    /// [`IommuError`]; it is still mapped.
    fn unmap(&mut self, iova: Iova, len_bytes: u64) -> Result<(), IommuError>;

    /// What `iova` leads to, and for how many bytes from there on, at least 1.
    fn look_up(&self, iova: Iova) -> Option<(PhysAddr, u64)>;
}

/// What devices may do with mapped memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rights {
    /// Read it.
    Read,
    /// Write it.
    Write,
    /// Both.
    ReadWrite,
}

/// What lies behind a mapping: hardware treats the two differently (KERNEL-FACTS, B1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Host RAM.
    Ram,
    /// A BAR.
    Mmio,
}

/// Why an IOMMU refused a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IommuError {
    /// Not whole pages, nothing at all, or outside the aperture.
    BadRange,
    /// A part is mapped already.
    Overlap,
    /// It is not mapped, or not by one call with this length.
    NotMapped,
    /// There is no room for more.
    Full,
    /// The system refused it with this error number.
    System(i32),
}

impl fmt::Display for IommuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRange => f.write_str("the range is not whole pages within the IOMMU's aperture"),
            Self::Overlap => f.write_str("a part of the range is mapped already"),
            Self::NotMapped => f.write_str("the range is not mapped, or was not mapped as one"),
            Self::Full => f.write_str("the IOMMU has no room for more mappings"),
            Self::System(number) => write!(f, "the system refused it (error {number})"),
        }
    }
}

impl core::error::Error for IommuError {}

/// The translations of an address space without an IOMMU: there are none, and nothing can be mapped.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoIommu;

impl Translations for NoIommu {
    fn page_bytes(&self) -> u64 {
        1
    }

    fn apertures(&self) -> &[Span<Iova>] {
        &[]
    }

    fn map(&mut self, _: Iova, _: PhysAddr, _: u64, _: Rights, _: Target) -> Result<(), IommuError> {
        Err(IommuError::BadRange)
    }

    fn unmap(&mut self, _: Iova, _: u64) -> Result<(), IommuError> {
        Err(IommuError::NotMapped)
    }

    fn look_up(&self, _: Iova) -> Option<(PhysAddr, u64)> {
        None
    }
}
