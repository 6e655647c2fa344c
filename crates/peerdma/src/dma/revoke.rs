//! Taking a region away: no new users, no users, no translations, in this order. Why no lock is needed with those who map: [`super::uses`].

use super::mapping::Charge;
use super::state::State;
use super::sync::Locks;
use super::{InUse, Ioas};
use crate::addr::Address;
use crate::iommu::{IommuError, Translations};
use crate::memory::RegionId;
use alloc::vec::Vec;

impl<L: Locks> Ioas<L> {
    /// Undoes [`Self::register`].
    ///
    /// # Errors
    /// [`InUse`]: a mapping uses it, or the IOMMU refuses; it is still registered, all or a part of it still mapped.
    pub fn deregister(&self, region: RegionId) -> Result<(), InUse> {
        let was_registered = self.change(|state| {
            let of_region = state.place(region).and_then(|place| state.regions.get_mut(place));
            of_region.is_some_and(|state| {
                state.is_hidden = state.is_registered;
                state.is_registered
            })
        });
        if !was_registered {
            return Ok(());
        }
        // From here on, mappers that have not counted a use must come to the lock.
        self.change(|state| {
            let result = state.empty(region);
            let of_region = state.place(region).and_then(|place| state.regions.get_mut(place));
            if let Some(state) = of_region {
                state.is_hidden = false;
                state.is_registered = result.is_err();
            }
            result
        })
    }

    /// Nothing of a region is mapped from now on. What uses it goes on until it is unmapped; does nothing for a region that is not there.
    pub fn begin_revoke(&self, region: RegionId) {
        self.change(|state| {
            let of_region = state.place(region).and_then(|place| state.regions.get_mut(place));
            if let Some(state) = of_region {
                state.is_revoked = true;
            }
        });
    }

    /// Ends what [`Self::begin_revoke`] began, which it calls. When it returns `Ok` no mapping uses the region, and no translation leads there.
    ///
    /// An IOMMU translates whole pages: while a region that begins or ends in one of this region's pages is translated, devices reach this one.
    ///
    /// # Errors
    /// [`InUse`]: call again when the users are done, and regions in the same pages are neither registered nor used.
    pub fn finish_revoke(&self, region: RegionId) -> Result<(), InUse> {
        self.begin_revoke(region);
        self.change(|state| {
            state.empty(region)?;
            let of_region = state.place(region).and_then(|place| state.regions.get_mut(place));
            if let Some(state) = of_region {
                state.is_registered = false;
            }
            match state.uses_of_pages(region) {
                0 => Ok(()),
                uses => {
                    let iommu = None;
                    Err(InUse { region, uses, iommu })
                }
            }
        })
    }
}

impl<L: Locks> State<L> {
    /// Ends all translations of a region that nothing uses. Its users can no longer become more.
    fn empty(&mut self, region: RegionId) -> Result<(), InUse> {
        let Some(place) = self.place(region) else {
            return Ok(());
        };
        let in_use = |uses, iommu| InUse { region, uses, iommu };
        if let Err(error) = self.unstick(region) {
            return Err(in_use(self.uses(region), Some(error)));
        }
        match self.uses(region) {
            0 => {}
            uses => return Err(in_use(uses, None)),
        }
        (self.release_registration(place)).map_err(|error| in_use(0, Some(error)))
    }

    /// How many use, or hold translations of, other regions in the pages of a region.
    fn uses_of_pages(&self, region: RegionId) -> usize {
        let within = self.page_bytes() - 1;
        let Some(of) = self.map.get(region).filter(|_| self.translations.is_some()) else {
            return 0;
        };
        let (first, last) = (
            of.span.first().to_u64() & !within,
            of.span.last().to_u64() | within,
        );
        let others = self.map.regions().iter().zip(&self.regions);
        others
            .filter(|(other, _)| {
                let span = other.span;
                other.id != region && span.first().to_u64() <= last && first <= span.last().to_u64()
            })
            .fold(0, |sum: usize, (other, state)| {
                sum.saturating_add(state.holds())
                    .saturating_add(self.uses(other.id))
            })
    }

    /// Tries again to unmap what could not be unmapped.
    fn unstick(&mut self, region: RegionId) -> Result<(), IommuError> {
        let mut result = Ok(());
        let mut stuck = core::mem::take(&mut self.stuck);
        stuck.retain_mut(|stuck| {
            if !stuck.regions.contains(&region) {
                return true;
            }
            match self.undo(&mut stuck.charges) {
                Ok(()) => false,
                Err(error) => {
                    result = Err(error);
                    true
                }
            }
        });
        self.stuck = stuck;
        result
    }

    /// Undoes charges, the last first; on an error the rest remains.
    pub(super) fn undo(&mut self, charges: &mut Vec<Charge>) -> Result<(), IommuError> {
        while let Some(charge) = charges.last().copied() {
            match charge {
                Charge::Range { iova, len_bytes } => self.give_addresses(iova, len_bytes),
                Charge::Mapped { iova, len_bytes } => {
                    let translations = self.translations.as_mut().ok_or(IommuError::NotMapped)?;
                    translations.unmap(iova, len_bytes)?;
                }
                Charge::Held(region, hold) => {
                    let place = self.place(region).ok_or(IommuError::NotMapped)?;
                    self.release(place, hold)?;
                }
            }
            charges.pop();
        }
        Ok(())
    }
}
