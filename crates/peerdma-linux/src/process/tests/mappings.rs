//! Mappings of an address space: what the kernel is told, what stays mapped, and what goes in which order.

use super::fake::*;
use crate::process::io_space::IoSpace;
use crate::process::piece::{DmaBuf, Pages};
use crate::process::registry::Registry;
use crate::process::spaces::Spaces;
use crate::sys::Memory;
use crate::vfio::{Api, Backend};
use peerdma::addr::{Address, Iova, PhysAddr};
use peerdma::iommu::{IommuError, Rights, Target, Translations};
use peerdma::memory::RegionId;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Weak};

const RAM: u64 = 0x1_0000_0000;
const BARS: [u64; 2] = [0x8000_0000, 0x8000_8000];
const RAM_PAGES: u64 = 16;
const BAR_PAGES: u64 = 8;
/// All addresses but those of one page.
const APERTURES: [(u64, u64); 2] = [(0, 0x1_ffff), (0x2_1000, 0xff_ffff)];

struct Rig {
    fakes: Vec<Arc<Fake>>,
    spaces: Arc<Spaces>,
    registry: Arc<Registry>,
    regions: Vec<RegionId>,
    memories: Vec<Weak<Memory>>,
}

impl Rig {
    fn new(count: usize) -> Self {
        let registry = Arc::new(Registry::new());
        let mut memories = Vec::new();
        let ram = Arc::new(Memory::anonymous(RAM_PAGES * PAGE).unwrap());
        let mut regions = vec![
            registry
                .add_ram(span(RAM, RAM_PAGES * PAGE), ram.clone())
                .unwrap(),
        ];
        memories.push(Arc::downgrade(&ram));
        for (number, first) in (0..).zip(BARS) {
            let memory = Arc::new(Memory::anonymous(BAR_PAGES * PAGE).unwrap());
            let region = registry.add_bar(span(first, BAR_PAGES * PAGE), bar(number), BAR, pages(&memory));
            regions.push(region.unwrap());
            memories.push(Arc::downgrade(&memory));
        }
        Self {
            fakes: (0..count).map(|_| Fake::new(Api::Type1, &APERTURES)).collect(),
            spaces: Spaces::new(),
            registry,
            regions,
            memories,
        }
    }

    fn backends(&self) -> Vec<Arc<dyn Backend>> {
        self.fakes
            .iter()
            .map(|fake| fake.clone() as Arc<dyn Backend>)
            .collect()
    }

    fn space(&self) -> Option<IoSpace> {
        let claim = self.spaces.claim(&self.backends())?;
        Some(IoSpace::new(
            self.backends(),
            BTreeSet::new(),
            self.registry.clone(),
            claim,
        ))
    }
}

fn map(space: &mut IoSpace, iova: u64, phys: u64, len_bytes: u64) -> Result<(), IommuError> {
    let (iova, phys) = (Iova::from_u64(iova), PhysAddr::from_u64(phys));
    space.map(iova, phys, len_bytes, Rights::ReadWrite, Target::Ram)
}

#[derive(Debug, Clone)]
enum Step {
    Map { iova: u64, phys: u64, len_bytes: u64 },
    Unmap { which: usize, len_bytes: Option<u64> },
    Remove(usize),
    Refuse { fake: usize, nth: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let phys = prop_oneof![
        (0..RAM_PAGES + 2).prop_map(|page| RAM + page * PAGE),
        (0..2 * BAR_PAGES + 2).prop_map(|page| BARS[0] + page * PAGE),
        any::<u64>(),
    ];
    let len = prop_oneof![9 => (0..6_u64).prop_map(|pages| pages * PAGE), 1 => any::<u64>()];
    let iova = prop_oneof![9 => (0..64_u64).prop_map(|page| page * PAGE), 1 => any::<u64>()];
    prop_oneof![
        8 => (iova, phys, len).prop_map(|(iova, phys, len_bytes)| Step::Map { iova, phys, len_bytes }),
        4 => (any::<usize>(), proptest::option::weighted(0.2, (0..6_u64).prop_map(|pages| pages * PAGE)))
            .prop_map(|(which, len_bytes)| Step::Unmap { which, len_bytes }),
        1 => (0..3_usize).prop_map(Step::Remove),
        1 => (0..2_usize, 1..4_u64).prop_map(|(fake, nth)| Step::Refuse { fake, nth }),
    ]
}

fn is_in_aperture(iova: u64, len_bytes: u64) -> bool {
    let last = u128::from(iova) + u128::from(len_bytes) - 1;
    APERTURES
        .iter()
        .any(|(first, end)| *first <= iova && last <= u128::from(*end))
}

proptest! {
    #[test]
    fn the_kernel_maps_exactly_what_was_asked_for_and_nothing_after_the_drop(
        count in 1..3_usize,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let rig = Rig::new(count);
        let mut space = rig.space().unwrap();
        prop_assert!(rig.space().is_none(), "it has one owner");
        // First address -> physical address and bytes.
        let mut model: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let mut pages: BTreeMap<u64, u64> = BTreeMap::new();
        let mut live = [true; 3];
        let starts = [(RAM, RAM_PAGES), (BARS[0], BAR_PAGES), (BARS[1], BAR_PAGES)];
        for ((first, _), memory) in starts.iter().zip(&rig.memories) {
            pages.insert(*first, memory.upgrade().unwrap().address());
        }
        let (mut is_refused, mut is_stuck) = (false, false);
        for step in steps {
            match step {
                Step::Map { iova, phys, len_bytes } => {
                    let holds = |index: usize| {
                        let (first, count) = starts[index];
                        live[index] && phys >= first && u128::from(phys) + u128::from(len_bytes) <= u128::from(first + count * PAGE)
                    };
                    let whole = iova.is_multiple_of(PAGE) && len_bytes.is_multiple_of(PAGE) && len_bytes > 0;
                    let is_free = || model.iter().all(|(first, (_, len))| iova + len_bytes <= *first || first + len <= iova);
                    let expected = match () {
                        () if !whole || !is_in_aperture(iova, len_bytes) => Err(IommuError::BadRange),
                        () if !is_free() => Err(IommuError::Overlap),
                        () if !(0..3).any(holds) => Err(IommuError::BadRange),
                        () => Ok(()),
                    };
                    let result = map(&mut space, iova, phys, len_bytes);
                    match result {
                        Err(IommuError::System(_) | IommuError::Overlap) if is_refused && expected.is_ok() => {}
                        _ => prop_assert_eq!(result, expected),
                    }
                    if result.is_ok() {
                        model.insert(iova, (phys, len_bytes));
                    }
                }
                Step::Unmap { which, len_bytes } => {
                    let Some((&iova, &(_, len))) = model.iter().nth(which % model.len().max(1)) else { continue };
                    let asked = len_bytes.unwrap_or(len);
                    let result = space.unmap(Iova::from_u64(iova), asked);
                    match result {
                        Ok(()) => {
                            prop_assert_eq!(asked, len);
                            model.remove(&iova);
                        }
                        Err(IommuError::NotMapped) => prop_assert!(asked != len),
                        Err(_) => prop_assert!(is_refused),
                    }
                    prop_assert_eq!(space.unmap(Iova::from_u64(iova + 1), len), Err(IommuError::NotMapped));
                }
                Step::Remove(index) => {
                    prop_assert_eq!(rig.registry.remove(rig.regions[index]).is_ok(), live[index]);
                    live[index] = false;
                }
                Step::Refuse { fake, nth } => {
                    if let Some(fake) = rig.fakes.get(fake) {
                        fake.refuse(nth);
                        is_refused = true;
                    }
                }
            }
            let told: BTreeMap<_, _> = (space.mappings()).map(|(iova, phys, len)| (iova.to_u64(), (phys.to_u64(), len))).collect();
            prop_assert_eq!(&told, &model);
            for (iova, (phys, len)) in &model {
                prop_assert_eq!(space.look_up(Iova::from_u64(iova + len - 1)), Some((PhysAddr::from_u64(phys + len - 1), 1)));
                prop_assert_eq!(space.look_up(Iova::from_u64(iova + 1)), Some((PhysAddr::from_u64(phys + 1), len - 1)));
            }
            for fake in &rig.fakes {
                for (iova, at) in fake.mapped() {
                    match model.get(&iova) {
                        Some((phys, len)) => {
                            prop_assert_eq!(at.len_bytes, *len);
                            let (first, address) = pages.range(..=phys).next_back().unwrap();
                            prop_assert_eq!(at.address, address + (phys - first));
                        }
                        // What could be neither mapped everywhere nor undone.
                        None => {
                            prop_assert!(is_refused);
                            is_stuck = true;
                        }
                    }
                    // Its pages are there, also when its region is not.
                    let is_there = rig.memories.iter().filter_map(Weak::upgrade).any(|memory| {
                        memory.address() <= at.address && at.address + at.len_bytes <= memory.address() + memory.len_bytes()
                    });
                    prop_assert!(is_there);
                }
                if !is_refused {
                    prop_assert_eq!(fake.mapped().len(), model.len());
                }
            }
        }
        drop(space);
        let left = rig.fakes.iter().any(|fake| !fake.mapped().is_empty());
        prop_assert!(is_refused || !left);
        // Who comes next gets it clean, or not at all.
        if left || !is_stuck {
            prop_assert_eq!(rig.space().is_some(), !left);
        }
        for (memory, is_live) in rig.memories.iter().zip(live) {
            prop_assert!(memory.upgrade().is_some() == is_live || left);
        }
    }
}

#[test]
fn a_bar_goes_to_iommufd_as_a_dma_buf_and_not_at_all_without_one() {
    let registry = Arc::new(Registry::new());
    let memory = Arc::new(Memory::anonymous(4 * PAGE).unwrap());
    let file = Arc::new(std::os::fd::OwnedFd::from(tempfile::tempfile().unwrap()));
    let number = file.as_raw_fd();
    let with = Pages {
        memory: Some((memory.clone(), 0)),
        dma_buf: Some(DmaBuf::Given(file, PAGE)),
    };
    registry
        .add_bar(span(BARS[0], 4 * PAGE), bar(0), BAR, with)
        .unwrap();
    registry
        .add_bar(span(BARS[1], 4 * PAGE), bar(1), BAR, pages(&memory))
        .unwrap();
    registry.add_ram(span(RAM, 4 * PAGE), memory.clone()).unwrap();
    let fake = Fake::new(Api::Iommufd, &APERTURES);
    let backends = vec![fake.clone() as Arc<dyn Backend>];
    let claim = Spaces::new().claim(&backends).unwrap();
    let mut space = IoSpace::new(backends, BTreeSet::new(), registry, claim);
    map(&mut space, 0x1000, BARS[0] + PAGE, PAGE).unwrap();
    map(&mut space, 0x2000, RAM + PAGE, PAGE).unwrap();
    let unsupported = IommuError::System(rustix::io::Errno::OPNOTSUPP.raw_os_error());
    assert_eq!(map(&mut space, 0x3000, BARS[1], PAGE), Err(unsupported));
    let mapped = fake.mapped();
    assert_eq!(
        (mapped[&0x1000].fd, mapped[&0x1000].address),
        (Some(number), 2 * PAGE)
    );
    assert_eq!(
        (mapped[&0x2000].fd, mapped[&0x2000].address),
        (None, memory.address() + PAGE)
    );
    assert_eq!(mapped.len(), 2);
}
