use crate::fake::{BANK_BYTES, BAR, Fault, RAM, bdf};
use crate::properties::{cases, expected};
use crate::rig::{Case, DESTINATION, Everywhere, MEDIUM_BYTES, Rig, SOURCE, Way, span};
use peerdma::addr::{Address, BusAddr, Iova, Span};
use peerdma::dma::{Constraints, Initiator, Ioas, Mapper, OwnBase, SingleThread, Translation};
use peerdma::engine::{JobError, Outcome, SlotMappings};
use peerdma::memory::{BarMemory, CpuView, MemoryMap};
use peerdma::route::TlpClass;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

type Handle = Mapper<SingleThread>;

/// A handle for either end, on a machine where RAM and BAR have one address each.
fn handles(case: &Case) -> [Handle; 2] {
    let owner = if case.way == Way::Load {
        SOURCE
    } else {
        DESTINATION
    };
    let bar = BarMemory {
        provider: bdf(owner),
        bar: 0,
        offset_bytes: 0,
        bus_offset: 0,
        cpu: CpuView::Memory,
    };
    let (map, _) = MemoryMap::new().with_ram(span(RAM, BANK_BYTES as u64)).unwrap();
    let (map, _) = map.with_bar(span(BAR, BANK_BYTES as u64), bar).unwrap();
    let windows: [Span<Iova>; 1] =
        [Span::new(Iova::from_u64(BAR), Iova::from_u64(BAR + BANK_BYTES as u64 - 1)).unwrap()];
    let space = Ioas::<SingleThread>::new(Translation::Direct, map, &windows);
    [SOURCE, DESTINATION].map(|name| {
        let initiator = Initiator {
            bdf: bdf(name),
            address_mask: u64::MAX,
            class: TlpClass::Strict,
            inbound_offset: 0,
        };
        space.add_initiator(initiator, &Everywhere).unwrap();
        if name == owner {
            let base = OwnBase {
                bar: 0,
                offset_bytes: 0,
                len_bytes: BANK_BYTES as u64,
                base: BusAddr::from_u64(BAR).to_u64(),
            };
            space.set_own_base(bdf(name), Some(base)).unwrap();
        }
        space.mapper(bdf(name)).unwrap()
    })
}

fn map_all(rig: &Rig, [source, destination]: &mut [Handle; 2]) -> Vec<SlotMappings> {
    let layout = &rig.plan.layout;
    let none = Constraints::NONE;
    let map = |slot| SlotMappings::new(layout, slot, (source, &none), (destination, &none)).unwrap();
    (0..layout.slots).map(map).collect()
}

fn unmap_all(mappings: Vec<SlotMappings>, [source, destination]: &mut [Handle; 2]) {
    for mapping in mappings {
        mapping.unmap(source, destination).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn slots_that_were_mapped_earlier_carry_the_same_bytes_and_come_back_mapped(
        case in cases(),
        fault in prop::option::of((1..80_u64, prop::sample::select(vec![Fault::Operation, Fault::Gone]))),
    ) {
        let mut handles = handles(&case);
        let mut rig = Rig::new(&case, fault);
        let mappings = map_all(&rig, &mut handles);
        let mut copy = rig.copy(case.job);
        copy.attach(&rig.plan, mappings).unwrap();
        rig.run(&mut copy);
        if copy.outcome() == Some(Outcome::Whole) {
            let expected = expected(&case, &rig, &vec![0; MEDIUM_BYTES as usize], case.job.len_bytes);
            prop_assert!(rig.destination.flushed == expected);
        }
        let back = copy.detach();
        prop_assert_eq!(back.len(), rig.plan.layout.slots as usize);
        unmap_all(back, &mut handles);
    }
}

#[test]
fn mappings_that_are_not_those_of_the_slots_are_given_back() {
    let mut case = None;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    while case.is_none_or(|case: Case| case.depth < 2) {
        case = Some(cases().new_tree(&mut runner).unwrap().current());
    }
    let case = case.unwrap();
    let mut handles = handles(&case);
    let rig = Rig::new(&case, None);
    let mut copy = rig.copy(case.job);
    let mut few = map_all(&rig, &mut handles);
    let last = few.pop().unwrap();
    let (why, mut few) = copy.attach(&rig.plan, few).unwrap_err();
    assert_eq!(why, JobError::NoSlots);
    few.push(SlotMappings {
        source: last.destination,
        destination: last.source,
    });
    let count = few.len();
    let (why, mut back) = copy.attach(&rig.plan, few).unwrap_err();
    assert_eq!(why, JobError::ForeignMapping);
    assert_eq!(back.len(), count);
    let swapped = back
        .iter()
        .position(|mapping| mapping.source.initiator() == bdf(DESTINATION));
    let swapped = back.swap_remove(swapped.unwrap());
    back.push(SlotMappings {
        source: swapped.destination,
        destination: swapped.source,
    });
    unmap_all(back, &mut handles);
}
