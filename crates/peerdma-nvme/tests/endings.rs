//! How commands, queues and controllers end before their time: revoked, closed, dropped, reset for others, given up.

mod support;

use peerdma::block::{CommandError, Data, Operation, SubmitError, Volume, VolumeError};
use peerdma::device::Host;
use peerdma::dma::{Constraints, Direction};
use peerdma_nvme::{Cause, QueueOptions, QueuePlace};
use support::{BYTES, Rig, bio, drain, flush, impatient, piece, run, write};

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
fn a_queue_that_is_gone_by_anothers_reset_takes_nothing_before_it_is_made_again() {
    let rig = Rig::new("two-ssds.toml");
    let controller = rig.open("nvme0");
    let mut calm = rig.disk(&controller, &QueueOptions::default());
    let mut hasty = rig.disk(&controller, &impatient(400));
    let ram = rig.ram(BYTES);
    let mut refused = 0;
    for round in 0..10_u64 {
        let next = write(ram, round * 256, &hasty);
        if hasty.submit(next).is_ok() {
            drain(&rig, &mut hasty);
        }
        match calm.submit(flush()) {
            Ok(_) => assert_eq!(drain(&rig, &mut calm)[0].result, Ok(()), "round {round}"),
            Err(rejected) => {
                assert_eq!(rejected.why, SubmitError::QueueFull);
                refused += 1;
            }
        }
        // Something is done before the next reset, so that the controller is not given up.
        let mut polls = 0;
        while calm.submit(flush()).is_err() {
            hasty.poll(&mut |_| ()).unwrap();
            calm.poll(&mut |_| ()).unwrap();
            rig.computer.relax();
            polls += 1;
            assert!(polls < 1_000_000, "it hangs");
        }
        assert_eq!(drain(&rig, &mut calm)[0].result, Ok(()));
        for _ in 0..10_000 {
            hasty.poll(&mut |_| ()).unwrap();
            calm.poll(&mut |_| ()).unwrap();
            rig.computer.relax();
        }
    }
    assert!(refused > 0);
    hasty.close(&mut |_| ()).unwrap();
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
