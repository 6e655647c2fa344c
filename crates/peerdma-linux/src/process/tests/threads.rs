//! Every order of two threads where they meet: the table of address spaces and the registry.
//! `RUSTFLAGS="--cfg loom" cargo test -p peerdma-linux --lib threads`

use super::fake::*;
use crate::process::arena::Arena;
use crate::process::io_space::IoSpace;
use crate::process::registry::Registry;
use crate::process::spaces::Spaces;
use crate::process::sync::{Mutex, lock};
use crate::sys::Memory;
use crate::vfio::{Api, Backend};
use loom::thread;
use peerdma::addr::{Address, Iova, PhysAddr};
use peerdma::iommu::{Rights, Target, Translations};
use std::collections::BTreeSet;
use std::sync::Arc;

const AT: u64 = 0x8000_0000;

fn space(spaces: &Arc<Spaces>, fake: &Arc<Fake>, registry: &Arc<Registry>) -> Option<IoSpace> {
    let backends = vec![fake.clone() as Arc<dyn Backend>];
    let claim = spaces.claim(&backends)?;
    Some(IoSpace::new(backends, BTreeSet::new(), registry.clone(), claim))
}

fn map(space: &mut IoSpace) -> bool {
    let (iova, phys) = (Iova::from_u64(PAGE), PhysAddr::from_u64(AT));
    space
        .map(iova, phys, PAGE, Rights::ReadWrite, Target::Mmio)
        .is_ok()
}

#[test]
fn who_gets_an_address_space_finds_nothing_mapped_in_it() {
    loom::model(|| {
        let registry = Arc::new(Registry::new());
        let memory = Arc::new(Memory::anonymous(PAGE).unwrap());
        registry
            .add_bar(span(AT, PAGE), bar(0), BAR, pages(&memory))
            .unwrap();
        let (spaces, fake) = (Spaces::new(), Fake::new(Api::Type1, &[(0, 0xff_ffff)]));
        let take = move || {
            let Some(mut space) = space(&spaces, &fake, &registry) else {
                return false;
            };
            assert!(fake.mapped().is_empty(), "another's mappings are left");
            assert!(map(&mut space));
            assert_eq!(fake.mapped().len(), 1);
            true
        };
        let other = thread::spawn(take.clone());
        let is_ours = take();
        let is_theirs = other.join().unwrap();
        assert!(is_ours || is_theirs);
        assert!(take(), "it was given back");
    });
}

#[test]
fn pages_that_are_mapped_are_there_whoever_removes_their_region() {
    loom::model(|| {
        let registry = Arc::new(Registry::new());
        let memory = Arc::new(Memory::anonymous(PAGE).unwrap());
        let weak = Arc::downgrade(&memory);
        let region = registry
            .add_bar(span(AT, PAGE), bar(0), BAR, pages(&memory))
            .unwrap();
        drop(memory);
        let (spaces, fake) = (Spaces::new(), Fake::new(Api::Type1, &[(0, 0xff_ffff)]));
        let mut space = space(&spaces, &fake, &registry).unwrap();
        let remover = {
            let registry = registry.clone();
            thread::spawn(move || registry.remove(region).unwrap())
        };
        let is_mapped = map(&mut space);
        assert_eq!(fake.mapped().len(), usize::from(is_mapped));
        assert!(!is_mapped || weak.upgrade().is_some());
        remover.join().unwrap();
        assert_eq!(weak.upgrade().is_some(), is_mapped);
        drop(space);
        assert!(fake.mapped().is_empty());
        assert!(weak.upgrade().is_none());
    });
}

#[test]
fn two_regions_that_overlap_are_never_both_there() {
    loom::model(|| {
        let registry = Arc::new(Registry::new());
        let memory = Arc::new(Memory::anonymous(2 * PAGE).unwrap());
        let other = {
            let (registry, memory) = (registry.clone(), memory.clone());
            thread::spawn(move || {
                registry
                    .add_bar(span(AT, 2 * PAGE), bar(0), BAR, pages(&memory))
                    .is_ok()
            })
        };
        let is_ours = registry.add_ram(span(AT + PAGE, PAGE), memory).is_ok();
        let is_theirs = other.join().unwrap();
        assert!(is_ours != is_theirs);
        assert_eq!(registry.map().regions().len(), 1);
        assert!(registry.resolve(PhysAddr::from_u64(AT + PAGE), PAGE).is_some());
    });
}

#[test]
fn ram_is_given_to_one_thread_alone() {
    loom::model(|| {
        let arena = Arc::new(Mutex::new(Arena::new(AT, AT + 2 * PAGE - 1, PAGE)));
        let take = {
            let arena = arena.clone();
            move || lock(&arena).take(PAGE, 1).map(|taken| taken.first)
        };
        let other = thread::spawn(take.clone());
        let ours = take();
        let theirs = other.join().unwrap();
        assert!(ours.is_some() && theirs.is_some() && ours != theirs);
        ours.into_iter().for_each(|first| lock(&arena).give_back(first));
        assert_eq!(lock(&arena).taken().count(), 1);
    });
}
