//! The IOMMU: I/O address spaces, who uses which, and what it refused.

mod list;

pub use list::Mapped;

use super::contexts::{AtsPermission, Contexts};
use super::decode::bytes_to;
use super::mappings::{Mapping, Mappings};
use crate::tlp::Access;
use peerdma::addr::Bdf;
use peerdma::snapshot::IommuMode;
use std::collections::VecDeque;
use std::fmt;

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

impl fmt::Display for FaultReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoContext => "the requester has no address space",
            Self::NotMapped => "not mapped",
            Self::Rights => "mapped without the right to do this",
            Self::TranslatedByStranger => "said to be translated, by a requester that may not send such",
        })
    }
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
///
/// In whole pages of 4096 bytes; what it can hold is bounded.
#[derive(Debug)]
pub struct Iommu {
    mode: IommuMode,
    /// Nothing in the place of one that was destroyed: its number is not given out again.
    spaces: Vec<Option<Mappings>>,
    mapping_count: usize,
    contexts: Contexts,
    faults: VecDeque<IommuFault>,
    fault_count: u64,
}

impl Iommu {
    const PAGE_BYTES: u64 = 4096;
    /// How many address spaces there may be, counting those that were destroyed.
    pub const MOST_SPACES: usize = 1 << 16;
    /// How many mappings there may be in all of them.
    pub const MOST_MAPPINGS: usize = 1 << 22;
    /// How many requesters may have a context.
    pub const MOST_CONTEXTS: usize = 1 << 16;
    /// How many faults the log holds.
    pub const MOST_FAULTS: usize = 256;

    pub(super) fn new(mode: IommuMode) -> Self {
        Self {
            mode,
            spaces: Vec::new(),
            mapping_count: 0,
            contexts: Contexts::default(),
            faults: VecDeque::new(),
            fault_count: 0,
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
        if self.spaces.len() >= Self::MOST_SPACES {
            return Err(IommuError::Full {
                most: Self::MOST_SPACES,
            });
        }
        let id = IoasId(self.spaces.len() as u32);
        self.spaces.push(Some(Mappings::default()));
        Ok(id)
    }

    /// Destroys an address space with all that it maps. Requesters that use it have none any more.
    ///
    /// # Errors
    /// [`IommuError::NoSuchSpace`].
    pub fn destroy(&mut self, ioas: IoasId) -> Result<(), IommuError> {
        let space = self.spaces.get_mut(ioas.0 as usize).and_then(Option::take);
        let space = space.ok_or(IommuError::NoSuchSpace(ioas))?;
        self.mapping_count -= space.len();
        Ok(())
    }

    /// Lets `requester` (a function, or the alias of a conventional bridge) use `ioas`, and no other any more.
    ///
    /// # Errors
    /// [`IommuError::NoSuchSpace`], [`IommuError::Full`].
    pub fn attach(&mut self, requester: Bdf, ioas: IoasId) -> Result<(), IommuError> {
        self.space(ioas)?;
        self.contexts.entry(requester)?.ioas = Some(ioas);
        Ok(())
    }

    /// The address space that `requester` uses.
    pub fn attached(&self, requester: Bdf) -> Option<IoasId> {
        self.contexts.find(requester).ioas
    }

    /// Lets `requester` send translated requests, or not.
    ///
    /// # Errors
    /// [`IommuError::Full`].
    pub fn permit_ats(&mut self, requester: Bdf, permission: AtsPermission) -> Result<(), IommuError> {
        self.contexts.entry(requester)?.ats = permission;
        Ok(())
    }

    pub(super) fn lets_translate(&self, requester: Bdf) -> bool {
        self.contexts.find(requester).ats == AtsPermission::Allowed
    }

    /// Maps `len_bytes` from `iova` on to `phys`.
    ///
    /// # Errors
    /// [`IommuError`]: not whole pages, no such space, something mapped there already, no room.
    pub fn map(
        &mut self,
        ioas: IoasId,
        iova: u64,
        phys: u64,
        len_bytes: u64,
        rights: Rights,
    ) -> Result<(), IommuError> {
        let bad = IommuError::BadRange {
            iova,
            phys,
            len_bytes,
        };
        let last = Self::last_of(iova, len_bytes).ok_or(bad)?;
        if !phys.is_multiple_of(Self::PAGE_BYTES) || phys.checked_add(len_bytes - 1).is_none() {
            return Err(bad);
        }
        let has_room = self.mapping_count < Self::MOST_MAPPINGS;
        let space = self.space_mut(ioas)?;
        if let Some(before) = space.at_or_before(last)
            && before.last >= iova
        {
            // The first address of the range that is taken may lie in an earlier mapping.
            let earliest = space.at_or_before(iova).filter(|at| at.last >= iova);
            let earliest = earliest.map(|_| iova);
            let later = space.from(iova).next().map_or(before.first, |later| later.first);
            return Err(IommuError::Overlap {
                iova: earliest.unwrap_or(later),
            });
        }
        if !has_room {
            return Err(IommuError::Full {
                most: Self::MOST_MAPPINGS,
            });
        }
        space.insert(Mapping {
            first: iova,
            last,
            phys,
            rights,
        });
        self.mapping_count += 1;
        Ok(())
    }

    /// Unmaps whole mappings, which together are exactly `len_bytes` from `iova` on.
    ///
    /// # Errors
    /// [`IommuError`]: a gap, a mapping that reaches beyond the range. Nothing is unmapped then.
    pub fn unmap(&mut self, ioas: IoasId, iova: u64, len_bytes: u64) -> Result<(), IommuError> {
        let last = Self::last_of(iova, len_bytes).ok_or(IommuError::BadRange {
            iova,
            phys: 0,
            len_bytes,
        })?;
        let space = self.space_mut(ioas)?;
        if space
            .at_or_before(iova)
            .is_some_and(|before| before.first < iova && before.last >= iova)
        {
            return Err(IommuError::Cut { iova });
        }
        let mut expected = Some(iova);
        let mut firsts = Vec::new();
        for mapping in space.from(iova).take_while(|mapping| mapping.first <= last) {
            let first = mapping.first;
            match expected {
                Some(expected) if expected == first => {}
                Some(expected) => return Err(IommuError::NotMapped { iova: expected }),
                None => break,
            }
            if mapping.last > last {
                return Err(IommuError::Cut { iova: first });
            }
            firsts.push(first);
            expected = mapping.last.checked_add(1);
        }
        if let Some(expected) = expected.filter(|&expected| expected <= last) {
            return Err(IommuError::NotMapped { iova: expected });
        }
        for first in &firsts {
            space.remove(*first);
        }
        self.mapping_count -= firsts.len();
        Ok(())
    }

    /// What `iova` of a requester leads to.
    ///
    /// # Errors
    /// [`IommuFault`], which is not logged.
    pub fn translate(&self, requester: Bdf, iova: u64, access: Access) -> Result<Translated, IommuFault> {
        let fault = |why| IommuFault {
            requester,
            iova,
            access,
            why,
        };
        let found = self.look_up(requester, iova).map_err(fault)?;
        match found.rights.allow(access) {
            true => Ok(found),
            false => Err(fault(FaultReason::Rights)),
        }
    }

    /// What `iova` of a requester leads to, whatever may be done there.
    ///
    /// # Errors
    /// Why it leads nowhere.
    #[inline]
    pub fn look_up(&self, requester: Bdf, iova: u64) -> Result<Translated, FaultReason> {
        let ioas = self.contexts.find(requester).ioas.ok_or(FaultReason::NoContext)?;
        let space = self.space(ioas).map_err(|_| FaultReason::NoContext)?;
        let mapping = space.holding(iova).ok_or(FaultReason::NotMapped)?;
        Ok(Translated {
            phys: mapping.phys + (iova - mapping.first),
            holds_bytes: bytes_to(iova, mapping.last),
            rights: mapping.rights,
        })
    }

    /// The last faults, oldest first.
    pub fn faults(&self) -> impl Iterator<Item = &IommuFault> {
        self.faults.iter()
    }

    /// How many faults there were, also those that are no longer in the log.
    pub fn fault_count(&self) -> u64 {
        self.fault_count
    }

    pub(super) fn log(&mut self, fault: IommuFault) {
        if self.faults.len() >= Self::MOST_FAULTS {
            self.faults.pop_front();
        }
        self.faults.push_back(fault);
        self.fault_count += 1;
    }

    /// The last address of a range of whole pages.
    fn last_of(iova: u64, len_bytes: u64) -> Option<u64> {
        let is_whole = iova.is_multiple_of(Self::PAGE_BYTES) && len_bytes.is_multiple_of(Self::PAGE_BYTES);
        iova.checked_add(len_bytes.checked_sub(1)?).filter(|_| is_whole)
    }

    fn space(&self, ioas: IoasId) -> Result<&Mappings, IommuError> {
        let space = self.spaces.get(ioas.0 as usize).and_then(Option::as_ref);
        space.ok_or(IommuError::NoSuchSpace(ioas))
    }

    fn space_mut(&mut self, ioas: IoasId) -> Result<&mut Mappings, IommuError> {
        let space = self.spaces.get_mut(ioas.0 as usize).and_then(Option::as_mut);
        space.ok_or(IommuError::NoSuchSpace(ioas))
    }
}
