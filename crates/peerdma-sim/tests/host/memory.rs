//! RAM, the memory map, what is reserved, names, and what tests see behind the scenes.

use crate::{SHIPPED, bdf, blueprint, machine, shipped};
use peerdma::addr::{Address, BusAddr, Iova, PhysAddr};
use peerdma::device::{DeviceError, Function, Host};
use peerdma::memory::{CpuView, Memory, MemoryMap};
use peerdma_sim::firmware;
use peerdma_sim::host::{Area, Computer, Difference, Named, Pattern, Step};
use peerdma_sim::machine::{Fault, FaultPlan, Options};
use peerdma_sim::random::random_machine;

fn phys(number: u64) -> PhysAddr {
    PhysAddr::from_u64(number)
}

/// Each BAR region leads where it says: panics where one does not. How many the CPU sees and reaches.
fn check_map(computer: &Computer) -> (u32, u32) {
    let (mut seen, mut reached) = (0, 0);
    let map = computer.memory_map();
    let reserved = computer.reserved();
    for region in map.regions() {
        let Memory::Bar(memory) = region.memory else {
            continue;
        };
        let function = computer.function(memory.provider).unwrap();
        let first = region.span.first();
        let bus = function.bar_address(memory.bar).unwrap();
        assert_eq!(memory.bus_address(first), bus);
        for address in [bus, memory.bus_address(region.span.last())] {
            let address = Iova::from_u64(address.to_u64());
            assert!(reserved.iter().any(|span| span.contains(address)));
        }
        let is_seen = function.bar(memory.bar).is_some();
        match memory.cpu {
            CpuView::Mmio(widths) => {
                assert!(is_seen);
                for (at, width_bytes) in [(0, 8), (8, 4), (12, 2), (14, 1), (15, 1)] {
                    assert!(widths.allow(width_bytes));
                    let at = region.span.last().to_u64() - 15 + at;
                    computer
                        .store_bar(phys(at), width_bytes, 0x1817_1615_1413_1211)
                        .unwrap();
                }
                while computer.with(|machine| machine.step()) {}
                let mut bytes = [0; 16];
                let offset = region.span.len_minus_one() - 15;
                computer
                    .read_bar_memory(memory.provider, memory.bar, offset, &mut bytes)
                    .unwrap();
                let expected = [
                    0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x11, 0x12, 0x13, 0x14, 0x11, 0x12, 0x11,
                    0x11,
                ];
                let is_reached = bytes == expected;
                // Windows that are closed, memory that is disabled: the CPU does not get there either way.
                assert!(is_reached || bytes == [0; 16], "{bytes:x?}");
                seen += 1;
                if is_reached {
                    reached += 1;
                    let loaded = computer
                        .load_bar(phys(region.span.last().to_u64() - 7), 4)
                        .unwrap();
                    assert_eq!(loaded, 0x1413_1211);
                }
            }
            CpuView::None => {
                let refused = Err(DeviceError::NoAccess {
                    at: first,
                    width_bytes: 4,
                });
                assert_eq!(computer.load_bar(first, 4), refused);
                assert!(computer.store_bar(first, 4, 0).is_err());
            }
            CpuView::Memory => panic!("no BAR is like RAM"),
        }
    }
    (seen, reached)
}

#[test]
fn every_region_of_the_shipped_machines_leads_to_the_memory_that_it_names() {
    for name in SHIPPED {
        let computer = shipped(name);
        let (seen, reached) = check_map(&computer);
        assert!(seen >= 2 && seen == reached, "{name}");
        let map = computer.memory_map();
        let is_ram = |region: &&peerdma::memory::Region| region.memory == Memory::Ram;
        assert_eq!(map.regions().iter().filter(is_ram).count(), 2, "{name}");
        if name != "conventional" {
            let nvme = bdf(&computer, "nvme0");
            let region = Computer::bar_region(&map, nvme, 4).unwrap();
            assert_eq!(region.span.len_bytes(), Some(64 << 20), "{name}");
            // Registers are no memory.
            assert_eq!(Computer::bar_region(&map, nvme, 0), None, "{name}");
        }
    }
}

#[test]
fn every_region_of_random_machines_leads_to_the_memory_that_it_names() {
    let mut all = (0, 0);
    for seed in 0..60 {
        let Ok(blueprint) = firmware::boot(&random_machine(seed)) else {
            continue;
        };
        let (seen, reached) = check_map(&Computer::new(&blueprint, Options::default()).unwrap());
        all = (all.0 + seen, all.1 + reached);
    }
    assert!(all.0 > 100 && all.1 * 10 > all.0 * 8, "{all:?}");
}

#[test]
fn memory_that_the_cpu_does_not_see_has_a_name_of_its_own() {
    let computer = machine(
        r#"
        [[bridge]]
        [[bridge.port]]
        [bridge.port.switch]
        [[bridge.port.switch.port]]
        device = { kind = "accelerator", name = "gpu0", memory = "1 GiB", reach = "peers-only" }
        [[bridge.port.switch.port]]
        device = { kind = "accelerator", name = "gpu1", memory = "1 GiB", reach = "peers-only" }
        [[bridge.port.switch.port]]
        device = { kind = "card", name = "card0", bar = { size = "1 MiB", reach = "unassigned" } }
        "#,
    );
    let map: MemoryMap = computer.memory_map();
    let hidden = |name: &str| Computer::bar_region(&map, bdf(&computer, name), 2).unwrap();
    for region in [hidden("gpu0"), hidden("gpu1")] {
        let Memory::Bar(memory) = region.memory else {
            panic!("a BAR")
        };
        assert_eq!(memory.cpu, CpuView::None);
        assert!(region.span.first().to_u64() >= 1 << 52);
    }
    assert_eq!(Computer::bar_region(&map, bdf(&computer, "card0"), 0), None);
    assert_eq!(check_map(&computer), (0, 0));
}

#[test]
fn an_offset_bridge_shows_its_offset_in_the_map() {
    let computer = shipped("offset-bridge");
    let map = computer.memory_map();
    let nvme = bdf(&computer, "nvme0");
    let region = Computer::bar_region(&map, nvme, 4).unwrap();
    let Memory::Bar(memory) = region.memory else {
        panic!("a BAR")
    };
    assert_eq!(memory.bus_offset, 0u64.wrapping_sub(0x80_0000_0000));
    let bus = memory.bus_address(region.span.first());
    assert_eq!(
        bus,
        BusAddr::from_u64(region.span.first().to_u64() - 0x80_0000_0000)
    );
    // The bus address is none that the CPU could use.
    let at = phys(bus.to_u64());
    assert_eq!(computer.load_bar(at, 4), Err(DeviceError::NoSuchMemory { at }));
}

#[test]
fn interrupts_and_bridges_are_reserved_in_order_and_apart() {
    for name in SHIPPED {
        let reserved = shipped(name).reserved();
        assert!(
            reserved.windows(2).all(|two| two[0].last() < two[1].first()),
            "{name}"
        );
        for address in [0xfee0_0000, 0xfeef_ffff] {
            let address = Iova::from_u64(address);
            assert!(reserved.iter().any(|span| span.contains(address)), "{name}");
        }
        let low = Iova::from_u64(0x10_0000);
        assert!(!reserved.iter().any(|span| span.contains(low)), "{name}");
    }
}

#[test]
fn ram_is_zeroed_aligned_apart_and_comes_back() {
    let computer = shipped("two-ssds");
    let one = computer.allocate(5000, 1 << 20).unwrap();
    let other = computer.allocate(1, 1).unwrap();
    assert!(one.to_u64().is_multiple_of(1 << 20) && other.to_u64() >= one.to_u64() + 8192);
    assert_eq!(computer.allocations().len(), 2);
    computer.write_ram(one, &[9; 5000]).unwrap();
    assert_eq!(computer.load_acquire(one), Ok(0x0909_0909));
    assert!(computer.load_acquire(phys(one.to_u64() + 2)).is_err());
    computer.free(phys(one.to_u64() + 4096));
    computer.free(one);
    computer.free(one);
    assert_eq!(computer.allocations().len(), 1);
    assert_eq!(computer.allocate(5000, 1 << 20), Ok(one));
    let mut bytes = [1; 5000];
    computer.read_ram(one, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 5000]);
    let too_much = 1 << 40;
    assert_eq!(
        computer.allocate(too_much, 4096),
        Err(DeviceError::NoMemory { len_bytes: too_much })
    );
    // Memory of a BAR is no RAM, and RAM is no BAR.
    let map = computer.memory_map();
    let bar = Computer::bar_region(&map, bdf(&computer, "nvme0"), 4)
        .unwrap()
        .span
        .first();
    assert!(computer.read_ram(bar, &mut [0; 4]).is_err() && computer.load_acquire(bar).is_err());
    assert_eq!(
        computer.load_bar(one, 4),
        Err(DeviceError::NoSuchMemory { at: one })
    );
    for width_bytes in [0, 3, 16, 255] {
        assert_eq!(
            computer.load_bar(bar, width_bytes),
            Err(DeviceError::NoAccess { at: bar, width_bytes })
        );
    }
    let odd = phys(bar.to_u64() + 4);
    assert_eq!(
        computer.store_bar(odd, 8, 0),
        Err(DeviceError::NoAccess {
            at: odd,
            width_bytes: 8
        })
    );
}

#[test]
fn a_load_or_store_of_a_bar_is_one_tlp_of_its_width() {
    let computer = shipped("two-ssds");
    let bar = Computer::bar_region(&computer.memory_map(), bdf(&computer, "nvme0"), 4)
        .unwrap()
        .span
        .first();
    for width_bytes in [1, 2, 4, 8] {
        let sum = || {
            let counters = computer.counters();
            let link = counters.links.iter().max_by_key(|link| link.down.tlps()).unwrap();
            (
                link.down.queue.tlps,
                link.down.queue.data_bytes,
                link.up.queue.tlps,
                link.up.queue.data_bytes,
            )
        };
        let before = sum();
        computer.store_bar(bar, width_bytes, u64::MAX).unwrap();
        let stored = sum();
        assert_eq!(
            (stored.0, stored.1),
            (before.0 + 1, before.1 + u64::from(width_bytes))
        );
        computer.load_bar(bar, width_bytes).unwrap();
        let loaded = sum();
        assert_eq!((loaded.0, loaded.1), (stored.0 + 1, stored.1));
        assert_eq!(
            (loaded.2, loaded.3),
            (stored.2 + 1, stored.3 + u64::from(width_bytes))
        );
    }
}

#[test]
fn allocations_fail_where_the_fault_plan_or_a_test_says_so() {
    let faults = FaultPlan {
        faults: vec![Fault::Allocation { nth: 2 }],
        ..FaultPlan::default()
    };
    let options = Options {
        faults,
        ..Options::default()
    };
    let computer = Computer::new(&blueprint("two-ssds"), options).unwrap();
    // Three chunks of memory, of which the second cannot be had.
    let refused = computer.allocate(160 << 10, 64 << 10);
    assert_eq!(refused, Err(DeviceError::NoMemory { len_bytes: 160 << 10 }));
    assert_eq!(computer.allocations(), []);
    computer.allocate(160 << 10, 64 << 10).unwrap();
    computer.refuse(Step::Allocation, 2);
    computer.allocate(1, 1).unwrap();
    computer.allocate(1, 1).unwrap_err();
    computer.allocate(1, 1).unwrap();
    assert_eq!(computer.attempts(Step::Allocation), 5);
}

#[test]
fn names_lead_to_functions_and_namespaces() {
    let computer = shipped("two-ssds");
    let nvme = bdf(&computer, "nvme1");
    assert_eq!(
        computer.find("nvme1n1"),
        Some(Named {
            bdf: nvme,
            namespace: Some(1)
        })
    );
    assert_eq!(
        computer.find(&nvme.to_string()),
        Some(Named {
            bdf: nvme,
            namespace: None
        })
    );
    for name in [
        "", "nvme7", "nvme1n2", "nvme1n0", "nvme1n01", "nvme1n+1", "nvme1n", "n1", "99:00.0", "switchn1",
    ] {
        assert_eq!(computer.find(name), None, "{name}");
    }
    assert_eq!(computer.call(nvme), "nvme1");
}

#[test]
fn a_changed_byte_shows_wherever_it_is() {
    let computer = shipped("two-ssds");
    let nvme = bdf(&computer, "nvme0");
    let ram = phys(0x1234_5678);
    let before = computer.state();
    computer.write_ram(ram, &[1, 2, 0, 3]).unwrap();
    computer
        .fill_bar_memory(nvme, 4, 4095..4097, Pattern::Poison(7))
        .unwrap();
    computer.write_namespace(nvme, 1, (1 << 30) - 1, &[8]).unwrap();
    let after = computer.state();
    let at = |area, first, last| Difference { area, first, last };
    let namespace = Area::Namespace { bdf: nvme, number: 1 };
    let bar = Area::Bar { bdf: nvme, bar: 4 };
    let expected = [
        at(Area::Ram, 0x1234_5678, 0x1234_5679),
        at(Area::Ram, 0x1234_567b, 0x1234_567b),
        at(bar, 4095, 4096),
        at(namespace, (1 << 30) - 1, (1 << 30) - 1),
    ];
    assert_eq!(before.differences(&after), expected);
    let same = before
        .with_bytes(Area::Ram, 0x1234_5678, &[1, 2, 0, 3])
        .with_bytes(bar, 4095, &[7, 7])
        .with_bytes(namespace, (1 << 30) - 1, &[8]);
    assert_eq!((&same, same.digest()), (&after, after.digest()));
    assert!(computer.write_namespace(nvme, 1, 1 << 30, &[8]).is_err());
    assert!(computer.write_namespace(nvme, 2, 0, &[8]).is_err());
    assert!(
        computer
            .fill_bar_memory(nvme, 4, (64 << 20) - 1..(64 << 20) + 1, Pattern::Poison(0))
            .is_err()
    );
    assert!(computer.read_bar_memory(nvme, 0, 0, &mut [0]).is_err());
}
