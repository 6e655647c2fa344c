//! What a kernel brings: a lock, and the translations of its IOMMU.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::cell::RefCell;
use peerdma::addr::{Address, Iova, PhysAddr, Span};
use peerdma::dma::Locks;
use peerdma::iommu::{IommuError, Rights, Target, Translations};

/// The lock: one processor needs none. A kernel with more brings its spin lock, with interrupts off where a queue is used in them too.
pub enum OneProcessor {}

impl Locks for OneProcessor {
    type Lock<T> = RefCell<T>;
    type Translations = Tables;

    fn lock<T>(value: T) -> RefCell<T> {
        RefCell::new(value)
    }

    fn with<T, R>(lock: &RefCell<T>, inside: impl FnOnce(&mut T) -> R) -> R {
        inside(&mut lock.borrow_mut())
    }
}

/// The IOMMU's tables: a kernel writes page tables here, and waits in `unmap` until the IOMMU has forgotten what it knew of them.
pub struct Tables {
    ranges: BTreeMap<Iova, (PhysAddr, u64)>,
    aperture: [Span<Iova>; 1],
}

impl Tables {
    pub fn new() -> Option<Box<Self>> {
        let aperture = Span::new(Iova::from_u64(0), Iova::from_u64((1 << 39) - 1)).ok()?;
        Some(Box::new(Self {
            ranges: BTreeMap::new(),
            aperture: [aperture],
        }))
    }
}

impl Translations for Tables {
    fn page_bytes(&self) -> u64 {
        4096
    }

    fn apertures(&self) -> &[Span<Iova>] {
        &self.aperture
    }

    fn map(
        &mut self,
        at: Iova,
        to: PhysAddr,
        len_bytes: u64,
        _: Rights,
        _: Target,
    ) -> Result<(), IommuError> {
        // `peerdma` asks for no range twice; a kernel that shares its tables with others checks.
        self.ranges.insert(at, (to, len_bytes));
        Ok(())
    }

    fn unmap(&mut self, at: Iova, _: u64) -> Result<(), IommuError> {
        self.ranges.remove(&at).map(|_| ()).ok_or(IommuError::NotMapped)
    }

    fn look_up(&self, at: Iova) -> Option<(PhysAddr, u64)> {
        let (first, (to, len_bytes)) = self.ranges.range(..=at).next_back()?;
        let into = at.to_u64() - first.to_u64();
        (into < *len_bytes).then_some((to.checked_add(into)?, len_bytes - into))
    }
}
