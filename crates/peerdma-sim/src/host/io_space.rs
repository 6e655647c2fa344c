//! One I/O address space of the simulated IOMMU, behind [`Translations`].

use super::Computer;
use super::refusal::Step;
use crate::fabric::{self, IoasId, Mapped};
use peerdma::addr::{Address, Bdf, Iova, PhysAddr, Span};
use peerdma::iommu::{IommuError, Rights, Target, Translations};
use peerdma::snapshot::IommuMode;
use std::collections::BTreeSet;

/// An address space for some functions. When it is dropped all its mappings are gone, and its functions have none.
///
/// When a range is unmapped, what devices wrote through it has arrived, and nothing more does. A read that was let through before
/// may still be answered.
#[derive(Debug)]
pub struct IoSpace {
    computer: Computer,
    ioas: IoasId,
    requesters: BTreeSet<Bdf>,
    apertures: Vec<Span<Iova>>,
}

/// Why there is no such address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IoSpaceError {
    /// The machine has no such function.
    #[error("the machine has no function {0}")]
    NoSuchFunction(Bdf),
    /// A function, or one that shares its group, has an address space already.
    #[error(
        "{requester} has another I/O address space already; functions of one IOMMU group share one: name all of them at once, or drop the other first"
    )]
    InUse {
        /// Who.
        requester: Bdf,
    },
    /// The IOMMU refused.
    #[error(transparent)]
    Iommu(#[from] fabric::IommuError),
}

const PAGE_BYTES: u64 = 4096;
/// What `EBUSY` is on Linux: a step that was to be refused.
const BUSY: i32 = 16;

impl Computer {
    /// An address space for functions and all that share an IOMMU group with one of them, under all names that their requests
    /// carry (those of bridges to conventional buses). Nothing where the machine's IOMMU does not translate.
    ///
    /// # Errors
    /// [`IoSpaceError`]
    pub fn io_space(&self, functions: &[Bdf]) -> Result<Option<IoSpace>, IoSpaceError> {
        let mut requesters = BTreeSet::new();
        for bdf in functions {
            let group = self.shared.topology.requesters(*bdf);
            requesters.extend(group.ok_or(IoSpaceError::NoSuchFunction(*bdf))?);
        }
        if self.iommu_mode() != IommuMode::Translating {
            return Ok(None);
        }
        let mut attached = self.shared.attached.borrow_mut();
        if let Some(&requester) = requesters.iter().find(|bdf| attached.contains_key(bdf)) {
            return Err(IoSpaceError::InUse { requester });
        }
        let mut machine = self.shared.machine.borrow_mut();
        let iommu = machine.fabric_mut().iommu_mut();
        let ioas = iommu.create()?;
        for requester in &requesters {
            if let Err(error) = iommu.attach(*requester, ioas) {
                iommu.destroy(ioas)?;
                return Err(error.into());
            }
        }
        attached.extend(requesters.iter().map(|bdf| (*bdf, ioas)));
        Ok(Some(IoSpace {
            computer: self.clone(),
            ioas,
            requesters,
            apertures: apertures(),
        }))
    }
}

/// 52 bits, but for where interrupts are written.
fn apertures() -> Vec<Span<Iova>> {
    let ranges = [(0, 0xfedf_ffff), (0xfef0_0000, (1 << 52) - 1)];
    let span = |(first, last)| Span::new(Iova::from_u64(first), Iova::from_u64(last)).ok();
    ranges.into_iter().filter_map(span).collect()
}

impl IoSpace {
    /// All requester IDs that use it.
    pub fn requesters(&self) -> impl Iterator<Item = Bdf> + '_ {
        self.requesters.iter().copied()
    }

    /// What it maps.
    pub fn mappings(&self) -> Vec<Mapped> {
        let machine = self.computer.shared.machine.borrow();
        let all = machine.fabric().iommu().mappings();
        all.filter(|mapped| mapped.ioas == self.ioas).collect()
    }

    /// Is it one of the ranges that can be mapped?
    fn is_in_aperture(&self, iova: Iova, len_bytes: u64) -> bool {
        let last = len_bytes.checked_sub(1).and_then(|less| iova.checked_add(less));
        last.is_some_and(|last| {
            (self.apertures.iter()).any(|span| span.contains(iova) && span.contains(last))
        })
    }
}

impl Translations for IoSpace {
    fn page_bytes(&self) -> u64 {
        PAGE_BYTES
    }

    fn apertures(&self) -> &[Span<Iova>] {
        &self.apertures
    }

    fn map(
        &mut self,
        iova: Iova,
        phys: PhysAddr,
        len_bytes: u64,
        rights: Rights,
        _: Target,
    ) -> Result<(), IommuError> {
        if !self.is_in_aperture(iova, len_bytes) {
            return Err(IommuError::BadRange);
        }
        if !self.computer.is_allowed(Step::Map) {
            return Err(IommuError::Full);
        }
        let rights = match rights {
            Rights::Read => fabric::Rights::Read,
            Rights::Write => fabric::Rights::Write,
            Rights::ReadWrite => fabric::Rights::ReadWrite,
        };
        let mut machine = self.computer.shared.machine.borrow_mut();
        let iommu = machine.fabric_mut().iommu_mut();
        let mapped = iommu.map(self.ioas, iova.to_u64(), phys.to_u64(), len_bytes, rights);
        mapped.map_err(told)
    }

    fn unmap(&mut self, iova: Iova, len_bytes: u64) -> Result<(), IommuError> {
        let mut machine = self.computer.shared.machine.borrow_mut();
        let found = machine.fabric().iommu().mapping_at(self.ioas, iova.to_u64());
        // Several at once would be fine for the hardware, and are not for its users.
        let is_one = |mapped: &Mapped| (mapped.iova, mapped.len_bytes) == (iova.to_u64(), len_bytes);
        let mapped = found.filter(is_one).ok_or(IommuError::NotMapped)?;
        if !self.computer.is_allowed(Step::Unmap) {
            return Err(IommuError::System(BUSY));
        }
        (machine.unmap(self.ioas, mapped.iova, len_bytes)).map_err(told)?;
        // Invalidation is complete when the writes that were let through before have arrived.
        machine.drain(mapped.phys, len_bytes);
        Ok(())
    }

    fn look_up(&self, iova: Iova) -> Option<(PhysAddr, u64)> {
        let machine = self.computer.shared.machine.borrow();
        let mapped = machine.fabric().iommu().mapping_at(self.ioas, iova.to_u64())?;
        let within = iova.to_u64() - mapped.iova;
        let phys = PhysAddr::from_u64(mapped.phys.checked_add(within)?);
        Some((phys, mapped.len_bytes - within))
    }
}

impl Drop for IoSpace {
    fn drop(&mut self) {
        // Where the machine is in use there is a panic under way.
        let Ok(mut machine) = self.computer.shared.machine.try_borrow_mut() else {
            return;
        };
        let all = machine.fabric().iommu().mappings();
        let left: Vec<Mapped> = all.filter(|mapped| mapped.ioas == self.ioas).collect();
        for Mapped {
            iova,
            phys,
            len_bytes,
            ..
        } in left
        {
            if machine.unmap(self.ioas, iova, len_bytes).is_ok() {
                machine.drain(phys, len_bytes);
            }
        }
        // It is there, since nobody else destroys it.
        let _ = machine.fabric_mut().iommu_mut().destroy(self.ioas);
        if let Ok(mut attached) = self.computer.shared.attached.try_borrow_mut() {
            attached.retain(|_, ioas| *ioas != self.ioas);
        }
    }
}

fn told(error: fabric::IommuError) -> IommuError {
    match error {
        fabric::IommuError::BadRange { .. } => IommuError::BadRange,
        fabric::IommuError::Overlap { .. } => IommuError::Overlap,
        fabric::IommuError::NotMapped { .. } | fabric::IommuError::Cut { .. } => IommuError::NotMapped,
        fabric::IommuError::Full { .. } => IommuError::Full,
        fabric::IommuError::NoSuchSpace(_) => IommuError::NotMapped,
    }
}
