//! What this module itself wants of an I/O address space, beside what it offers to others.

use super::backend::Backend;
use super::error::VfioError;
use super::place::Places;
use peerdma::addr::Bdf;
use rustix::fd::OwnedFd;

/// The I/O address space of one IOMMU group.
pub(super) trait Space: Backend {
    /// The number of the group.
    fn group(&self) -> u32;

    /// Opens a device of the group, so that it lives in this address space.
    fn open_device(&self, places: &Places, bdf: Bdf) -> Result<OwnedFd, VfioError>;
}
