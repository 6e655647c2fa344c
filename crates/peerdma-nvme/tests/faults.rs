//! What goes wrong, at every moment: each command ends once with a typed error or with its data in place, and nothing is left mapped or
//! allocated.

mod support;

use peerdma::addr::Address;
use peerdma::block::{CommandError, Done, Operation, Volume};
use peerdma::device::{Function, Host};
use peerdma_nvme::{Options, QueueOptions};
use peerdma_sim::host::Step;
use peerdma_sim::machine::{Fate, Fault, FaultPlan, Turn};
use peerdma_sim::time::Time;
use support::{BYTES, Rig, bio, drain, flush, impatient, pattern, piece, run, write};

fn time(ns: u64) -> Time {
    Time::from_ps(ns * 1000)
}

fn plan(fault: Fault) -> FaultPlan {
    FaultPlan {
        seed: 0,
        faults: vec![fault],
    }
}

/// Opens, writes and reads a few times, closes. Whatever fails does so by name; what succeeds is right. Gives the errors.
fn session(rig: &Rig, options: &QueueOptions) -> Vec<CommandError> {
    let mut errors = Vec::new();
    let Ok(ram) = rig.computer.allocate(2 * BYTES, 4096) else {
        return errors;
    };
    if let Ok(controller) = rig.try_open("nvme0", &Options::default()) {
        if let Ok(mut disk) = rig.try_disk(&controller, options) {
            let blocks = (BYTES / u64::from(disk.limits().block_bytes)) as u32;
            for round in 0..6_u64 {
                let bytes = pattern(round, BYTES as usize);
                rig.computer.write_ram(ram, &bytes).unwrap();
                let lba = round * 256;
                let written = disk.submit(write(ram, lba, &disk)).is_ok();
                let flushed = disk.submit(flush()).is_ok();
                let mut ended = drain(rig, &mut disk);
                assert_eq!(ended.len(), usize::from(written) + usize::from(flushed));
                let whole = written && flushed && ended.iter().all(|done| done.result.is_ok());
                rig.computer.write_ram(ram, &vec![0xee; BYTES as usize]).unwrap();
                let read = bio(Operation::Read, lba, blocks, vec![piece(ram, BYTES, BYTES)]);
                let several = (0..3).filter(|_| disk.submit(flush()).is_ok()).count();
                let begun = several + usize::from(disk.submit(read).is_ok());
                let again = drain(rig, &mut disk);
                assert_eq!(again.len(), begun, "each ends once");
                let is_read = |done: &&Done| done.bio.operation == Operation::Read;
                let came = again.iter().find(is_read).is_some_and(|done| done.result.is_ok());
                if whole && came {
                    let mut read = vec![0; BYTES as usize];
                    let at = ram.checked_add(BYTES).unwrap();
                    rig.computer.read_ram(at, &mut read).unwrap();
                    assert!(read == bytes, "round {round}");
                }
                ended.extend(again);
                errors.extend(ended.into_iter().filter_map(|done| done.result.err()));
            }
            disk.close(&mut |done| errors.extend(done.result.err())).unwrap();
        }
        controller.close().unwrap();
    }
    rig.computer.free(ram);
    errors
}

#[test]
fn a_controller_that_is_taken_out_at_any_moment_leaves_nothing_behind() {
    let mut seen = 0;
    for at in (0..160).map(|step| 1 + step * 3_000) {
        let rig = Rig::new("two-ssds.toml");
        let device = rig.bdf("nvme0");
        let rig = Rig::with_faults("two-ssds.toml", plan(Fault::Removed { device, at: time(at) }));
        let errors = session(&rig, &QueueOptions::default());
        seen += errors
            .iter()
            .filter(|error| **error == CommandError::Removed)
            .count();
        rig.assert_clean();
    }
    assert!(seen > 0);
}

#[test]
fn a_controller_that_breaks_down_is_reset_and_works_again() {
    let mut seen = 0;
    for at in (0..80).map(|step| 1 + step * 6_000) {
        let rig = Rig::new("two-ssds.toml");
        let device = rig.bdf("nvme0");
        let rig = Rig::with_faults("two-ssds.toml", plan(Fault::BreaksDown { device, at: time(at) }));
        let errors = session(&rig, &impatient(1_000_000));
        let reset = |error: &&CommandError| matches!(error, CommandError::Reset | CommandError::TimedOut);
        seen += errors.iter().filter(reset).count();
        while rig.computer.now_ns() <= at {
            rig.computer.relax();
        }
        assert_eq!(session(&rig, &QueueOptions::default()), [], "it works again");
        rig.assert_clean();
    }
    assert!(seen > 0);
}

#[test]
fn completions_that_are_lost_or_bad_end_in_errors_that_say_so() {
    for fate in [Fate::Lost, Fate::Poisoned] {
        for nth in (1..60).chain((60..400).step_by(17)) {
            let rig = Rig::new("two-ssds.toml");
            let device = rig.bdf("nvme0");
            let fault = Fault::Completion {
                from: None,
                to: Some(device),
                turn: Turn::Nth(nth),
                fate,
            };
            let rig = Rig::with_faults("two-ssds.toml", plan(fault));
            session(&rig, &impatient(200_000_000));
            rig.assert_clean();
        }
    }
}

#[test]
fn commands_that_are_late_are_aborted_and_then_the_controller_is_reset() {
    let mut errors = Vec::new();
    for timeout_ns in [1, 50, 300, 1_000, 2_000, 5_000, 9_000, 20_000] {
        let rig = Rig::new("two-ssds.toml");
        errors.extend(session(&rig, &impatient(timeout_ns)));
        rig.assert_clean();
    }
    assert!(errors.contains(&CommandError::TimedOut), "{errors:?}");
}

#[test]
fn every_allocation_and_mapping_that_fails_leaves_all_as_it_was() {
    for machine in ["two-ssds.toml", "two-sockets.toml", "gpu-box.toml"] {
        for step in [Step::Allocation, Step::Map, Step::Reset] {
            for nth in 1..16 {
                let rig = Rig::new(machine);
                rig.computer.refuse(step, nth);
                session(&rig, &QueueOptions::default());
                rig.assert_clean();
            }
        }
    }
}

#[test]
fn what_the_iommu_does_not_unmap_is_not_handed_back_before_it_does() {
    let mut more = 0;
    for nth in 1..20 {
        // Its IOMMU translates, and RAM that nobody registered is mapped by each call.
        let rig = Rig::new("two-sockets.toml");
        let ram = rig.ram(BYTES);
        let controller = rig.open("nvme0");
        let mut disk = rig.disk(&controller, &QueueOptions::default());
        let before = rig.computer.attempts(Step::Unmap);
        rig.computer.refuse(Step::Unmap, nth);
        let rounds = 6;
        for round in 0..rounds {
            let next = write(ram, round, &disk);
            let mappings = rig.computer.state().mappings().to_vec();
            assert_eq!(run(&rig, &mut disk, next).result, Ok(()));
            assert_eq!(
                rig.computer.state().mappings(),
                mappings,
                "what is back is unmapped"
            );
        }
        more += rig.computer.attempts(Step::Unmap) - before - rounds;
        disk.close(&mut |_| ()).unwrap();
        controller.close().unwrap();
        rig.computer.free(ram);
        rig.assert_clean();
    }
    assert_eq!(more, 6, "each that was refused was tried again");
}

/// Somebody else resets it while it is used: what was under way fails by name, it is found out long before a command is late, and it works again.
#[test]
fn a_reset_by_somebody_else_is_found_out_and_survived() {
    let rig = Rig::new("two-ssds.toml");
    let controller = rig.open("nvme0");
    let mut disk = rig.disk(&controller, &impatient(10_000_000_000));
    let ram = rig.ram(BYTES);
    let bio = write(ram, 0, &disk);
    assert!(run(&rig, &mut disk, bio).result.is_ok());
    assert!(!controller.was_disturbed());
    let function = rig.computer.function(controller.bdf()).unwrap();
    function.reset().unwrap();
    let begun = rig.computer.now_ns();
    let bio = write(ram, 0, &disk);
    let failed = run(&rig, &mut disk, bio).result;
    assert_eq!(failed, Err(CommandError::Reset));
    assert!(rig.computer.now_ns() - begun < 10_000_000_000);
    assert!(controller.was_disturbed());
    // Its queue is made anew first.
    while disk.submit(write(ram, 0, &disk)).is_err() {
        assert!(rig.computer.now_ns() - begun < 20_000_000_000);
        let _ = disk.poll(&mut |_| ());
        rig.computer.relax();
    }
    let ended = drain(&rig, &mut disk);
    assert!(ended.iter().all(|done| done.result.is_ok()), "{ended:?}");
    disk.close(&mut |_| ()).unwrap();
    controller.close().unwrap();
    rig.computer.free(ram);
    rig.assert_clean();
}

#[test]
fn a_controller_that_nobody_uses_tells_that_it_was_reset() {
    let rig = Rig::new("two-ssds.toml");
    let controller = rig.open("nvme1");
    assert!(!controller.was_disturbed());
    let function = rig.computer.function(controller.bdf()).unwrap();
    function.reset().unwrap();
    assert!(controller.was_disturbed());
    controller.close().unwrap();
    rig.assert_clean();
}
