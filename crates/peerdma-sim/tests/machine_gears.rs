//! Both gears give the same times, outcomes, counters, losses and memory, whatever is asked for.

mod bench_machine;

use bench_machine::{Bench, CARD_BYTES, blueprint, pattern};
use peerdma_sim::device::{Outcome, Purpose};
use peerdma_sim::fabric::Width;
use peerdma_sim::machine::{Counters, Fate, Fault, FaultPlan, Gear, LostTlp, Machine, Options, Turn};
use peerdma_sim::time::Time;
use peerdma_sim::tlp::{Access, Ordering};
use proptest::prelude::*;

/// As much of each memory is used and compared.
const USED_BYTES: u64 = 2 << 20;

#[derive(Debug, Clone)]
struct Wish {
    card: usize,
    access: Access,
    /// A card; the one behind the last is RAM, then nothing.
    target: usize,
    offset: u64,
    local: u64,
    len_bytes: u64,
    ordering: Ordering,
    purpose: Purpose,
    /// Picoseconds until the next wish.
    pause_ps: u64,
}

fn wish() -> impl Strategy<Value = Wish> {
    let len_bytes = prop_oneof![
        0..600u64,
        0..20_000u64,
        100_000..500_000u64,
        500_000..3_000_000u64
    ];
    let small = || prop_oneof![Just(0u64), 0..5000u64, 0..USED_BYTES / 4];
    (
        0..4usize,
        prop_oneof![Just(Access::Read), Just(Access::Write)],
        prop_oneof![9 => 0..5usize, 1 => Just(5usize), 1 => Just(6usize)],
        small(),
        small(),
        len_bytes,
        prop_oneof![3 => Just(Ordering::Strict), 1 => Just(Ordering::Relaxed)],
        prop_oneof![Just(Purpose::Payload), Just(Purpose::Queue)],
        prop_oneof![Just(0u64), 0..1_000_000u64, 0..30_000_000u64],
    )
        .prop_map(
            |(card, access, target, offset, local, len_bytes, ordering, purpose, pause_ps)| Wish {
                card,
                access,
                target,
                offset,
                local,
                len_bytes,
                ordering,
                purpose,
                pause_ps,
            },
        )
}

fn fault() -> impl Strategy<Value = Option<(usize, u8, u64)>> {
    proptest::option::of((0..4usize, 0..3u8, 0..20_000_000u64))
}

#[derive(Debug, PartialEq)]
struct Seen {
    outcomes: Vec<Option<(Time, Outcome)>>,
    counters: Counters,
    losses: Vec<LostTlp>,
    loss_count: u64,
    refused: u64,
    end: Time,
    /// Configuration space of each function: Status, AER and the like are in it.
    spaces: Vec<u64>,
    /// Of each memory, at each look.
    memory: Vec<u64>,
}

fn hash(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(7, |hash: u64, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (hash ^ u64::from_le_bytes(word))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    })
}

fn spaces(bench: &Bench) -> Vec<u64> {
    let fabric = bench.machine.fabric();
    let space = |function| {
        let dwords = (0..4096u16).step_by(4);
        let bytes: Vec<u8> = dwords
            .flat_map(|at| fabric.config_read(function, at, Width::Dword).to_le_bytes())
            .collect();
        hash(&bytes)
    };
    fabric.functions().map(space).collect()
}

fn look(bench: &mut Bench, memory: &mut Vec<u64>) {
    for card in 0..4 {
        let bytes = bench.read(card, 0, USED_BYTES as usize);
        memory.push(hash(&bytes));
    }
    let place = bench.machine.ram_place(bench.ram_phys).unwrap();
    let mut bytes = vec![0; USED_BYTES as usize];
    bench.machine.banks().read(place, &mut bytes).unwrap();
    memory.push(hash(&bytes));
}

fn run(
    gear: Gear,
    setting: (bool, bool, u32, u64),
    wishes: &[Wish],
    faults: &FaultPlan,
    look_ps: u64,
    end: fn(&mut Machine),
) -> Seen {
    let (is_translating, redirects, payload_bytes, jitter_ps) = setting;
    let iommu = if is_translating { "translating" } else { "off" };
    let mut blueprint = blueprint(iommu, if redirects { "VRCU" } else { "V" }, payload_bytes);
    blueprint.nature.jitter_ps = jitter_ps;
    blueprint.nature.completion_timeout_ps = 40_000_000;
    let options = Options {
        gear,
        faults: faults.clone(),
        ..Options::default()
    };
    let mut bench = Bench::new(&blueprint, options);
    for card in 0..4 {
        bench.fill(card, 0, &pattern(card as u8, USED_BYTES as usize));
    }
    let mut memory = Vec::new();
    let mut transfers = Vec::new();
    let mut next_look_ps = look_ps;
    for wish in wishes {
        let address = match wish.target {
            4 => bench.ram_address(wish.offset),
            5 => bench.ram_address(CARD_BYTES - 70_000 + wish.offset % 70_000),
            6 => bench.address(3, CARD_BYTES / 2) + (1 << 45),
            card => bench.address(card, wish.offset),
        };
        let mut plan = bench.plan(wish.card, wish.access, address, wish.local, wish.len_bytes);
        (plan.ordering, plan.purpose) = (wish.ordering, wish.purpose);
        transfers.push(bench.machine.request(&plan).unwrap());
        let until = bench.machine.now().after_ps(wish.pause_ps);
        while next_look_ps < until.as_ps() {
            bench.machine.run_until(Time::from_ps(next_look_ps));
            look(&mut bench, &mut memory);
            next_look_ps += look_ps;
        }
        bench.machine.run_until(until);
    }
    end(&mut bench.machine);
    look(&mut bench, &mut memory);
    Seen {
        outcomes: transfers
            .iter()
            .map(|transfer| bench.machine.take_outcome(*transfer))
            .collect(),
        counters: bench.machine.counters(),
        losses: bench.machine.losses().iter().copied().collect(),
        loss_count: bench.machine.losses().count(),
        refused: bench.machine.refused_writes().0,
        end: bench.machine.now(),
        spaces: spaces(&bench),
        memory,
    }
}

fn plan_of(fault: Option<(usize, u8, u64)>) -> FaultPlan {
    let Some((card, kind, at_ps)) = fault else {
        return FaultPlan::default();
    };
    let machine = Bench::new(&blueprint("off", "-", 256), Options::default());
    let device = machine.cards[card];
    let at = Time::from_ps(at_ps);
    let fault = match kind {
        0 => Fault::Removed { device, at },
        1 => Fault::LinkDown { below: device, at },
        _ => Fault::Completion {
            from: None,
            to: Some(device),
            turn: Turn::Nth(at_ps % 50),
            fate: Fate::Poisoned,
        },
    };
    FaultPlan {
        seed: 0,
        faults: vec![fault],
    }
}

fn payload_bytes() -> impl Strategy<Value = u32> {
    prop_oneof![Just(128u32), Just(256), Just(512)]
}

fn jitter_ps() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0u64), 1 => 0..3_000_000u64]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 24 } else { 1000 }))]

    #[test]
    fn both_gears_give_the_same(
        setting in (any::<bool>(), any::<bool>(), payload_bytes(), jitter_ps()),
        wishes in proptest::collection::vec(wish(), 1..8),
        fault in fault(),
        look_ps in 3_000_000..40_000_000u64,
    ) {
        let faults = plan_of(fault);
        let single = run(Gear::Tlp, setting, &wishes, &faults, look_ps, Machine::run_until_idle);
        let batched = run(Gear::Batched, setting, &wishes, &faults, look_ps, Machine::run_until_idle);
        prop_assert_eq!(single, batched);
    }

    #[test]
    fn step_by_step_all_ends_as_at_once(
        setting in (any::<bool>(), any::<bool>(), payload_bytes(), jitter_ps()),
        wishes in proptest::collection::vec(wish(), 1..8),
        fault in fault(),
    ) {
        let faults = plan_of(fault);
        let at_once = run(Gear::Tlp, setting, &wishes, &faults, 40_000_000, Machine::run_until_idle);
        let in_steps = run(Gear::Tlp, setting, &wishes, &faults, 40_000_000, |machine| while machine.step() {});
        prop_assert_eq!(at_once, in_steps);
    }
}
