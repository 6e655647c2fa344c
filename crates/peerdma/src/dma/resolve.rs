//! Back from what a device was told to the memory: a bus address told from an I/O address, then through the IOMMU, then through the memory map.

use super::state::{InitiatorState, State, bus_span};
use super::sync::Locks;
use super::{DmaSegment, Ioas, Space};
use crate::addr::{Address, Bdf, BusAddr, Iova, PhysAddr};
use crate::iommu::Translations;
use crate::memory::Memory;

impl<L: Locks> Ioas<L> {
    /// Where a segment leads: its first byte. [`Self::resolve_part`] also says how far.
    pub fn resolve(&self, initiator: Bdf, segment: &DmaSegment) -> Option<PhysAddr> {
        let (phys, _) = self.resolve_part(initiator, segment)?;
        Some(phys)
    }

    /// Where a segment leads, and for how many bytes from its start, at least 1 and at most its own: what lies beyond may lead elsewhere.
    pub fn resolve_part(&self, initiator: Bdf, segment: &DmaSegment) -> Option<(PhysAddr, u32)> {
        L::with(&self.state, |state| {
            let (phys, len_bytes) = match segment.space {
                Space::Iova => match &state.translations {
                    Some(translations) => translations.look_up(Iova::from_u64(segment.addr))?,
                    None => {
                        let of = |other: &&InitiatorState| other.initiator.bdf == initiator;
                        let of = state.initiators.iter().find(of)?;
                        let offset = of.initiator.inbound_offset as i64;
                        let phys = segment.addr.checked_add_signed(offset)?;
                        (PhysAddr::from_u64(phys), u64::MAX)
                    }
                },
                Space::Bus => bus_to_phys(state, initiator, BusAddr::from_u64(segment.addr))?,
                Space::Own => own_to_phys(state, initiator, segment.addr)?,
            };
            let len_bytes =
                u32::try_from(len_bytes).map_or(segment.len_bytes, |len| len.min(segment.len_bytes));
            (len_bytes > 0).then_some((phys, len_bytes))
        })
    }
}

/// The BAR that has a bus address: one that the initiator reaches by it, where bridges use the same twice.
fn bus_to_phys<L: Locks>(state: &State<L>, initiator: Bdf, at: BusAddr) -> Option<(PhysAddr, u64)> {
    let of = state
        .initiators
        .iter()
        .find(|other| other.initiator.bdf == initiator)?;
    let at = Iova::from_u64(at.to_u64());
    (0u32..).zip(state.map.regions()).find_map(|(place, region)| {
        let span = bus_span(region).filter(|span| span.contains(at))?;
        if !of.is_on_bus(place) {
            return None;
        }
        let phys = region
            .span
            .first()
            .checked_add(at.to_u64() - span.first().to_u64())?;
        Some((phys, (span.last().to_u64() - at.to_u64()).saturating_add(1)))
    })
}

fn own_to_phys<L: Locks>(state: &State<L>, initiator: Bdf, at: u64) -> Option<(PhysAddr, u64)> {
    let of = state
        .initiators
        .iter()
        .find(|other| other.initiator.bdf == initiator)?;
    let (own, into) = of.own.iter().find_map(|own| {
        let into = at.checked_sub(own.base).filter(|into| *into < own.len_bytes)?;
        Some((own, into))
    })?;
    let offset = own.offset_bytes.checked_add(into)?;
    state.map.regions().iter().find_map(|region| {
        let Memory::Bar(bar) = region.memory else {
            return None;
        };
        if (bar.provider, bar.bar) != (initiator, own.bar) {
            return None;
        }
        let into_region = offset.checked_sub(bar.offset_bytes)?;
        let left = region.span.len_minus_one().checked_sub(into_region)?;
        let phys = region.span.first().checked_add(into_region)?;
        Some((phys, (left.saturating_add(1)).min(own.len_bytes - into)))
    })
}
