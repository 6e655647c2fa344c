//! I/O address spaces: who shares them, what is mapped, and that nothing reaches what was unmapped.

use crate::{bdf, blueprint, machine, open, shipped};
use peerdma::addr::{Address, Bdf, Iova, PhysAddr};
use peerdma::device::Host;
use peerdma::iommu::{IommuError, Rights, Target, Translations};
use peerdma_sim::fabric::{End, Explain, Route, Why};
use peerdma_sim::firmware;
use peerdma_sim::host::{Computer, IoSpaceError, Pattern, Step};
use peerdma_sim::machine::{Gear, Options};
use peerdma_sim::random::random_machine;
use peerdma_sim::tlp::{Access, AddressType, Ordering, Request};

const IOVA: u64 = 1 << 44;

fn end(computer: &Computer, requester: Bdf, address: u64, access: Access) -> End {
    let request = Request {
        requester,
        access,
        address,
        len_bytes: 64,
        address_type: AddressType::Untranslated,
        ordering: Ordering::Strict,
    };
    let mut route = Route::new(Explain::Nothing);
    computer.with(|machine| machine.fabric().route_request(&request, &mut route));
    route.end
}

fn iova(number: u64) -> Iova {
    Iova::from_u64(number)
}

#[test]
fn cards_behind_a_conventional_bridge_share_a_space_under_the_bridges_name() {
    let computer = shipped("conventional");
    let cards = [bdf(&computer, "card0"), bdf(&computer, "card1")];
    let nvme = bdf(&computer, "nvme0");
    let mut space = computer.io_space(&cards[..1]).unwrap().unwrap();
    assert!(
        cards
            .iter()
            .all(|card| space.requesters().any(|requester| requester == *card))
    );
    assert!(space.requesters().all(|requester| requester != nvme));
    let page = computer.allocate(4096, 4096).unwrap();
    space
        .map(iova(IOVA), page, 4096, Rights::Write, Target::Ram)
        .unwrap();
    for card in cards {
        assert_eq!(
            end(&computer, card, IOVA, Access::Write),
            End::Ram { phys: page.to_u64() }
        );
        assert!(matches!(end(&computer, card, IOVA, Access::Read), End::Lost(_)));
    }
    assert!(matches!(end(&computer, nvme, IOVA, Access::Write), End::Lost(_)));
    // Nobody else may have one of them, but the SSD is free.
    let second = computer.io_space(&[nvme, cards[1]]);
    assert!(matches!(second, Err(IoSpaceError::InUse { .. })));
    let other = computer.io_space(&[nvme]).unwrap().unwrap();
    assert!(matches!(end(&computer, nvme, IOVA, Access::Write), End::Lost(_)));
    drop((space, other));
    assert_eq!(computer.state().mappings(), []);
    assert!(matches!(
        end(&computer, cards[0], IOVA, Access::Write),
        End::Lost(_)
    ));
    computer.io_space(&[nvme, cards[0]]).unwrap().unwrap();
}

#[test]
fn a_card_behind_a_conventional_bridge_is_known_by_a_name_that_is_nobodys() {
    let computer = machine(
        r#"
        iommu = "translating"
        [[bridge]]
        [[bridge.port]]
        [bridge.port.conventional]
        device = { kind = "card", name = "card0", slot = "3.0", bar = { size = "1 MiB", bits = 32 } }
        "#,
    );
    let card = bdf(&computer, "card0");
    let mut space = computer.io_space(&[card]).unwrap().unwrap();
    let alias = Bdf::from_devfn(card.domain(), card.bus(), 0);
    assert!(computer.function(alias).is_none() && space.requesters().any(|one| one == alias));
    let page = computer.allocate(4096, 4096).unwrap();
    space
        .map(iova(IOVA), page, 4096, Rights::Read, Target::Ram)
        .unwrap();
    let found = end(&computer, card, IOVA, Access::Read);
    assert_eq!(found, End::Ram { phys: page.to_u64() });
}

#[test]
fn several_functions_share_one_space_and_without_translation_there_is_none() {
    let computer = shipped("two-sockets");
    let both = [bdf(&computer, "nvme0"), bdf(&computer, "nvme1")];
    let mut space = computer.io_space(&both).unwrap().unwrap();
    let page = computer.allocate(4096, 4096).unwrap();
    space
        .map(iova(IOVA), page, 4096, Rights::ReadWrite, Target::Ram)
        .unwrap();
    for nvme in both {
        assert_eq!(
            end(&computer, nvme, IOVA, Access::Read),
            End::Ram { phys: page.to_u64() }
        );
    }
    let plain = shipped("two-ssds");
    assert!(plain.io_space(&[bdf(&plain, "nvme0")]).unwrap().is_none());
    let nobody = Bdf::from_devfn(7, 7, 7);
    for computer in [plain, computer] {
        assert!(matches!(
            computer.io_space(&[nobody]),
            Err(IoSpaceError::NoSuchFunction(_))
        ));
    }
}

#[test]
fn a_call_that_fails_changes_nothing_and_looking_up_leads_back() {
    let computer = shipped("two-sockets");
    let mut space = computer.io_space(&[bdf(&computer, "nvme0")]).unwrap().unwrap();
    let phys = PhysAddr::from_u64(0x20_0000);
    let mut map = |at: u64, len_bytes: u64| space.map(iova(at), phys, len_bytes, Rights::Read, Target::Ram);
    assert_eq!(map(IOVA, 0x3000), Ok(()));
    assert_eq!(map(IOVA + 0x3000, 0x1000), Ok(()));
    assert_eq!(map(IOVA + 0x2000, 0x1000), Err(IommuError::Overlap));
    for (at, len_bytes) in [
        (IOVA + 0x800, 0x1000),
        (IOVA + 0x8000, 0),
        (IOVA + 0x8000, 0x800),
        (0xfee0_0000, 0x1000),
        (0xfedf_f000, 0x2000),
        (1 << 52, 0x1000),
        (!0xfff, 0x1000),
        (0, u64::MAX),
    ] {
        assert_eq!(
            map(at, len_bytes),
            Err(IommuError::BadRange),
            "{at:#x} {len_bytes:#x}"
        );
    }
    computer.refuse(Step::Map, 1);
    assert_eq!(
        space.map(iova(IOVA + 0x8000), phys, 0x1000, Rights::Read, Target::Ram),
        Err(IommuError::Full)
    );
    assert_eq!(space.mappings().len(), 2);
    assert_eq!(
        space.look_up(iova(IOVA + 0x1234)),
        Some((PhysAddr::from_u64(0x20_1234), 0x1dcc))
    );
    assert_eq!(space.look_up(iova(IOVA + 0x4000)), None);
    for (at, len_bytes) in [
        (IOVA, 0x4000),
        (IOVA, 0x1000),
        (IOVA + 0x1000, 0x2000),
        (IOVA + 0x8000, 0x1000),
    ] {
        assert_eq!(space.unmap(iova(at), len_bytes), Err(IommuError::NotMapped));
    }
    computer.refuse(Step::Unmap, 1);
    assert_eq!(space.unmap(iova(IOVA), 0x3000), Err(IommuError::System(16)));
    assert_eq!(space.mappings().len(), 2);
    assert_eq!(space.unmap(iova(IOVA), 0x3000), Ok(()));
    assert_eq!(space.unmap(iova(IOVA + 0x3000), 0x1000), Ok(()));
    assert_eq!(space.mappings(), []);
    assert!(
        space
            .apertures()
            .iter()
            .all(|span| !span.contains(iova(0xfee0_1000)))
    );
}

#[test]
fn once_unmap_returns_nothing_under_way_reaches_the_memory() {
    let mut cut_short = 0;
    for (seed, gear) in (0..8).flat_map(|seed| [(seed, Gear::Tlp), (seed, Gear::Batched)]) {
        let mut blueprint = blueprint("two-sockets");
        blueprint.nature.jitter_ps = 3_000_000;
        let options = Options {
            gear,
            seed: Some(seed),
            ..Options::default()
        };
        let computer = Computer::new(&blueprint, options).unwrap();
        let nvme = bdf(&computer, "nvme0");
        computer
            .fill_namespace(nvme, 1, 0..1 << 20, Pattern::Poison(0xa5))
            .unwrap();
        let mut driver = open(&computer, "nvme0");
        driver.add_io_queues().unwrap();
        let pages: Vec<_> = (0..7).map(|_| driver.page(1).unwrap()).collect();
        for (_, dma) in &pages {
            driver.submit(1, 2, 1, *dma, [0, 0, 7]).unwrap();
        }
        let read = |phys| {
            let mut bytes = [0; 4096];
            computer.read_ram(phys, &mut bytes).unwrap();
            bytes
        };
        let which = seed as usize % pages.len();
        let until = computer.now_ns() + 1_000_000;
        while read(pages[which].0)[0] == 0 && computer.now_ns() < until {
            computer.relax();
        }
        let crate::driver::Reach::Translated(space) = &mut driver.reach else {
            panic!("this machine translates");
        };
        for (phys, dma) in &pages {
            space.unmap(iova(*dma), 4096).unwrap();
            cut_short += usize::from(read(*phys) != [0xa5; 4096]);
            computer.write_ram(*phys, &[1; 4096]).unwrap();
        }
        for _ in 0..200 {
            computer.relax();
        }
        assert!(
            pages.iter().all(|(phys, _)| read(*phys) == [1; 4096]),
            "{seed} {gear:?}"
        );
    }
    assert!(cut_short > 0);
}

#[test]
fn functions_of_one_group_come_along() {
    let computer = shipped("shared-group");
    let space = computer.io_space(&[bdf(&computer, "nvme0")]).unwrap().unwrap();
    for name in ["nvme1", "gpu0"] {
        let other = bdf(&computer, name);
        assert!(space.requesters().any(|requester| requester == other));
        let second = computer.io_space(&[other]);
        assert!(matches!(second, Err(IoSpaceError::InUse { .. })));
    }
    let alone =
        machine("iommu = \"translating\"\n[[bridge]]\ndevice = { kind = \"card\", name = \"card0\" }");
    let card = bdf(&alone, "card0");
    assert!(
        alone
            .io_space(&[card, card])
            .unwrap()
            .unwrap()
            .requesters()
            .any(|one| one == card)
    );
}

/// A request of any function of a random machine for RAM: by an IOVA, or as its bridge takes physical addresses.
fn check_ram(seed: u64, arrived: &mut u32) {
    let Ok(blueprint) = firmware::boot(&random_machine(seed)) else {
        return;
    };
    let computer = Computer::new(&blueprint, Options::default()).unwrap();
    let reserved = computer.reserved();
    let functions: Vec<Bdf> = (blueprint.snapshot.functions().iter())
        .filter(|function| function.bridge().is_none())
        .map(|function| function.bdf)
        .collect();
    let Ok(page) = computer.allocate(4096, 4096) else {
        return;
    };
    for bdf in functions {
        let mut space = computer.io_space(&[bdf]).unwrap();
        let offset = computer.initiator(bdf).unwrap().inbound_offset;
        let address = match &mut space {
            Some(space) => {
                let rights = Rights::ReadWrite;
                space.map(iova(IOVA), page, 4096, rights, Target::Ram).unwrap();
                IOVA
            }
            None => page.to_u64().wrapping_sub(offset),
        };
        let is_free = !reserved.iter().any(|span| span.contains(iova(address)));
        for access in [Access::Read, Access::Write] {
            match end(&computer, bdf, address, access) {
                End::Ram { phys } => {
                    *arrived += 1;
                    assert_eq!(phys, page.to_u64(), "{seed} {bdf}");
                }
                End::Lost(loss) => assert_ne!(loss.why, Why::IommuFault, "{seed} {bdf}"),
                other => assert!(!is_free, "{seed} {bdf}: {other:?}"),
            }
        }
    }
}

#[test]
fn on_random_machines_ram_is_where_it_was_mapped_or_behind_the_bridges_offset() {
    let mut arrived = 0;
    for seed in 0..200 {
        check_ram(seed, &mut arrived);
    }
    assert!(arrived > 1000, "{arrived}");
}
