//! What goes wrong, at every moment: each command ends once with a typed error or with its data in place, and nothing is left mapped or
//! allocated.

mod support;

use peerdma::addr::{Address, PhysAddr};
use peerdma::block::{CommandError, Data, Done, Operation, SubmitError, Volume, VolumeError};
use peerdma::device::Host;
use peerdma::dma::{Constraints, Direction};
use peerdma_nvme::{Cause, Options, QueueOptions, QueuePlace};
use peerdma_sim::host::Step;
use peerdma_sim::machine::{Fate, Fault, FaultPlan, Turn};
use peerdma_sim::time::Time;
use proptest::prelude::*;
use support::{Disk, Rig, bio, drain, flush, pattern, piece, run};

const BYTES: u64 = 64 << 10;

fn time(ns: u64) -> Time {
    Time::from_ps(ns * 1000)
}

fn impatient(timeout_ns: u64) -> QueueOptions {
    QueueOptions {
        timeout_ns,
        depth: 8,
        ..QueueOptions::default()
    }
}

fn write(at: PhysAddr, lba: u64, disk: &Disk) -> peerdma::block::Bio {
    let blocks = (BYTES / u64::from(disk.limits().block_bytes)) as u32;
    bio(Operation::Write, lba, blocks, vec![piece(at, 0, BYTES)])
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

#[test]
fn a_region_is_given_up_when_its_uses_are_aborted() {
    let rig = Rig::new("two-ssds.toml");
    let (a, b) = (rig.open("nvme0"), rig.open("nvme1"));
    let region = rig.buffer_region("nvme1");
    let mut disk = rig.disk(&a, &impatient(1_000_000_000));
    let blocks = (BYTES / u64::from(disk.limits().block_bytes)) as u32;
    for lba in 0..6 {
        let vector = vec![piece(region.span.first(), lba * BYTES, BYTES)];
        disk.submit(bio(Operation::Read, lba, blocks, vector)).unwrap();
    }
    rig.ioas.begin_revoke(region.id);
    assert!(rig.ioas.finish_revoke(region.id).is_err(), "it is in use");
    disk.abort_uses(region.id);
    let ended = drain(&rig, &mut disk);
    assert_eq!(ended.len(), 6);
    assert!(ended.iter().any(|done| done.result == Err(CommandError::Aborted)));
    assert_eq!(rig.ioas.finish_revoke(region.id), Ok(()));
    // The volume lives on.
    assert_eq!(run(&rig, &mut disk, flush()).result, Ok(()));
    drop((disk, a, b));
    rig.assert_clean();
}

#[test]
fn a_queue_whose_own_memory_is_taken_away_ends_in_good_order() {
    let rig = Rig::new("two-ssds.toml");
    let (a, b) = (rig.open("nvme0"), rig.open("nvme1"));
    let region = rig.buffer_region("nvme1");
    let options = QueueOptions {
        completions: QueuePlace::Memory(region.span.first()),
        ..QueueOptions::default()
    };
    let mut disk = rig.disk(&a, &options);
    let ram = rig.ram(BYTES);
    for lba in 0..4 {
        disk.submit(write(ram, lba, &disk)).unwrap();
    }
    rig.ioas.begin_revoke(region.id);
    disk.abort_uses(region.id);
    let mut ended = Vec::new();
    let failure = loop {
        match disk.poll(&mut |done| ended.push(done)) {
            Ok(()) => rig.computer.relax(),
            Err(failure) => break failure,
        }
    };
    assert_eq!(
        failure,
        VolumeError::Dead("the memory of its queue was taken away")
    );
    assert_eq!(ended.len(), 4);
    assert_eq!(rig.ioas.finish_revoke(region.id), Ok(()));
    let mut other = rig.disk(&a, &QueueOptions::default());
    assert_eq!(run(&rig, &mut other, flush()).result, Ok(()));
    drop((disk, other, a, b));
    rig.computer.free(ram);
    rig.assert_clean();
}

#[test]
fn queues_end_when_their_controller_is_closed_before_them() {
    let rig = Rig::new("two-ssds.toml");
    let controller = rig.open("nvme0");
    let mut disk = rig.disk(&controller, &QueueOptions::default());
    let ram = rig.ram(BYTES);
    disk.submit(write(ram, 0, &disk)).unwrap();
    controller.close().unwrap();
    let mut ended = Vec::new();
    assert!(disk.poll(&mut |done| ended.push(done.result)).is_err());
    assert_eq!(ended.len(), 1);
    disk.close(&mut |_| ()).unwrap();
    rig.computer.free(ram);
    rig.assert_clean();
}

#[test]
fn what_is_dropped_with_commands_under_way_is_closed_first() {
    let rig = Rig::new("two-ssds.toml");
    let ram = rig.ram(BYTES);
    let controller = rig.open("nvme0");
    let mut disk = rig.disk(&controller, &QueueOptions::default());
    let mut mapper = rig.ioas.mapper(controller.bdf()).unwrap();
    let located = mapper.look_up(&[piece(ram, 0, BYTES)]).unwrap();
    let mapping = mapper
        .map(located, Direction::DeviceReads, &Constraints::NONE)
        .unwrap();
    let mut earlier = write(ram, 1, &disk);
    earlier.data = Data::Mapped(mapping);
    disk.submit(earlier).unwrap();
    disk.submit(write(ram, 0, &disk)).unwrap();
    drop(disk);
    drop(controller);
    rig.computer.free(ram);
    assert_eq!(rig.computer.state().allocations(), []);
}

#[test]
fn a_vector_that_was_mapped_earlier_comes_back_mapped() {
    let rig = Rig::new("two-ssds.toml");
    let ram = rig.ram(BYTES);
    let controller = rig.open("nvme0");
    let mut disk = rig.disk(&controller, &QueueOptions::default());
    let mut mapper = rig.ioas.mapper(controller.bdf()).unwrap();
    let located = mapper.look_up(&[piece(ram, 0, BYTES)]).unwrap();
    let mut mapping = mapper
        .map(located, Direction::Both, &disk.limits().constraints)
        .unwrap();
    for operation in [Operation::Write, Operation::Read] {
        let mut next = write(ram, 1, &disk);
        next.operation = operation;
        next.data = Data::Mapped(mapping);
        let done = run(&rig, &mut disk, next);
        assert_eq!(done.result, Ok(()));
        let Data::Mapped(back) = done.bio.data else {
            panic!("it is gone")
        };
        mapping = back;
    }
    mapper.unmap(mapping).unwrap();
    drop((disk, controller));
    rig.computer.free(ram);
    rig.assert_clean();
}

#[test]
fn forged_stale_and_duplicate_completions_are_errors_and_nothing_else() {
    let rig = Rig::new("two-ssds.toml");
    let (a, b) = (rig.open("nvme0"), rig.open("nvme1"));
    let at = rig.buffer_region("nvme1").span.first();
    let options = QueueOptions {
        depth: 8,
        completions: QueuePlace::Memory(at),
        ..QueueOptions::default()
    };
    let ram = rig.ram(BYTES);
    let entry = |index: u64| {
        let place = |half: u64| at.checked_add(16 * index + 8 * half).unwrap();
        [0, 1].map(|half| rig.computer.load_bar(place(half), 8).unwrap())
    };
    let forge = |index: u64, entry: [u64; 2]| {
        for (half, value) in entry.into_iter().enumerate() {
            let place = at.checked_add(16 * index + 8 * half as u64).unwrap();
            rig.computer.store_bar(place, 8, value).unwrap();
        }
    };
    // Duplicate; of another queue; a head past the tail; all ones.
    let forgeries: [fn([u64; 2]) -> [u64; 2]; 4] = [
        |entry| entry,
        |[low, high]| [low, high ^ 1 << 16],
        |[low, high]| [low, high | 0xffff],
        |_| [u64::MAX; 2],
    ];
    for forgery in forgeries {
        let mut disk = rig.disk(&a, &options);
        assert_eq!(run(&rig, &mut disk, flush()).result, Ok(()));
        let true_one = entry(0);
        disk.submit(write(ram, 0, &disk)).unwrap();
        disk.submit(write(ram, 64, &disk)).unwrap();
        forge(1, forgery(true_one));
        let ended = drain(&rig, &mut disk);
        assert_eq!(ended.len(), 2);
        for done in ended {
            assert!(matches!(done.result, Err(CommandError::Protocol(_))), "{done:?}");
        }
        // The controller was reset, and works.
        let mut again = None;
        while again.is_none() {
            let _ = disk.poll(&mut |_| ());
            rig.computer.relax();
            again = disk.submit(flush()).ok();
        }
        assert_eq!(drain(&rig, &mut disk)[0].result, Ok(()));
        disk.close(&mut |_| ()).unwrap();
    }
    drop((a, b));
    rig.computer.free(ram);
    rig.assert_clean();
}

#[test]
fn queues_and_lists_go_only_where_the_controller_takes_them() {
    let rig = Rig::new("two-ssds.toml");
    let (a, b) = (rig.open("nvme0"), rig.open("nvme1"));
    let peer = QueuePlace::Memory(rig.buffer_region("nvme1").span.first());
    let own = QueuePlace::Memory(rig.buffer_region("nvme0").span.first());
    let usual = QueueOptions::default();
    for options in [
        QueueOptions {
            submissions: peer,
            ..usual
        },
        QueueOptions { lists: peer, ..usual },
    ] {
        let error = rig.try_disk(&a, &options).unwrap_err();
        assert!(matches!(error.cause, Cause::Place { .. }), "{error}");
    }
    // What the buffer says of completion queues is what happens.
    let error = rig.try_disk(
        &a,
        &QueueOptions {
            completions: own,
            ..usual
        },
    );
    assert_eq!(error.is_ok(), a.buffer().unwrap().abilities.completion_queues());
    drop((error, a, b));
    rig.assert_clean();
}

#[test]
fn a_reset_for_one_queue_fails_what_the_others_have_under_way_and_they_go_on() {
    let rig = Rig::new("two-ssds.toml");
    let controller = rig.open("nvme0");
    let mut calm = rig.disk(&controller, &QueueOptions::default());
    let mut hasty = rig.disk(&controller, &impatient(400));
    let ram = rig.ram(BYTES);
    let (mut reset, mut good) = (0, 0);
    for round in 0..40_u64 {
        for disk in [&mut calm, &mut hasty] {
            let next = write(ram, round * 256, disk);
            if let Err(rejected) = disk.submit(next) {
                assert_eq!(rejected.why, SubmitError::QueueFull);
            }
        }
        let mut polls = 0;
        while calm.under_way() + hasty.under_way() > 0 {
            hasty.poll(&mut |_| ()).unwrap();
            let ended = calm.poll(&mut |done| match done.result {
                Ok(()) => good += 1,
                Err(CommandError::Reset) => reset += 1,
                Err(other) => panic!("{other}"),
            });
            ended.unwrap();
            rig.computer.relax();
            polls += 1;
            assert!(polls < 1_000_000, "it hangs");
        }
    }
    assert!(reset > 0, "{good} good, {reset} reset");
    hasty.close(&mut |_| ()).unwrap();
    let mut polls = 0;
    while calm.submit(flush()).is_err() {
        calm.poll(&mut |_| ()).unwrap();
        rig.computer.relax();
        polls += 1;
        assert!(polls < 1_000_000, "it hangs");
    }
    assert_eq!(drain(&rig, &mut calm)[0].result, Ok(()));
    calm.close(&mut |_| ()).unwrap();
    controller.close().unwrap();
    rig.computer.free(ram);
    rig.assert_clean();
}

#[test]
fn a_controller_that_never_gets_anything_done_is_given_up() {
    let rig = Rig::new("two-ssds.toml");
    let controller = rig.open("nvme0");
    let mut disk = rig.disk(&controller, &impatient(1));
    let ram = rig.ram(BYTES);
    let mut failure = None;
    for _ in 0..100_000 {
        let _ = disk.submit(write(ram, 0, &disk));
        if let Err(why) = disk.poll(&mut |done| assert!(done.result.is_err())) {
            failure = Some(why);
            break;
        }
        rig.computer.relax();
    }
    assert!(matches!(failure, Some(VolumeError::Dead(_))), "{failure:?}");
    assert_eq!(disk.under_way(), 0);
    let error = rig.try_disk(&controller, &QueueOptions::default()).unwrap_err();
    assert!(matches!(error.cause, Cause::Dead(_)), "{error}");
    drop((disk, controller));
    rig.computer.free(ram);
    rig.assert_clean();
}

/// Something that a device might write to a completion queue, or somebody in its name.
#[derive(Debug, Clone, Copy)]
struct Forgery {
    /// After how many polls.
    polls: u8,
    /// Which dword of the ring.
    dword: u64,
    value: u32,
}

fn forgery() -> impl Strategy<Value = Forgery> {
    // Identifiers, phases and heads that nearly fit hurt most.
    let value = prop_oneof![
        any::<u32>(),
        (0_u32..16, 0_u32..2).prop_map(|(id, phase)| id | phase << 16)
    ];
    (any::<u8>(), 0_u64..36, value).prop_map(|(polls, dword, value)| Forgery {
        polls: polls % 16,
        dword,
        value,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_in_a_completion_queue_each_command_ends_once(
        forgeries in proptest::collection::vec(forgery(), 1..12),
    ) {
        let rig = Rig::new("two-ssds.toml");
        let (a, b) = (rig.open("nvme0"), rig.open("nvme1"));
        let at = rig.buffer_region("nvme1").span.first();
        let options = QueueOptions {
            completions: QueuePlace::Memory(at),
            ..impatient(100_000)
        };
        let mut disk = rig.disk(&a, &options);
        let ram = rig.ram(BYTES);
        let (mut begun, mut ended) = (0, 0);
        for forgery in forgeries {
            for lba in 0..4 {
                begun += usize::from(disk.submit(write(ram, lba * 256, &disk)).is_ok());
            }
            for _ in 0..forgery.polls {
                let _ = disk.poll(&mut |_| ended += 1);
                rig.computer.relax();
            }
            let place = at.checked_add(forgery.dword * 4).unwrap();
            rig.computer.store_bar(place, 4, forgery.value.into()).unwrap();
        }
        ended += drain(&rig, &mut disk).len();
        prop_assert_eq!(begun, ended);
        drop((disk, a, b));
        rig.computer.free(ram);
        rig.assert_clean();
    }
}
