//! The IOMMU: I/O address spaces, who uses which, and what it refused.

use crate::tlp::Access;
use peerdma::addr::Bdf;
use peerdma::snapshot::IommuMode;
use std::collections::{BTreeMap, VecDeque};

/// An I/O address space: one set of translations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IoasId(u32);

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

impl Rights {
    /// Do they cover this access?
    pub const fn allow(self, access: Access) -> bool {
        matches!(
            (self, access),
            (Self::ReadWrite, _) | (Self::Read, Access::Read) | (Self::Write, Access::Write)
        )
    }
}

/// Why a change of an I/O address space was refused; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IommuError {
    /// There is no such address space.
    #[error("there is no I/O address space {0:?}")]
    NoSuchSpace(IoasId),
    /// Not whole pages, nothing at all, or past the end of a space.
    #[error(
        "{len_bytes:#x} bytes at {iova:#x} (physical {phys:#x}) are not a range of whole pages of 4096 bytes"
    )]
    BadRange {
        /// First address.
        iova: u64,
        /// What it was to lead to.
        phys: u64,
        /// How many bytes.
        len_bytes: u64,
    },
    /// A part is mapped already.
    #[error("{iova:#x} is mapped already")]
    Overlap {
        /// The first such address.
        iova: u64,
    },
    /// A part is not mapped.
    #[error("{iova:#x} is not mapped")]
    NotMapped {
        /// The first such address.
        iova: u64,
    },
    /// A mapping would be cut in two.
    #[error("the mapping that holds {iova:#x} reaches beyond what is to be unmapped; unmap what was mapped")]
    Cut {
        /// An address of the mapping.
        iova: u64,
    },
    /// There is no room for more.
    #[error("the simulated IOMMU holds {most} of these already, which is all that it can")]
    Full {
        /// How many it can hold.
        most: usize,
    },
}

/// A request that the IOMMU refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IommuFault {
    /// Whose it was, as it arrived.
    pub requester: Bdf,
    /// The address that it carried.
    pub iova: u64,
    /// What it asked for.
    pub access: Access,
    /// Why it was refused.
    pub why: FaultReason,
}

/// Why the IOMMU refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultReason {
    /// The requester has no address space.
    NoContext,
    /// The address is not mapped.
    NotMapped,
    /// It is mapped without the right to do this.
    Rights,
    /// It is said to be translated, by one that may not say so.
    TranslatedByStranger,
}

/// What an address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Translated {
    /// The physical address.
    pub phys: u64,
    /// For how many bytes from there on the translation goes on, at least 1.
    pub holds_bytes: u64,
    /// What may be done there.
    pub rights: Rights,
}

/// The IOMMU.
#[derive(Debug)]
pub struct Iommu {
    mode: IommuMode,
    spaces: BTreeMap<IoasId, ()>,
    faults: VecDeque<IommuFault>,
}

impl Iommu {
    pub(super) fn new(mode: IommuMode) -> Self {
        Self {
            mode,
            spaces: BTreeMap::new(),
            faults: VecDeque::new(),
        }
    }

    /// What it does with addresses.
    pub fn mode(&self) -> IommuMode {
        self.mode
    }

    /// A new, empty address space.
    ///
    /// # Errors
    /// [`IommuError::Full`].
    pub fn create(&mut self) -> Result<IoasId, IommuError> {
        let id = IoasId(self.spaces.len() as u32);
        self.spaces.insert(id, ());
        Ok(id)
    }

    /// Lets `requester` (a function, or the alias of a conventional bridge) use `ioas`, and no other any more.
    ///
    /// # Errors
    /// [`IommuError::NoSuchSpace`], [`IommuError::Full`].
    pub fn attach(&mut self, requester: Bdf, ioas: IoasId) -> Result<(), IommuError> {
        let _ = (requester, ioas);
        Ok(())
    }

    /// Takes its address space from `requester`.
    pub fn detach(&mut self, requester: Bdf) {
        let _ = requester;
    }

    /// Maps `len_bytes` from `iova` on to `phys`.
    ///
    /// # Errors
    /// [`IommuError`].
    pub fn map(
        &mut self,
        ioas: IoasId,
        iova: u64,
        phys: u64,
        len_bytes: u64,
        rights: Rights,
    ) -> Result<(), IommuError> {
        let _ = (ioas, iova, phys, len_bytes, rights);
        Ok(())
    }

    /// Unmaps whole mappings, which together are exactly `len_bytes` from `iova` on.
    ///
    /// # Errors
    /// [`IommuError`].
    pub fn unmap(&mut self, ioas: IoasId, iova: u64, len_bytes: u64) -> Result<(), IommuError> {
        let _ = (ioas, iova, len_bytes);
        Ok(())
    }

    /// What `iova` of a requester leads to.
    ///
    /// # Errors
    /// [`IommuFault`], which is not logged.
    pub fn translate(&self, requester: Bdf, iova: u64, access: Access) -> Result<Translated, IommuFault> {
        Err(IommuFault {
            requester,
            iova,
            access,
            why: FaultReason::NoContext,
        })
    }

    /// The last faults, oldest first.
    pub fn faults(&self) -> impl Iterator<Item = &IommuFault> {
        self.faults.iter()
    }

    /// How many faults there were, also those that are no longer in the log.
    pub fn fault_count(&self) -> u64 {
        0
    }
}
