//! A machine of tables: what each page of an I/O address space leads to, and who reaches what.

use crate::addr::{Address, Bdf, Iova, PhysAddr, Span};
use crate::dma::{
    DmaSegment, Initiator, Ioas, OwnBase, PeerRoute, Refused, Routes, SingleThread, Space, Translation,
};
use crate::iommu::{IommuError, Rights, Target, Translations};
use crate::memory::{BarMemory, CpuView, Memory, MemoryMap};
use crate::route::spec::Form;
use crate::route::{Access, MapType, TlpClass};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

pub(super) const PAGE: u64 = 4096;

/// What every page leads to, and what was mapped by one call.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Tables {
    pub(super) pages: BTreeMap<u64, (u64, Rights, Target)>,
    pub(super) calls: BTreeMap<u64, u64>,
}

/// Which call fails.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Faults {
    pub(super) made: usize,
    pub(super) fail_from: Option<usize>,
    pub(super) fail_count: usize,
}

#[derive(Debug, Default)]
pub(super) struct Iommu {
    pub(super) tables: Rc<RefCell<Tables>>,
    pub(super) faults: Rc<RefCell<Faults>>,
    pub(super) apertures: Vec<Span<Iova>>,
}

impl Iommu {
    fn trip(&self) -> Result<(), IommuError> {
        let mut faults = self.faults.borrow_mut();
        let number = faults.made;
        faults.made += 1;
        match faults.fail_from {
            Some(from) if (from..from + faults.fail_count).contains(&number) => Err(IommuError::System(5)),
            _ => Ok(()),
        }
    }
}

impl Translations for Iommu {
    fn page_bytes(&self) -> u64 {
        PAGE
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
        target: Target,
    ) -> Result<(), IommuError> {
        self.trip()?;
        let (iova, phys) = (iova.to_u64(), phys.to_u64());
        if len_bytes == 0 || !(iova | phys | len_bytes).is_multiple_of(PAGE) {
            return Err(IommuError::BadRange);
        }
        let last = Iova::from_u64(iova.checked_add(len_bytes - 1).ok_or(IommuError::BadRange)?);
        let is_in = |span: &Span<Iova>| span.contains(Iova::from_u64(iova)) && span.contains(last);
        if !self.apertures.iter().any(is_in) {
            return Err(IommuError::BadRange);
        }
        let mut tables = self.tables.borrow_mut();
        let pages = len_bytes / PAGE;
        if (0..pages).any(|page| tables.pages.contains_key(&(iova + page * PAGE))) {
            return Err(IommuError::Overlap);
        }
        for page in 0..pages {
            tables
                .pages
                .insert(iova + page * PAGE, (phys + page * PAGE, rights, target));
        }
        tables.calls.insert(iova, len_bytes);
        Ok(())
    }

    fn unmap(&mut self, iova: Iova, len_bytes: u64) -> Result<(), IommuError> {
        self.trip()?;
        let mut tables = self.tables.borrow_mut();
        if tables.calls.get(&iova.to_u64()) != Some(&len_bytes) {
            return Err(IommuError::NotMapped);
        }
        tables.calls.remove(&iova.to_u64());
        for page in 0..len_bytes / PAGE {
            tables.pages.remove(&(iova.to_u64() + page * PAGE));
        }
        Ok(())
    }

    fn look_up(&self, iova: Iova) -> Option<(PhysAddr, u64)> {
        let tables = self.tables.borrow();
        let into = iova.to_u64() % PAGE;
        let (phys, ..) = tables.pages.get(&(iova.to_u64() - into))?;
        Some((PhysAddr::from_u64(phys + into), PAGE - into))
    }
}

/// Who reaches whom; what is not in it is not reached.
#[derive(Debug, Default, Clone)]
pub(super) struct Table(pub(super) HashMap<(Bdf, Bdf, Access), (MapType, Form)>);

impl Routes for Table {
    fn route(&self, initiator: Bdf, provider: Bdf, _: u8, access: Access, _: TlpClass) -> PeerRoute {
        match self.0.get(&(initiator, provider, access)) {
            Some(&(map_type, form)) => PeerRoute::Reached { map_type, form },
            None => PeerRoute::Refused(Refused::NoSuchFunction(provider)),
        }
    }
}

/// A whole small machine.
pub(super) struct Machine {
    pub(super) ioas: alloc::sync::Arc<Ioas<SingleThread>>,
    pub(super) map: MemoryMap,
    pub(super) tables: Rc<RefCell<Tables>>,
    pub(super) faults: Rc<RefCell<Faults>>,
    pub(super) reserved: Vec<Span<Iova>>,
    pub(super) initiators: Vec<Initiator>,
    pub(super) own: Vec<Option<OwnBase>>,
    pub(super) is_translated: bool,
    pub(super) routes: Table,
}

pub(super) fn bdf(device: u8) -> Bdf {
    Bdf::from_devfn(0, 1, device << 3)
}

pub(super) fn phys(first: u64, last: u64) -> Span<PhysAddr> {
    Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).unwrap()
}

pub(super) fn iova(first: u64, last: u64) -> Span<Iova> {
    Span::new(Iova::from_u64(first), Iova::from_u64(last)).unwrap()
}

pub(super) fn bar(provider: u8, bar: u8, bus_offset: u64) -> BarMemory {
    BarMemory {
        provider: bdf(provider),
        bar,
        offset_bytes: 0,
        bus_offset,
        cpu: CpuView::Memory,
    }
}

pub(super) fn initiator(device: u8) -> Initiator {
    Initiator {
        bdf: bdf(device),
        address_mask: u64::MAX,
        class: TlpClass::Strict,
        inbound_offset: 0,
    }
}

impl Machine {
    pub(super) fn new(
        map: MemoryMap,
        is_translated: bool,
        reserved: Vec<Span<Iova>>,
        apertures: Vec<Span<Iova>>,
        initiators: Vec<Initiator>,
        routes: Table,
    ) -> Self {
        let (tables, faults) = (Rc::default(), Rc::default());
        let translation = match is_translated {
            false => Translation::Direct,
            true => Translation::Translated(Box::new(Iommu {
                tables: Rc::clone(&tables),
                faults: Rc::clone(&faults),
                apertures,
            }) as Box<dyn Translations>),
        };
        let ioas = Ioas::new(translation, map.clone(), &reserved);
        for initiator in &initiators {
            ioas.add_initiator(*initiator, &routes).unwrap();
        }
        Self {
            ioas,
            map,
            tables,
            faults,
            reserved,
            own: alloc::vec![None; initiators.len()],
            initiators,
            is_translated,
            routes,
        }
    }

    /// What an initiator reaches at one address of a segment, and for how many bytes that is surely so.
    pub(super) fn reaches(
        &self,
        initiator: usize,
        segment: DmaSegment,
        at: u64,
        access: Access,
    ) -> Option<(u64, u64)> {
        let issuer = self.initiators[initiator];
        let in_page = PAGE - at % PAGE;
        match segment.space {
            Space::Own => {
                let own = self.own[initiator]?;
                let into = at.checked_sub(own.base).filter(|into| *into < own.len_bytes)?;
                let found = self.map.regions().iter().find_map(|region| match region.memory {
                    Memory::Bar(bar) if bar.provider == issuer.bdf && bar.bar == own.bar => {
                        let into = (own.offset_bytes + into).checked_sub(bar.offset_bytes)?;
                        (into <= region.span.len_minus_one()).then(|| region.span.first().to_u64() + into)
                    }
                    _ => None,
                });
                Some((found?, 1))
            }
            Space::Bus => {
                assert!(
                    !self.is_translated || self.net_is_right(at),
                    "invariant 7 at {at:#x}"
                );
                let found = self.map.regions().iter().find_map(|region| match region.memory {
                    Memory::Bar(bar) => {
                        let phys = PhysAddr::from_u64(at.wrapping_sub(bar.bus_offset));
                        let is_near = [Access::Read, Access::Write].into_iter().any(|access| {
                            let route = self.routes.0.get(&(issuer.bdf, bar.provider, access));
                            route.is_some_and(|(_, form)| *form == Form::BusAddress)
                        });
                        (is_near && region.span.contains(phys)).then(|| phys.to_u64())
                    }
                    Memory::Ram => None,
                });
                Some((found?, 1))
            }
            Space::Iova if self.is_translated => {
                let tables = self.tables.borrow();
                let (page, rights, _) = *tables.pages.get(&(at - at % PAGE))?;
                let is_allowed = matches!(
                    (rights, access),
                    (Rights::ReadWrite, _) | (Rights::Read, Access::Read) | (Rights::Write, Access::Write)
                );
                is_allowed.then_some((page + at % PAGE, in_page))
            }
            Space::Iova => {
                let phys = at.checked_add_signed(issuer.inbound_offset as i64)?;
                Some((phys, in_page))
            }
        }
    }

    /// Is what the IOMMU does with a bus address the same as what the bus does, or nothing where the aperture ends?
    fn net_is_right(&self, at: u64) -> bool {
        let tables = self.tables.borrow();
        let Some((page, _, target)) = tables.pages.get(&(at - at % PAGE)) else {
            return true;
        };
        let leads_to = PhysAddr::from_u64(page + at % PAGE);
        *target == Target::Mmio
            && self.map.find(leads_to).is_some_and(|region| match region.memory {
                Memory::Bar(bar) => bar.bus_address(leads_to).to_u64() == at,
                Memory::Ram => false,
            })
    }

    /// Everything that may be compared: translations, what is taken, what is held, what is in use.
    pub(super) fn state(&self) -> (Tables, u64, Vec<usize>, Vec<usize>, usize) {
        use crate::dma::Locks;
        SingleThread::with(&self.ioas.state, |state| {
            let ids = state.map.regions().iter().map(|region| region.id);
            (
                self.tables.borrow().clone(),
                {
                    // What is only kept for the next request is as good as free.
                    state.magazine.drain(&mut state.addresses);
                    state.addresses.taken_bytes()
                },
                state.regions.iter().map(|region| region.holds()).collect(),
                ids.map(|id| state.uses(id)).collect(),
                state.stuck.len(),
            )
        })
    }
}

/// Contiguous bytes, neighbours joined.
pub(super) fn runs(bytes: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (at, len) in bytes {
        match runs.last_mut() {
            Some(last) if last.0 + last.1 == at => last.1 += len,
            _ => runs.push((at, len)),
        }
    }
    runs
}
