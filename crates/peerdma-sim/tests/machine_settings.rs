//! What functions send is as their registers and their host bridge say.

use peerdma_sim::file;
use peerdma_sim::machine::{Machine, Options};
use std::fs;
use std::path::Path;

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
