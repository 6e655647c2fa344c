//! Models on their wires: registers, interrupts, translations, resets, faults; and the trace.

mod bench_machine;

use bench_machine::{Bench, CARD_BYTES, IOVA, blueprint};
use peerdma_sim::device::{
    Abort, Device, Direction, Outcome, Purpose, Region, Transfer, TransferId, Translation, Wire,
};
use peerdma_sim::fabric::{IoasId, Rights, Width};
use peerdma_sim::machine::{Fate, Fault, FaultPlan, Lines, Options, RequestPlan, Sink, Turn};
use peerdma_sim::memory::Place;
use peerdma_sim::time::Time;
use peerdma_sim::tlp::{Access, AddressType, Failure, Ordering};
use std::sync::{Arc, Mutex};

/// Registers only. A write of an address to register 0 makes it write 64 bytes there, raise an interrupt and ask for a
/// translation of that address; register 8 counts resets, register 16 refuses.
#[derive(Debug)]
struct Model {
    memory: Place,
    outcomes: Vec<Outcome>,
    found: Vec<Option<Translation>>,
    invalidated: Vec<(u64, u64)>,
    resets: u8,
    failures: u8,
}

impl Device for Model {
    fn decode(&self, _: u8, offset: u64) -> Region {
        match offset < 4096 {
            true => Region::Registers,
            false => Region::Nothing,
        }
    }

    fn read_registers(&mut self, _: u8, offset: u64, data: &mut [u8], _: &mut dyn Wire) -> Result<(), Abort> {
        if offset == 16 {
            return Err(Abort);
        }
        data.fill(self.resets);
        Ok(())
    }

    fn write_registers(&mut self, _: u8, offset: u64, data: &[u8], wire: &mut dyn Wire) {
        let Ok(bytes) = <[u8; 8]>::try_from(data) else {
            return;
        };
        let address = u64::from_le_bytes(bytes);
        if offset == 0 {
            wire.start(Transfer {
                direction: Direction::Out,
                address,
                local: self.memory,
                len_bytes: 64,
                address_type: AddressType::Untranslated,
                ordering: Ordering::Strict,
                purpose: Purpose::Queue,
            });
            wire.interrupt(7);
            wire.translate(address, 1 << 20, Access::Read);
        }
    }

    fn transfer_ended(&mut self, _: TransferId, outcome: Outcome, _: &mut dyn Wire) {
        self.outcomes.push(outcome);
    }

    fn translation_ended(&mut self, _: TransferId, found: Option<Translation>, _: &mut dyn Wire) {
        self.found.push(found);
    }

    fn invalidate(&mut self, iova: u64, len: u64) {
        self.invalidated.push((iova, len));
    }

    fn woken(&mut self, _: u64, _: &mut dyn Wire) {}

    fn reset(&mut self, _: &mut dyn Wire) {
        self.resets += 1;
    }

    fn fail(&mut self, _: &mut dyn Wire) {
        self.failures += 1;
    }
}

/// A machine whose card 0 is a [`Model`] with 64 bytes of 0x5a to send.
fn modelled(options: Options) -> Bench {
    let mut bench = Bench::new(&blueprint("translating", "VRCU", 256), options);
    let memory = Place {
        bank: bench.machine.banks().add(4096),
        offset: 0,
    };
    bench.machine.banks().write(memory, &[0x5a; 64]).unwrap();
    let model = Model {
        memory,
        outcomes: Vec::new(),
        found: Vec::new(),
        invalidated: Vec::new(),
        resets: 0,
        failures: 0,
    };
    bench.machine.plug(bench.cards[0], Box::new(model)).unwrap();
    bench
}

fn model<R>(bench: &mut Bench, look: impl FnOnce(&mut Model) -> R) -> R {
    let card = bench.cards[0];
    bench
        .machine
        .with::<Model, _>(card, |model, _| look(model))
        .unwrap()
}

fn ring(bench: &mut Bench, address: u64) {
    let phys = bench.phys[0];
    bench.machine.cpu_write(phys, &address.to_le_bytes());
    bench.machine.run_until_idle();
}

#[test]
fn the_processor_reads_and_writes_ram_and_cards_and_waits_for_the_answer() {
    let mut bench = Bench::new(&blueprint("off", "-", 256), Options::default());
    let data: Vec<u8> = (0..200).collect();
    let (ram, card) = (bench.ram_phys + 3, bench.phys[2] + 5);
    for phys in [ram, card] {
        bench.machine.cpu_write(phys, &data);
        let before = bench.machine.now();
        let mut found = vec![0; 200];
        bench.machine.cpu_read(phys, &mut found);
        assert_eq!(found, data);
        assert!(bench.machine.now() > before);
    }
    assert_eq!(bench.read(2, 5, 200), data);
    // Nobody is there.
    let mut found = [0; 8];
    let nowhere = bench.phys[2] + (1 << 44);
    bench.machine.cpu_read(nowhere, &mut found);
    assert_eq!(found, [0xff; 8]);
}

#[test]
fn registers_are_read_and_written_and_a_refusal_reads_as_all_ones() {
    let mut bench = modelled(Options::default());
    let phys = bench.phys[0];
    let mut found = [1; 4];
    bench.machine.cpu_read(phys + 8, &mut found);
    assert_eq!(found, [0; 4]);
    bench.machine.cpu_read(phys + 16, &mut found);
    assert_eq!(found, [0xff; 4]);
    // A peer that reads it learns why.
    let place = bench.place(1, 0);
    let plan = |offset| RequestPlan::new(bench.cards[1], Access::Read, IOVA + offset, place, 4);
    let (refused, nothing) = (plan(16), plan(8192));
    let failed = |failure| Outcome::Failed {
        good_bytes: 0,
        failure,
    };
    assert_eq!(bench.run(&refused).1, failed(Failure::CompleterAbort));
    assert_eq!(bench.run(&nothing).1, failed(Failure::UnsupportedRequest));
}

#[test]
fn an_interrupt_comes_behind_the_data_that_left_before() {
    let mut bench = modelled(Options::default());
    let address = bench.ram_address(0);
    ring(&mut bench, address);
    let interrupts = bench.machine.take_interrupts();
    assert_eq!(interrupts.len(), 1);
    assert_eq!(
        (interrupts[0].vector, interrupts[0].requester),
        (7, bench.cards[0])
    );
    let mut found = [0; 64];
    let phys = bench.ram_phys;
    bench.machine.cpu_read(phys, &mut found);
    assert_eq!(found, [0x5a; 64]);
    assert_eq!(model(&mut bench, |model| model.outcomes.clone()), [Outcome::Done]);
    assert!(bench.machine.take_interrupts().is_empty());
}

fn refusing(access: Option<Access>) -> Options {
    Options {
        faults: FaultPlan {
            seed: 0,
            faults: vec![Fault::Iommu {
                requester: None,
                access,
                first: 0,
                last: u64::MAX,
                turn: Turn::Every,
            }],
        },
        ..Options::default()
    }
}

#[test]
fn an_iommu_that_refuses_all_translations_lets_interrupts_and_translation_requests_pass() {
    let mut bench = modelled(refusing(None));
    let address = bench.ram_address(0);
    ring(&mut bench, address);
    assert_eq!(bench.machine.take_interrupts().len(), 1);
    assert!(model(&mut bench, |model| model.found[0].is_some()));
    let mut found = [1; 64];
    let phys = bench.ram_phys;
    bench.machine.cpu_read(phys, &mut found);
    assert_eq!(found, [0; 64]);
}

#[test]
fn an_iommu_that_does_not_translate_refuses_nothing() {
    for mode in ["off", "passthrough"] {
        let mut bench = Bench::new(&blueprint(mode, "-", 256), refusing(Some(Access::Write)));
        bench.fill(0, 0, &[7; 64]);
        let plan = bench.plan(0, Access::Write, bench.ram_address(0), 0, 64);
        bench.run(&plan);
        let mut found = [0; 64];
        let phys = bench.ram_phys;
        bench.machine.cpu_read(phys, &mut found);
        assert_eq!(found, [7; 64], "{mode}");
    }
}

#[test]
fn what_is_unmapped_is_forgotten_by_translation_caches_before_unmap_returns() {
    let mut bench = modelled(Options::default());
    let ioas: IoasId = bench.machine.fabric_mut().iommu_mut().create().unwrap();
    let (card, phys) = (bench.cards[0], bench.phys[2]);
    let iommu = bench.machine.fabric_mut().iommu_mut();
    iommu.attach(card, ioas).unwrap();
    iommu
        .map(ioas, IOVA, phys, CARD_BYTES, Rights::ReadWrite)
        .unwrap();
    ring(&mut bench, IOVA + 4096);
    let found = model(&mut bench, |model| model.found.clone());
    assert!(
        matches!(
            found[..],
            [Some(Translation {
                len_bytes: 1048576,
                may_read: true,
                ..
            })]
        ),
        "{found:?}"
    );
    assert_eq!(bench.read(2, 4096, 64), [0x5a; 64]);
    bench.machine.unmap(ioas, IOVA, CARD_BYTES).unwrap();
    assert_eq!(
        model(&mut bench, |model| model.invalidated.clone()),
        [(IOVA, CARD_BYTES)]
    );
    ring(&mut bench, IOVA + 4096);
    assert_eq!(model(&mut bench, |model| model.found.last().copied()), Some(None));
}

#[test]
fn a_removed_device_is_reset_and_its_reader_waits_in_vain() {
    let card = Bench::new(&blueprint("translating", "VRCU", 256), Options::default()).cards[0];
    let at = Time::from_ps(5_000_000);
    let faults = vec![
        Fault::Removed { device: card, at },
        Fault::BreaksDown {
            device: card,
            at: Time::ZERO,
        },
    ];
    let options = Options {
        faults: FaultPlan { seed: 0, faults },
        ..Options::default()
    };
    let mut bench = modelled(options);
    bench.machine.run_until(at);
    assert_eq!(model(&mut bench, |model| (model.resets, model.failures)), (1, 1));
    let place = bench.place(1, 0);
    let plan = RequestPlan::new(bench.cards[1], Access::Read, IOVA, place, 4);
    let (end, outcome) = bench.run(&plan);
    assert!(
        matches!(outcome, Outcome::Failed { good_bytes: 0, .. }),
        "{outcome:?} at {end}"
    );
}

#[test]
fn a_completion_is_lost_or_poisoned_as_the_plan_says_and_no_other() {
    for (fate, failure) in [
        (Fate::Lost, Failure::CompletionTimeout),
        (Fate::Poisoned, Failure::Poisoned),
    ] {
        let fault = Fault::Completion {
            from: None,
            to: None,
            turn: Turn::Nth(5),
            fate,
        };
        let options = Options {
            faults: FaultPlan {
                seed: 0,
                faults: vec![fault],
            },
            ..Options::default()
        };
        let mut bench = Bench::new(&blueprint("off", "-", 256), options);
        let plan = bench.plan(0, Access::Read, bench.address(2, 0), 0, 2048);
        let good_bytes = 1024;
        assert_eq!(bench.run(&plan).1, Outcome::Failed { good_bytes, failure });
        assert_eq!(bench.run(&plan).1, Outcome::Done);
    }
}

#[test]
fn memory_that_cannot_be_had_loses_that_write_alone() {
    let options = Options {
        faults: FaultPlan {
            seed: 0,
            faults: vec![Fault::Allocation { nth: 2 }],
        },
        ..Options::default()
    };
    let mut bench = Bench::new(&blueprint("off", "-", 256), options);
    bench.fill(0, 0, &[1; 256]);
    let plan = bench.plan(0, Access::Write, bench.address(2, 0), 0, 256);
    bench.run(&plan);
    assert_eq!(
        (bench.machine.refused_writes().0, bench.read(2, 0, 1)),
        (1, vec![0])
    );
    bench.run(&plan);
    assert_eq!(
        (bench.machine.refused_writes().0, bench.read(2, 0, 1)),
        (1, vec![1])
    );
}

#[test]
fn a_reset_of_the_bus_reaches_the_model_and_ends_what_it_waits_for() {
    const BRIDGE_CONTROL: u16 = 0x3e;
    let mut bench = modelled(Options::default());
    let snapshot = bench.machine.snapshot();
    let bus = bench.cards[0].bus();
    let above = (snapshot.functions().iter())
        .find(|function| function.bridge().is_some_and(|bridge| bridge.secondary == bus));
    let port = above.unwrap().bdf;
    let address = bench.ram_address(0);
    let phys = bench.phys[0];
    bench.machine.cpu_write(phys, &address.to_le_bytes());
    let before = bench.machine.now();
    bench
        .machine
        .config_write(port, BRIDGE_CONTROL, Width::Word, 0x40);
    bench.machine.config_write(port, BRIDGE_CONTROL, Width::Word, 0);
    assert!(bench.machine.now() > before);
    assert_eq!(model(&mut bench, |model| model.resets), 1);
    // Its base address register is gone with the reset.
    let mut found = [0; 4];
    bench.machine.cpu_read(phys + 8, &mut found);
    assert_eq!(found, [0xff; 4]);
}

/// A writer whose contents can be read while it is written to.
#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn traced(seed: u64) -> String {
    let mut blueprint = blueprint("translating", "VRCU", 256);
    blueprint.nature.jitter_ps = 500_000;
    let trace = Shared::default();
    let sink: Box<dyn Sink> = Box::new(Lines::new(trace.clone()));
    let options = Options {
        trace: Some(sink),
        seed: Some(seed),
        ..Options::default()
    };
    let mut bench = Bench::new(&blueprint, options);
    for (card, access) in [(0, Access::Write), (1, Access::Read), (2, Access::Read)] {
        let plan = bench.plan(card, access, bench.address(3, 0), 0, 2000);
        bench.machine.request(&plan).unwrap();
    }
    let plan = bench.plan(0, Access::Write, 0x1234_0000, 0, 100);
    bench.machine.request(&plan).unwrap();
    bench.machine.run_until_idle();
    let bytes = trace.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_trace_and_each_line_is_an_object() {
    let trace = traced(1);
    assert_eq!(trace, traced(1));
    assert_ne!(trace, traced(2));
    // 8 writes, 4 + 4 reads, 8 + 8 completions, one write that is lost.
    assert_eq!(trace.lines().count(), 33);
    for line in trace.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(object["arrived_ps"].as_u64() >= object["sent_ps"].as_u64());
        assert!(!object["way"].as_array().unwrap().is_empty(), "{line}");
    }
    let lost: Vec<&str> = trace.lines().filter(|line| line.contains("\"lost\"")).collect();
    assert!(
        matches!(lost[..], [line] if line.contains("IommuFault")),
        "{lost:?}"
    );
}

/// Lines of the trace that go over each direction of each link, as its way tells them.
fn lines_over(trace: &str, leg: &str) -> u64 {
    let lines = trace.lines().filter(|line| {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        object["way"].as_array().unwrap().iter().any(|name| name == leg)
    });
    lines.count() as u64
}

#[test]
fn every_packet_that_a_link_counts_has_a_line_in_the_trace() {
    let trace = Shared::default();
    let sink: Box<dyn Sink> = Box::new(Lines::new(trace.clone()));
    let options = Options {
        trace: Some(sink),
        ..Options::default()
    };
    let mut bench = Bench::new(&blueprint("translating", "VRCU", 256), options);
    bench.machine.config_write(bench.cards[3], 4, Width::Word, 4);
    for address in [bench.address(1, 0), bench.address(3, 0), 0x1234_0000] {
        let plan = bench.plan(0, Access::Read, address, 0, 2000);
        bench.run(&plan);
    }
    bench.machine.with_device(bench.cards[0], |_, wire| {
        wire.translate(0x1234_0000, 4096, Access::Read)
    });
    bench.machine.run_until_idle();
    let trace = String::from_utf8(trace.0.lock().unwrap().clone()).unwrap();
    for carried in bench.machine.counters().links {
        let fabric = bench.machine.fabric();
        let port = fabric.function(fabric.link(carried.link).port).bdf;
        assert_eq!(
            lines_over(&trace, &format!("up to {port}")),
            carried.up.tlps(),
            "{port}"
        );
        assert_eq!(
            lines_over(&trace, &format!("down from {port}")),
            carried.down.tlps(),
            "{port}"
        );
    }
    assert!(trace.contains(r#""kind":"translation-completion""#) && trace.contains(r#""status":"SC""#));
    assert!(trace.contains(r#""status":"UR""#));
}
