//! What failed reads leave in configuration spaces: at the requester, at the completer, and at ports between.

mod bench_machine;

use bench_machine::{Bench, blueprint};
use peerdma::addr::Bdf;
use peerdma_sim::device::{Abort, Card, Device, Outcome, Region, TransferId, Translation, Wire};
use peerdma_sim::fabric::{Where, Why, Width};
use peerdma_sim::file;
use peerdma_sim::machine::{Fate, Fault, FaultPlan, Gear, Machine, Options, RequestPlan, Turn};
use peerdma_sim::memory::Place;
use peerdma_sim::time::Time;
use peerdma_sim::tlp::{Access, AddressType, Failure};

// Status, and Secondary Status.
const MASTER_PARITY: u16 = 1 << 8;
const SIGNALED_TARGET_ABORT: u16 = 1 << 11;
const RECEIVED_TARGET_ABORT: u16 = 1 << 12;
const RECEIVED_MASTER_ABORT: u16 = 1 << 13;
const PARITY: u16 = 1 << 15;
// Device Status.
const CORRECTABLE: u16 = 1;
const NON_FATAL: u16 = 1 << 1;
const FATAL: u16 = 1 << 2;
const UNSUPPORTED_REQUEST: u16 = 1 << 3;
// Uncorrectable Error Status.
const POISONED: u32 = 1 << 12;
const TIMEOUT: u32 = 1 << 14;
const ABORT: u32 = 1 << 15;
const UNEXPECTED: u32 = 1 << 16;
const MALFORMED: u32 = 1 << 18;
const UNSUPPORTED: u32 = 1 << 20;
const ACS_VIOLATION: u32 = 1 << 21;

/// What the registers of a function tell of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Errors {
    status: u16,
    secondary: u16,
    device: u16,
    uncorrectable: u32,
}

fn express(machine: &mut Machine, bdf: Bdf) -> u16 {
    let mut at = machine.config_read(bdf, 0x34, Width::Byte) as u16;
    while at != 0 && machine.config_read(bdf, at, Width::Byte) != 0x10 {
        at = machine.config_read(bdf, at + 1, Width::Byte) as u16;
    }
    at
}

fn aer(machine: &mut Machine, bdf: Bdf) -> u16 {
    let mut at = 0x100;
    loop {
        match machine.config_read(bdf, at, Width::Dword) {
            // There is no extended space.
            u32::MAX => return 0,
            header if header & 0xffff == 1 => return at,
            header => at = (header >> 20) as u16,
        }
        if at == 0 {
            return 0;
        }
    }
}

fn errors(machine: &mut Machine, bdf: Bdf) -> Errors {
    const ERRORS: u16 = 0xf900;
    let mut word = |at| machine.config_read(bdf, at, Width::Word) as u16;
    let status = word(0x06) & ERRORS;
    let secondary = match word(0x0e) & 0x7f {
        1 => word(0x1e) & ERRORS,
        _ => 0,
    };
    let device = match express(machine, bdf) {
        0 => 0,
        at => machine.config_read(bdf, at + 0xa, Width::Word) as u16 & 0xf,
    };
    let uncorrectable = match aer(machine, bdf) {
        0 => 0,
        at => machine.config_read(bdf, at + 4, Width::Dword),
    };
    Errors {
        status,
        secondary,
        device,
        uncorrectable,
    }
}

const UR_AT_REQUESTER: Errors = Errors {
    status: RECEIVED_MASTER_ABORT,
    secondary: 0,
    device: 0,
    uncorrectable: 0,
};
const UR_AT_COMPLETER: Errors = Errors {
    status: 0,
    secondary: 0,
    device: CORRECTABLE | UNSUPPORTED_REQUEST,
    uncorrectable: UNSUPPORTED,
};
const TIMED_OUT: Errors = Errors {
    status: 0,
    secondary: 0,
    device: NON_FATAL,
    uncorrectable: TIMEOUT,
};
const NOTHING: Errors = Errors {
    status: 0,
    secondary: 0,
    device: 0,
    uncorrectable: 0,
};

/// The bridge directly above a function, by bus numbers.
fn above(machine: &Machine, bdf: Bdf) -> Bdf {
    let snapshot = machine.snapshot();
    let mut bridges = snapshot.functions().iter().filter(|function| {
        function.bdf.domain() == bdf.domain()
            && function
                .bridge()
                .is_some_and(|bridge| bridge.secondary == bdf.bus())
    });
    bridges.next().unwrap().bdf
}

fn bench(acs: &str, options: Options) -> Bench {
    Bench::new(&blueprint("off", acs, 256), options)
}

fn gears() -> [Options; 2] {
    [Gear::Tlp, Gear::Batched].map(|gear| Options {
        gear,
        ..Options::default()
    })
}

fn with_fault(fault: Fault) -> Options {
    Options {
        faults: FaultPlan {
            seed: 0,
            faults: vec![fault],
        },
        ..Options::default()
    }
}

fn fate(fate: Fate) -> Options {
    with_fault(Fault::Completion {
        from: None,
        to: None,
        turn: Turn::Nth(1),
        fate,
    })
}

/// Card 0 reads from a card, and has failed so.
fn read_fails(bench: &mut Bench, target: usize, failure: Failure) {
    let plan = bench.plan(0, Access::Read, bench.address(target, 0), 0, 256);
    let good_bytes = 0;
    assert_eq!(bench.run(&plan).1, Outcome::Failed { good_bytes, failure });
}

fn at(bench: &mut Bench, card: usize) -> Errors {
    let bdf = bench.cards[card];
    errors(&mut bench.machine, bdf)
}

/// Its registers refuse to be read, and count writes.
#[derive(Debug, Default)]
struct Stubborn {
    reads: u32,
    writes: u32,
    resets: u32,
}

impl Device for Stubborn {
    fn decode(&self, _: u8, _: u64) -> Region {
        Region::Registers
    }
    fn read_registers(&mut self, _: u8, _: u64, _: &mut [u8], _: &mut dyn Wire) -> Result<(), Abort> {
        self.reads += 1;
        Err(Abort)
    }
    fn write_registers(&mut self, _: u8, _: u64, _: &[u8], _: &mut dyn Wire) {
        self.writes += 1;
    }
    fn transfer_ended(&mut self, _: TransferId, _: Outcome, _: &mut dyn Wire) {}
    fn translation_ended(&mut self, _: TransferId, _: Option<Translation>, _: &mut dyn Wire) {}
    fn invalidate(&mut self, _: u64, _: u64) {}
    fn woken(&mut self, _: u64, _: &mut dyn Wire) {}
    fn reset(&mut self, _: &mut dyn Wire) {
        self.resets += 1;
    }
    fn fail(&mut self, _: &mut dyn Wire) {}
}

fn stubborn<R>(bench: &mut Bench, card: usize, look: impl FnOnce(&mut Stubborn) -> R) -> R {
    let bdf = bench.cards[card];
    bench
        .machine
        .with::<Stubborn, _>(bdf, |model, _| look(model))
        .unwrap()
}

#[test]
fn an_unsupported_read_is_a_master_abort_at_the_requester_and_an_error_at_the_completer() {
    for options in gears() {
        let mut bench = bench("CU", options);
        bench.machine.config_write(bench.cards[1], 0x04, Width::Word, 0x4);
        read_fails(&mut bench, 1, Failure::UnsupportedRequest);
        assert_eq!(at(&mut bench, 0), UR_AT_REQUESTER);
        assert_eq!(at(&mut bench, 1), UR_AT_COMPLETER);
    }
}

#[test]
fn a_completer_abort_is_signaled_by_the_completer_and_received_by_the_requester() {
    for options in gears() {
        let mut bench = bench("-", options);
        bench
            .machine
            .plug(bench.cards[1], Box::new(Stubborn::default()))
            .unwrap();
        read_fails(&mut bench, 1, Failure::CompleterAbort);
        let requester = Errors {
            status: RECEIVED_TARGET_ABORT,
            ..NOTHING
        };
        let completer = Errors {
            status: SIGNALED_TARGET_ABORT,
            device: CORRECTABLE,
            uncorrectable: ABORT,
            ..NOTHING
        };
        assert_eq!(at(&mut bench, 0), requester);
        assert_eq!(at(&mut bench, 1), completer);
    }
}

#[test]
fn a_port_that_forbids_a_read_signals_a_target_abort_on_its_secondary_side() {
    for options in gears() {
        let mut bench = bench("B", options);
        let mut plan = bench.plan(0, Access::Read, bench.address(1, 0), 0, 256);
        plan.address_type = AddressType::Translated;
        bench.run(&plan);
        let port = above(&bench.machine, bench.cards[0]);
        let requester = Errors {
            status: RECEIVED_TARGET_ABORT,
            ..NOTHING
        };
        let refuser = Errors {
            secondary: SIGNALED_TARGET_ABORT,
            device: CORRECTABLE,
            uncorrectable: ACS_VIOLATION,
            ..NOTHING
        };
        assert_eq!(at(&mut bench, 0), requester);
        assert_eq!(errors(&mut bench.machine, port), refuser);
    }
}

/// Where a lost completion leaves a mark, beside the timeout.
fn is_timeout(bench: &mut Bench, target: usize, marked: Option<(Bdf, u32)>) {
    let start = bench.machine.now();
    let plan = bench.plan(0, Access::Read, bench.address(target, 0), 0, 256);
    let transfer = bench.machine.request(&plan).unwrap();
    bench
        .machine
        .run_until(Time::from_ps(start.as_ps() + 40_000_000_000));
    assert_eq!(at(bench, 0), NOTHING, "the time is not over");
    bench.machine.run_until_idle();
    let (_, outcome) = bench.machine.take_outcome(transfer).unwrap();
    let failure = Failure::CompletionTimeout;
    let good_bytes = 0;
    assert_eq!(outcome, Outcome::Failed { good_bytes, failure });
    assert_eq!(at(bench, 0), TIMED_OUT);
    if let Some((place, bits)) = marked {
        assert_eq!(errors(&mut bench.machine, place).uncorrectable, bits);
    }
}

#[test]
fn a_completion_that_gets_lost_is_a_timeout_at_the_requester_wherever_that_was() {
    for options in gears() {
        // Redirected up into a root port that forwards nothing up.
        let mut lost = bench("C", options);
        let root = above(
            &lost.machine,
            above(&lost.machine, above(&lost.machine, lost.cards[1])),
        );
        is_timeout(&mut lost, 1, Some((root, UNEXPECTED)));
    }
    for options in gears() {
        // Larger than its receiver takes.
        let mut lost = bench("-", options);
        let card = lost.cards[0];
        let control = express(&mut lost.machine, card) + 8;
        let before = lost.machine.config_read(card, control, Width::Word);
        lost.machine
            .config_write(card, control, Width::Word, before & !0xe0);
        let plan = lost.plan(0, Access::Read, lost.address(1, 0), 0, 256);
        lost.run(&plan);
        let expected = Errors {
            device: NON_FATAL | FATAL,
            uncorrectable: TIMEOUT | MALFORMED,
            ..NOTHING
        };
        assert_eq!(at(&mut lost, 0), expected);
    }
    for options in gears() {
        // The root complex does not forward it.
        let mut blueprint = blueprint("off", "CU", 256);
        if let peerdma::fact::Fact::Known(bridges) = &mut blueprint.snapshot.host.bridges {
            bridges[0].forwarding = peerdma::fact::Fact::Known(peerdma::snapshot::Forwarding::Nothing);
        }
        let mut lost = Bench::new(&blueprint, options);
        is_timeout(&mut lost, 1, None);
        assert_eq!(lost.machine.losses().of(Why::NotForwarded).count(), 1);
    }
    // As a fault plan has it.
    is_timeout(&mut bench("-", fate(Fate::Lost)), 1, None);
}

#[test]
fn a_completer_whose_link_goes_down_meanwhile_is_not_asked_and_its_reader_waits_in_vain() {
    let below = bench("-", Options::default()).cards[2];
    for mut options in gears() {
        let at = Time::from_ps(100_000);
        options.faults = FaultPlan {
            seed: 0,
            faults: vec![Fault::LinkDown { below, at }],
        };
        let mut bench = bench("-", options);
        bench
            .machine
            .plug(bench.cards[2], Box::new(Stubborn::default()))
            .unwrap();
        is_timeout(&mut bench, 2, None);
        assert_eq!(stubborn(&mut bench, 2, |model| model.reads), 0);
    }
}

#[test]
fn a_poisoned_completion_is_a_parity_error_wherever_it_comes_in() {
    const PARITY_RESPONSE: u32 = 0x40;
    for response in [0, PARITY_RESPONSE] {
        let mut bench = bench("-", fate(Fate::Poisoned));
        bench
            .machine
            .config_write(bench.cards[0], 0x04, Width::Word, 0x6 | response);
        read_fails(&mut bench, 2, Failure::Poisoned);
        let requester = Errors {
            status: PARITY | if response == 0 { 0 } else { MASTER_PARITY },
            device: NON_FATAL,
            uncorrectable: POISONED,
            ..NOTHING
        };
        assert_eq!(at(&mut bench, 0), requester);
        assert_eq!(at(&mut bench, 2), NOTHING);
        let port = above(&bench.machine, bench.cards[2]);
        let passed = Errors {
            device: CORRECTABLE,
            uncorrectable: POISONED,
            ..NOTHING
        };
        let up = Errors {
            secondary: PARITY,
            ..passed
        };
        let down = Errors {
            status: PARITY,
            ..passed
        };
        assert_eq!(errors(&mut bench.machine, port), up);
        let port = above(&bench.machine, bench.cards[0]);
        assert_eq!(errors(&mut bench.machine, port), NOTHING, "it sends it on");
        let upstream_port = above(&bench.machine, port);
        assert_eq!(errors(&mut bench.machine, upstream_port), down);
    }
}

#[test]
fn a_timeout_is_as_bad_as_software_says() {
    const SEVERITY: u16 = 0xc;
    let mut bench = bench("-", fate(Fate::Lost));
    let card = bench.cards[0];
    let severity = aer(&mut bench.machine, card) + SEVERITY;
    let before = bench.machine.config_read(card, severity, Width::Dword);
    bench
        .machine
        .config_write(card, severity, Width::Dword, before | TIMEOUT);
    read_fails(&mut bench, 1, Failure::CompletionTimeout);
    let expected = Errors {
        device: FATAL,
        ..TIMED_OUT
    };
    assert_eq!(at(&mut bench, 0), expected);
    // Software clears what it has read.
    bench.machine.config_write(card, 0x06, Width::Word, 0xffff);
    let status = express(&mut bench.machine, card) + 0xa;
    bench.machine.config_write(card, status, Width::Word, 0xf);
    let status = severity - SEVERITY + 4;
    bench.machine.config_write(card, status, Width::Dword, u32::MAX);
    assert_eq!(errors(&mut bench.machine, card), NOTHING);
}

#[test]
fn a_function_that_is_reset_before_the_time_is_over_records_no_timeout() {
    let mut bench = bench("-", fate(Fate::Lost));
    let card = bench.cards[0];
    let plan = bench.plan(0, Access::Read, bench.address(1, 0), 0, 256);
    bench.machine.request(&plan).unwrap();
    let control = express(&mut bench.machine, card) + 8;
    bench.machine.config_write(card, control, Width::Word, 0x8000);
    bench.machine.run_until_idle();
    assert_eq!(errors(&mut bench.machine, card), NOTHING);
}

#[test]
fn a_translation_that_gets_no_answer_is_a_timeout_and_one_that_is_refused_an_abort() {
    for (acs, options, expected) in [
        ("-", fate(Fate::Lost), TIMED_OUT),
        ("-", Options::default(), UR_AT_REQUESTER),
    ] {
        let is_refused = expected == UR_AT_REQUESTER;
        let mut bench = Bench::new(&blueprint("translating", acs, 256), options);
        let card = bench.cards[0];
        if is_refused {
            // The port above forwards no requests.
            let port = above(&bench.machine, card);
            bench.machine.config_write(port, 0x04, Width::Word, 0x2);
        }
        bench
            .machine
            .with_device(card, |_, wire| wire.translate(0x1000, 4096, Access::Read));
        bench.machine.run_until_idle();
        assert_eq!(errors(&mut bench.machine, card), expected);
    }
}

const CONVENTIONAL: &str = include_str!("../../../machines/conventional.toml");

#[test]
fn the_bridge_of_a_conventional_bus_is_the_requester_of_what_comes_from_there() {
    let mut machine = Machine::new(&file::load(CONVENTIONAL).unwrap()).unwrap();
    let snapshot = machine.snapshot();
    let is_plain = |bdf: Bdf, machine: &mut Machine| express(machine, bdf) == 0;
    let card = (snapshot.functions().iter())
        .filter(|function| function.bridge().is_none() && function.bdf.bus() != 0)
        .map(|function| function.bdf)
        .find(|bdf| is_plain(*bdf, &mut machine))
        .unwrap();
    let mut bridge = above(&machine, card);
    while is_plain(bridge, &mut machine) {
        bridge = above(&machine, bridge);
    }
    let bank = machine.banks().add(4096);
    let local = Place { bank, offset: 0 };
    let plan = RequestPlan::new(card, Access::Read, 0x7fff_0000_0000, local, 4);
    let transfer = machine.request(&plan).unwrap();
    machine.run_until_idle();
    assert!(matches!(
        machine.take_outcome(transfer),
        Some((_, Outcome::Failed { .. }))
    ));
    assert_eq!(errors(&mut machine, bridge), UR_AT_REQUESTER);
    assert_eq!(errors(&mut machine, card), NOTHING);
}

#[test]
fn the_bridge_of_a_conventional_bus_passes_a_target_abort_on_and_keeps_a_master_abort() {
    let mut machine = Machine::new(&file::load(CONVENTIONAL).unwrap()).unwrap();
    let snapshot = machine.snapshot();
    let mut plain = snapshot.functions().iter().map(|function| function.bdf);
    let card = plain
        .find(|bdf| bdf.bus() != 0 && express(&mut machine, *bdf) == 0)
        .unwrap();
    let bridge = above(&machine, card);
    let id = machine.fabric().find(card).unwrap();
    let (phys, _) = machine.fabric().bar(id, 0).unwrap();
    let model = machine.plug(card, Box::new(Stubborn::default())).unwrap();
    machine.cpu_read(phys, &mut [0; 4]);
    let completer = Errors {
        status: SIGNALED_TARGET_ABORT,
        ..NOTHING
    };
    let between = Errors {
        status: SIGNALED_TARGET_ABORT,
        secondary: RECEIVED_TARGET_ABORT,
        ..NOTHING
    };
    assert_eq!(errors(&mut machine, card), completer);
    assert_eq!(errors(&mut machine, bridge), between);
    machine.plug(card, model).unwrap();
    machine.config_write(card, 0x04, Width::Word, 0);
    machine.config_write(bridge, 0x06, Width::Word, 0xffff);
    machine.config_write(bridge, 0x1e, Width::Word, 0xffff);
    machine.cpu_read(phys, &mut [0; 4]);
    let nobody = Errors {
        secondary: RECEIVED_MASTER_ABORT,
        ..UR_AT_COMPLETER
    };
    assert_eq!(errors(&mut machine, bridge), nobody);
}

#[test]
fn completions_of_a_card_break_at_128_bytes_and_those_of_ram_where_the_root_complex_breaks_them() {
    for (boundary, from_ram) in [(64, 2), (128, 3)] {
        let mut blueprint = blueprint("off", "-", 128);
        blueprint.nature.read_completion_boundary_bytes = boundary;
        for (target, completions) in [(Some(2), 3), (None, from_ram)] {
            let mut bench = Bench::new(&blueprint, Options::default());
            let address = match target {
                Some(card) => bench.address(card, 64),
                None => bench.ram_address(64),
            };
            bench.run(&bench.plan(0, Access::Read, address, 0, 192 + 64));
            let id = bench.machine.fabric().find(bench.cards[0]).unwrap();
            let link = bench.machine.fabric().function(id).link_above.unwrap();
            let carried = bench.machine.counters().links[link.index()];
            assert_eq!(carried.down.tlps(), completions, "{boundary} {target:?}");
        }
    }
}

#[test]
fn what_ram_refuses_is_refused_by_the_host_bridge_that_it_came_through() {
    const TWO: &str = r#"
iommu = "off"
ram = [{ from = 0, size = 0x10040 }]
[[bridge]]
[[bridge.port]]
link = "gen4 x16"
device = { kind = "card", bar = [{ size = "1 MiB" }] }
[[bridge]]
domain = 1
bus = 0x40
[[bridge.port]]
link = "gen4 x16"
device = { kind = "card", bar = [{ size = "1 MiB" }] }
"#;
    for (card, domain, bus) in [(0, 0, 0), (1, 1, 0x40)] {
        for access in [Access::Read, Access::Write] {
            let mut bench = Bench::new(&file::load(TWO).unwrap(), Options::default());
            // One packet over the end of RAM.
            let plan = bench.plan(card, access, 0x10000, 0, 128);
            bench.run(&plan);
            let places: Vec<Where> = bench.machine.losses().iter().map(|lost| lost.loss.at).collect();
            assert_eq!(places, [Where::HostBridge { domain, bus }], "{access:?}");
        }
    }
}

#[test]
fn a_write_under_way_to_a_device_that_is_taken_out_vanishes() {
    let device = bench("-", Options::default()).cards[1];
    for mut options in gears() {
        let at = Time::from_ps(20_000);
        options.faults = FaultPlan {
            seed: 0,
            faults: vec![Fault::Removed { device, at }],
        };
        let mut bench = bench("-", options);
        bench.machine.plug(device, Box::new(Stubborn::default())).unwrap();
        bench.run(&bench.plan(0, Access::Write, bench.address(1, 0), 0, 64));
        assert!(bench.machine.now() > at);
        assert_eq!(stubborn(&mut bench, 1, |model| model.writes), 0);
        assert_eq!(bench.machine.losses().of(Why::LinkDown).count(), 1);
    }
}

#[test]
fn a_bus_reset_reaches_what_hangs_below_the_bridge_whatever_its_bus_numbers_say() {
    let mut bench = bench("-", Options::default());
    for card in [0, 2] {
        let bdf = bench.cards[card];
        bench.machine.plug(bdf, Box::new(Stubborn::default())).unwrap();
    }
    let root = above(
        &bench.machine,
        above(&bench.machine, above(&bench.machine, bench.cards[0])),
    );
    // Bus numbers of the cards below the other root port.
    let other = bench.cards[2].bus();
    let numbers = u32::from(other) << 8 | u32::from(other) << 16;
    bench.machine.config_write(root, 0x18, Width::Dword, numbers);
    bench.machine.config_write(root, 0x3e, Width::Word, 0x40);
    assert_eq!(stubborn(&mut bench, 0, |model| model.resets), 1);
    assert_eq!(stubborn(&mut bench, 2, |model| model.resets), 0);
    let card = bench.cards[0];
    assert_eq!(bench.machine.config_read(card, 0x10, Width::Dword) & !0xf, 0);
}

#[test]
fn interrupts_that_nobody_takes_do_not_pile_up_without_end() {
    let mut bench = bench("-", Options::default());
    let card = bench.cards[0];
    let most = Machine::MOST_INTERRUPTS;
    bench.machine.with::<Card, _>(card, |_, wire| {
        for vector in 0..most + 10 {
            wire.interrupt(vector as u16);
        }
    });
    bench.machine.run_until_idle();
    assert_eq!(bench.machine.counters().dropped_interrupts, 10);
    let kept = bench.machine.take_interrupts();
    assert_eq!((kept.len(), kept[0].vector), (most, 0));
    bench.machine.with::<Card, _>(card, |_, wire| wire.interrupt(1));
    bench.machine.run_until_idle();
    assert_eq!(bench.machine.take_interrupts().len(), 1);
    assert_eq!(bench.machine.counters().dropped_interrupts, 10);
}
