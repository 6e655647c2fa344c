//! What stays in order, and what does not.

mod bench_machine;

use bench_machine::{Bench, blueprint};
use peerdma_sim::machine::{Gear, Options};
use peerdma_sim::memory::Place;
use peerdma_sim::time::Time;
use peerdma_sim::tlp::Access;

/// Card 0 writes data to a peer (or to RAM) and then a completion entry to RAM. Is there a time at which the entry is
/// there and the data is not?
fn entry_comes_first(seed: u64, jitter_ps: u64, is_one_path: bool) -> bool {
    let mut blueprint = blueprint("off", "-", 256);
    blueprint.nature.jitter_ps = jitter_ps;
    let options = Options {
        gear: Gear::Batched,
        seed: Some(seed),
        ..Options::default()
    };
    let mut bench = Bench::new(&blueprint, options);
    let data = [0x11; 512];
    bench.fill(0, 0, &data);
    let target = match is_one_path {
        true => bench.ram_address(8192),
        false => bench.address(2, 0),
    };
    let plans = [
        bench.plan(0, Access::Write, target, 0, 512),
        bench.plan(0, Access::Write, bench.ram_address(0), 0, 16),
    ];
    for plan in plans {
        bench.machine.request(&plan).unwrap();
    }
    let ram_phys = bench.ram_phys;
    for step in 1..4000 {
        bench.machine.run_until(Time::from_ps(step * 2_000));
        let entry = read_ram(&mut bench, ram_phys, 16);
        let data = match is_one_path {
            true => read_ram(&mut bench, ram_phys + 8192, 512),
            false => bench.read(2, 0, 512),
        };
        if entry[15] == 0x11 && data[511] != 0x11 {
            return true;
        }
    }
    false
}

/// RAM as it is at this moment: a processor's load would take time. The first bank is that of the first RAM.
fn read_ram(bench: &mut Bench, phys: u64, len: usize) -> Vec<u8> {
    let place: Place = bench.machine.ram_place(phys).unwrap();
    let mut found = vec![0; len];
    bench.machine.banks().read(place, &mut found).unwrap();
    found
}

#[test]
fn a_completion_entry_in_ram_may_come_before_data_for_a_peer() {
    assert!((0..20).any(|seed| entry_comes_first(seed, 2_000_000, false)));
}

#[test]
fn on_one_path_an_entry_never_comes_before_the_data() {
    for seed in 0..20 {
        assert!(!entry_comes_first(seed, 2_000_000, true), "seed {seed}");
    }
}

#[test]
fn a_completion_pushes_posted_writes_before_it() {
    // Card 0 writes to RAM; a load from card 0's memory that was asked for then brings its answer up the same path.
    for seed in 0..20 {
        let mut blueprint = blueprint("off", "-", 256);
        blueprint.nature.jitter_ps = 2_000_000;
        let options = Options {
            seed: Some(seed),
            ..Options::default()
        };
        let mut bench = Bench::new(&blueprint, options);
        bench.fill(0, 0, &[0x22; 256]);
        let plan = bench.plan(0, Access::Write, bench.ram_address(0), 0, 256);
        bench.machine.request(&plan).unwrap();
        let mut found = [0; 4];
        let phys = bench.phys[0];
        bench.machine.cpu_read(phys, &mut found);
        assert_eq!(found, [0x22; 4]);
        let ram_phys = bench.ram_phys;
        assert_eq!(read_ram(&mut bench, ram_phys, 256), [0x22; 256], "seed {seed}");
    }
}
