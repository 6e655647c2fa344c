//! What to do where memory cannot be mapped for a device of a real machine.

use super::Sort;
use peerdma::dma::{MapError, Refused};
use peerdma::iommu::IommuError;
use peerdma_nvme::{Cause, Error};

/// `ENOMEM`: of VFIO, the limit of locked memory.
const NO_MEMORY: i32 = 12;

/// What to do about a controller's error; what is usual for this sort of machine where nothing better is known.
pub(super) fn of_controller(error: &Error, sort: Sort) -> &'static str {
    match &error.cause {
        Cause::Map(error) => of_map(error, sort).unwrap_or(sort.mend_controller()),
        _ => sort.mend_controller(),
    }
}

/// What to do about memory that was not mapped; nothing where its own words say all.
pub(crate) fn of_map(error: &MapError, sort: Sort) -> Option<&'static str> {
    if sort == Sort::Simulated {
        return None;
    }
    match error {
        MapError::Iommu(IommuError::System(NO_MEMORY)) => Some(
            "allow more locked memory (`ulimit -l`; for good `memlock` in /etc/security/limits.conf), or take smaller pieces (--chunk) or fewer \
             (--queue-depth)",
        ),
        MapError::Unreachable {
            refused: Refused::Unknown { .. } | Refused::Undecided(_),
            ..
        } => Some("ask as root, who may read all of configuration space and /proc/iomem"),
        _ => None,
    }
}
