//! Functions: registers, bus mastering, resets, removal; and time.

use crate::driver::{Driver, Failed, PAGE_BYTES, Reach};
use crate::{SHIPPED, bdf, blueprint, machine, open, reach, shipped};
use peerdma::addr::{Address, PhysAddr};
use peerdma::device::{BusMaster, DeviceError, Function, Host, Mmio, Presence};
use peerdma_sim::host::{Area, Computer, Pattern, Step};
use peerdma_sim::machine::{Fault, FaultPlan, Gear, Options};
use peerdma_sim::time::Time;

#[test]
fn a_driver_that_knows_only_the_traits_works_on_every_machine_and_leaves_nothing_behind() {
    for name in SHIPPED {
        let computer = shipped(name);
        let nvme = bdf(&computer, "nvme0");
        computer
            .fill_namespace(nvme, 1, 0..1 << 20, Pattern::Seeded(7))
            .unwrap();
        let before = computer.state();
        let counters = computer.counters();
        let mut driver = open(&computer, "nvme0");
        let model = driver.identify(0, 1).unwrap();
        assert!(
            model[24..64].iter().all(u8::is_ascii_graphic) || model[24..64].contains(&b' '),
            "{name}"
        );
        assert_eq!(
            driver.identify(1, 0).unwrap()[..8],
            (1u64 << 21).to_le_bytes(),
            "{name}"
        );
        driver.add_io_queues().unwrap();
        let (phys, dma) = driver.page(1).unwrap();
        driver.read_blocks(16, 8, dma).unwrap();
        let (mut found, mut expected) = ([0; 4096], [0; 4096]);
        computer.read_ram(phys, &mut found).unwrap();
        Pattern::Seeded(7).fill(16 * 512, &mut expected);
        assert_eq!(found, expected, "{name}");
        let traffic = computer.traffic(&counters);
        assert_eq!(traffic.ram_payload_bytes, 3 * 4096, "{name}");
        assert!(
            traffic.ram_queue_bytes > 0 && traffic.ram_queue_bytes < 4096,
            "{name}"
        );
        driver.close();
        let after = computer.state();
        assert_eq!(before.differences(&after), [], "{name}");
        assert_eq!(
            (after.mappings().len(), after.allocations().len()),
            (0, 0),
            "{name}"
        );
        assert_eq!((before.digest(), &before), (after.digest(), &after), "{name}");
    }
}

#[test]
fn what_a_completion_entry_follows_is_there_whatever_the_delays() {
    let blueprint = blueprint("gpu-box");
    for seed in 0..20 {
        for gear in [Gear::Tlp, Gear::Batched] {
            let mut blueprint = blueprint.clone();
            blueprint.nature.jitter_ps = 2_000_000;
            let options = Options {
                gear,
                seed: Some(seed),
                ..Options::default()
            };
            let computer = Computer::new(&blueprint, options).unwrap();
            let nvme = bdf(&computer, "nvme0");
            (computer.fill_namespace(nvme, 1, 0..1 << 16, Pattern::Seeded(seed))).unwrap();
            let mut driver = open(&computer, "nvme0");
            driver.add_io_queues().unwrap();
            let (phys, dma) = driver.page(1).unwrap();
            for block in 0..20 {
                driver.read_blocks(block, 8, dma).unwrap();
                let (mut found, mut expected) = ([0; 4096], [0; 4096]);
                computer.read_ram(phys, &mut found).unwrap();
                Pattern::Seeded(seed).fill(u64::from(block) * 512, &mut expected);
                assert_eq!(found, expected, "{seed}");
            }
        }
    }
}

#[test]
fn a_reset_ends_all_and_keeps_addresses_but_not_bus_mastering() {
    let computer = shipped("offset-bridge");
    let mut driver = open(&computer, "nvme0");
    driver.add_io_queues().unwrap();
    let (phys, dma) = driver.page(1).unwrap();
    let bar = driver.function.bar(0);
    driver.submit(1, 2, 1, dma, [0, 0, 7]).unwrap();
    driver.function.reset().unwrap();
    assert_eq!(driver.function.bar(0), bar);
    let registers = driver.function.registers(0).unwrap();
    assert_eq!((registers.read32(0x1c), registers.read32(0x14)), (0, 0));
    assert_eq!(driver.complete(1), Err(Failed::TimeOut));
    let mut found = [0; 4096];
    computer.read_ram(phys, &mut found).unwrap();
    assert_eq!(found, [0; 4096]);
    // Without bus mastering it gets nowhere.
    let is_master = computer.with(|machine| {
        let fabric = machine.fabric();
        let id = fabric.find(driver.function.bdf()).unwrap();
        fabric.function(id).bus_master
    });
    assert!(!is_master);
    registers.write32(0x24, 7 << 16 | 7);
    registers.write32(0x14, 4 << 20 | 6 << 16 | 1);
    for _ in 0..100 {
        computer.relax();
    }
    assert_eq!(registers.read32(0x1c), 1);
    assert_eq!(driver.command(0, 6, 0, dma, [1, 0, 0]), Err(Failed::TimeOut));
}

#[test]
fn bus_mastering_is_switched_and_nothing_else() {
    let computer = shipped("two-ssds");
    let function = computer.function(bdf(&computer, "nvme0")).unwrap();
    let registers = function.registers(0).unwrap();
    let version = registers.read32(8);
    for to in [BusMaster::Off, BusMaster::On, BusMaster::On, BusMaster::Off] {
        function.set_bus_master(to).unwrap();
        let is_on = computer.with(|machine| {
            let id = machine.fabric().find(function.bdf()).unwrap();
            machine.fabric().function(id).bus_master
        });
        assert_eq!(is_on, to == BusMaster::On);
        assert_eq!(registers.read32(8), version);
    }
}

#[test]
fn registers_take_whole_aligned_accesses_within_the_bar_and_no_other() {
    let computer = shipped("two-ssds");
    let function = computer.function(bdf(&computer, "nvme0")).unwrap();
    let registers = function.registers(0).unwrap();
    assert_eq!(registers.len_bytes(), 16 << 10);
    let both = u64::from(registers.read32(4)) << 32 | u64::from(registers.read32(0));
    assert_eq!(registers.read64(0), both);
    registers.write64(0x28, 0x1234_5678_9000);
    assert_eq!(registers.read64(0x28), 0x1234_5678_9000);
    for offset in [2, 1 << 14, u64::MAX - 3, u64::MAX - 7] {
        assert_eq!(registers.read32(offset), u32::MAX);
        registers.write32(offset, 0);
    }
    assert_eq!(registers.read64(4), u64::MAX);
    assert!(matches!(
        function.registers(1),
        Err(DeviceError::NoSuchBar { bar: 1 })
    ));
    assert!(function.registers(200).is_err());
    assert!(
        computer
            .function(peerdma::addr::Bdf::from_devfn(0, 99, 0))
            .is_none()
    );
}

#[test]
fn a_removed_device_reads_as_all_ones_and_says_so() {
    let nvme = bdf(&shipped("two-ssds"), "nvme0");
    let at = Time::from_ps(300_000_000_000);
    let faults = FaultPlan {
        faults: vec![Fault::Removed { device: nvme, at }],
        ..FaultPlan::default()
    };
    let options = Options {
        faults,
        ..Options::default()
    };
    let computer = Computer::new(&blueprint("two-ssds"), options).unwrap();
    let mut driver = open(&computer, "nvme0");
    let registers = driver.function.registers(0).unwrap();
    assert_eq!(driver.function.presence(), Presence::Present);
    let mut rounds = 0;
    while driver.function.presence() == Presence::Present {
        rounds += 1;
        assert!(rounds < 1000);
        computer.relax();
    }
    assert_eq!(
        (registers.read32(0x1c), registers.read64(0)),
        (u32::MAX, u64::MAX)
    );
    registers.write32(0x14, 0);
    let function = &driver.function;
    assert_eq!(function.reset(), Err(DeviceError::Removed));
    assert_eq!(function.set_bus_master(BusMaster::Off), Err(DeviceError::Removed));
    assert!(matches!(function.registers(0), Err(DeviceError::Removed)));
    assert_eq!(driver.identify(0, 1), Err(Failed::TimeOut));
}

#[test]
fn a_conventional_function_cannot_be_reset_and_a_refused_reset_is_told() {
    let computer = shipped("conventional");
    let card = computer.function(bdf(&computer, "card0")).unwrap();
    assert_eq!(card.reset(), Err(DeviceError::NoReset));
    let nvme = computer.function(bdf(&computer, "nvme0")).unwrap();
    computer.refuse(Step::Reset, 1);
    assert_eq!(nvme.reset(), Err(DeviceError::NoReset));
    assert_eq!(nvme.reset(), Ok(()));
}

#[test]
fn time_goes_on_for_who_waits_in_small_steps_first_and_never_back() {
    let computer = shipped("two-ssds");
    let mut before = computer.now_ns();
    let mut longest = 0;
    for round in 0..2000 {
        computer.relax();
        let now = computer.now_ns();
        assert!(now > before);
        longest = longest.max(now - before);
        assert!(round > 2 || now - before <= 8_000);
        before = now;
    }
    assert_eq!(longest, 1_000_000);
}

#[test]
fn what_lands_is_seen_soon_although_nothing_else_happens() {
    // From the doorbell to the completion entry takes what its parts take; the next event is far away.
    let device = bdf(&shipped("two-ssds"), "nvme1");
    let at = Time::from_ps(1_000_000_000_000);
    let faults = FaultPlan {
        faults: vec![Fault::BreaksDown { device, at }],
        ..FaultPlan::default()
    };
    let options = Options {
        faults,
        ..Options::default()
    };
    let computer = Computer::new(&blueprint("two-ssds"), options).unwrap();
    let mut driver = open(&computer, "nvme0");
    driver.add_io_queues().unwrap();
    let (_, dma) = driver.page(1).unwrap();
    for round in 0..200 {
        let before = computer.now_ns();
        let opcode = 1 + round % 2;
        driver.command(1, opcode, 1, dma, [round, 0, round % 8]).unwrap();
        let took_ns = computer.now_ns() - before;
        assert!((4_000..12_000).contains(&took_ns), "{round}: {took_ns}");
    }
}

#[test]
fn an_offset_bridge_adds_to_what_comes_up_and_the_driver_subtracts_it() {
    let computer = machine(
        r#"
        ram = [{ from = 0x4000000000, size = "1 GiB" }]
        [[bridge]]
        inbound-offset = "256 GiB"
        port = { device = { kind = "nvme", name = "nvme0" } }
        "#,
    );
    let nvme = bdf(&computer, "nvme0");
    assert_eq!(computer.initiator(nvme).unwrap().inbound_offset, 256 << 30);
    computer
        .fill_namespace(nvme, 1, 0..4096, Pattern::Poison(0x5a))
        .unwrap();
    let mut driver = open(&computer, "nvme0");
    driver.add_io_queues().unwrap();
    let (phys, dma) = driver.page(1).unwrap();
    assert_eq!(phys.to_u64() - dma, 256 << 30);
    let expected = computer
        .state()
        .with_bytes(Area::Ram, phys.to_u64() + 512, &[0x5a; 512]);
    driver.read_blocks(0, 1, dma + 512).unwrap();
    let found = computer.state();
    let elsewhere = expected.differences(&found);
    // Only the queues differ from what was expected.
    assert!(
        elsewhere
            .iter()
            .all(|one| one.first < phys.to_u64() || one.first >= phys.to_u64() + PAGE_BYTES)
    );
    // A driver that forgets the offset is lost.
    let function = computer.function(nvme).unwrap();
    let wrong = Driver::open(function, computer.clone(), Reach::Direct { inbound_offset: 0 });
    let mut wrong = wrong.unwrap();
    assert_eq!(wrong.identify(0, 1), Err(Failed::TimeOut));
    assert_eq!(
        computer.read_ram(PhysAddr::from_u64(0x1000), &mut [0; 4]),
        Err(DeviceError::NoSuchMemory {
            at: PhysAddr::from_u64(0x1000)
        })
    );
}

#[test]
fn a_driver_that_cannot_map_its_memory_learns_it() {
    let computer = shipped("two-sockets");
    let nvme = bdf(&computer, "nvme0");
    computer.refuse(Step::Map, 2);
    let function = computer.function(nvme).unwrap();
    let opened = Driver::open(function, computer.clone(), reach(&computer, nvme));
    assert!(matches!(opened, Err(Failed::Device(DeviceError::System(12)))));
    assert_eq!(computer.attempts(Step::Map), 2);
    // With the address space its mappings went.
    assert_eq!(computer.state().mappings(), []);
    open(&computer, "nvme0").close();
}
