//! What functions send is as their registers and their host bridge say.

mod bench_machine;

use bench_machine::{Bench, blueprint};
use peerdma_sim::fabric::Width;
use peerdma_sim::file;
use peerdma_sim::machine::{Machine, Options, Sink};
use peerdma_sim::tlp::{Access, Ordering};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Sink for Lines {
    fn line(&mut self, json: &str) {
        self.0.lock().unwrap().push(json.into());
    }
}

#[test]
fn every_device_of_every_machine_can_interrupt() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../machines");
    let mut devices = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let blueprint = file::load(&fs::read_to_string(&path).unwrap()).unwrap();
        let mut machine = Machine::with_options(&blueprint, Options::default()).unwrap();
        for device in blueprint.devices.keys() {
            machine.with_device(*device, |_, wire| wire.interrupt(3)).unwrap();
            machine.run_until_idle();
            let found = machine.take_interrupts();
            let whose: Vec<_> = found
                .iter()
                .map(|one| (one.vector, one.requester.bus()))
                .collect();
            assert_eq!(whose, [(3, device.bus())], "{device} of {}", path.display());
            devices += 1;
        }
    }
    assert!(devices > 10);
}

#[test]
fn a_function_that_may_not_relax_ordering_sends_strict_requests() {
    const RELAXED: u32 = 0x10;
    let lines = Lines::default();
    let options = Options {
        trace: Some(Box::new(lines.clone())),
        ..Options::default()
    };
    let mut bench = Bench::new(&blueprint("off", "VRCU", 256), options);
    let card = bench.cards[0];
    let mut capability = bench.machine.config_read(card, 0x34, Width::Byte) as u16;
    while bench.machine.config_read(card, capability, Width::Byte) != 0x10 {
        capability = bench.machine.config_read(card, capability + 1, Width::Byte) as u16;
        assert_ne!(capability, 0);
    }
    let control = bench.machine.config_read(card, capability + 8, Width::Word);
    for (control, is_relaxed) in [(control & !RELAXED, false), (control | RELAXED, true)] {
        bench
            .machine
            .config_write(card, capability + 8, Width::Word, control);
        for access in [Access::Read, Access::Write] {
            let mut plan = bench.plan(0, access, bench.address(1, 0), 0, 600);
            plan.ordering = Ordering::Relaxed;
            lines.0.lock().unwrap().clear();
            bench.run(&plan);
            let told = lines.0.lock().unwrap().clone();
            let expected = format!("\"relaxed\":{is_relaxed}");
            assert!(!told.is_empty());
            assert!(told.iter().all(|line| line.contains(&expected)), "{told:?}");
        }
    }
}
