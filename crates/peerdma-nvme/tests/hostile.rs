//! A controller that says anything: using it ends, with volumes or typed errors, and nothing is left behind.

#[path = "support/fake.rs"]
mod fake;

use fake::{Machine, Refusal};
use peerdma::block::{Bio, CommandError, Data, Operation, Volume, VolumeError};
use peerdma::device::{Function, Host};
use peerdma::dma::Threads;
use peerdma_nvme::{Controller, Options, Queue, QueueOptions};
use proptest::prelude::*;

/// How far it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Nothing,
    Controller,
    Volume,
}

fn use_it(seed: u64, good: u64) -> Reached {
    let machine = Machine::new(seed, good);
    let (ioas, region) = machine.ioas();
    let bdf = machine.bdf();
    let mapper = ioas.mapper(bdf).unwrap();
    let mut reached = Reached::Nothing;
    if let Ok(controller) = Controller::open(machine.clone(), machine.clone(), mapper, &Options::default()) {
        reached = Reached::Controller;
        let id = controller
            .namespaces()
            .first()
            .map_or(1, |namespace| namespace.id);
        let options = QueueOptions {
            depth: 4,
            max_transfer_bytes: 65536,
            ..QueueOptions::default()
        };
        if let Ok(mut volume) = controller.volume(id, ioas.mapper(bdf).unwrap(), &options) {
            reached = Reached::Volume;
            let flush = Bio {
                operation: Operation::Flush,
                lba: 0,
                blocks: 0,
                data: Data::None,
            };
            let mut begun = usize::from(volume.submit(flush).is_ok());
            while begun > 0 {
                let _ = volume.poll(&mut |_| begun -= 1);
                machine.relax();
            }
            volume.close(&mut |_| ()).unwrap();
        }
        controller.close().unwrap();
    }
    assert!(machine.is_free(), "something is left allocated");
    ioas.begin_revoke(region);
    assert_eq!(ioas.finish_revoke(region), Ok(()), "something is left mapped");
    reached
}

#[test]
fn a_controller_that_behaves_is_opened() {
    assert_eq!(use_it(1, 16), Reached::Volume);
}

/// A command to a device that does not answer, and refuses more than that: how the command ends, how the volume fails, whether it
/// closes, and whether all is given back.
fn refused(refusals: &[Refusal]) -> (Vec<Result<(), CommandError>>, Option<VolumeError>, bool, bool) {
    let machine = Machine::new(1, 16);
    let (ioas, _) = machine.ioas();
    let mapper = || ioas.mapper(machine.bdf()).unwrap();
    let controller =
        Controller::open(machine.clone(), machine.clone(), mapper(), &Options::default()).unwrap();
    let mut volume = controller.volume(1, mapper(), &QueueOptions::default()).unwrap();
    machine.refuse(&[Refusal::Answer]);
    machine.refuse(refusals);
    let flush = Bio {
        operation: Operation::Flush,
        lba: 0,
        blocks: 0,
        data: Data::None,
    };
    volume.submit(flush).unwrap();
    let mut results = Vec::new();
    let mut failure = None;
    for _ in 0..5_000 {
        failure = volume.poll(&mut |done| results.push(done.result)).err();
        machine.relax();
    }
    let closes = volume.close(&mut |_| ()).is_ok() & controller.close().is_ok();
    (results, failure, closes, machine.is_free())
}

#[test]
fn what_cannot_be_stopped_keeps_its_memory_and_what_can_does_not() {
    let timed_out = vec![Err(CommandError::TimedOut)];
    assert_eq!(refused(&[]), (timed_out.clone(), None, true, true));
    assert_eq!(refused(&[Refusal::Stop]), (timed_out.clone(), None, true, true));
    let (results, failure, closes, is_free) = refused(&[Refusal::Stop, Refusal::Reset]);
    assert!(matches!(failure, Some(VolumeError::Dead(_))), "{failure:?}");
    assert_eq!((results, closes, is_free), (timed_out, true, true));
    // Nobody knows what it may still write to.
    let (results, failure, closes, is_free) = refused(&[Refusal::Stop, Refusal::Reset, Refusal::Quiet]);
    assert!(matches!(failure, Some(VolumeError::Dead(_))), "{failure:?}");
    assert_eq!((results, closes, is_free), (vec![], false, false));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_answers_end_in_a_volume_or_a_typed_error(seed in any::<u64>(), good in 0_u64..17) {
        use_it(seed, good);
    }
}

/// With locks of the standard library a controller and its volumes can be handed to other threads, if what they drive can be.
#[allow(dead_code, reason = "it is only compiled")]
fn controllers_and_volumes_can_be_sent<F, H>(one: Controller<F, H, Threads>, two: Queue<F, H, Threads>)
where
    F: Function + Send,
    F::Mmio: Send,
    H: Host + Clone + Send,
{
    fn is_send<T: Send>(_: T) {}
    is_send(one);
    is_send(two);
}
