//! A controller that says anything: using it ends, with volumes or typed errors, and nothing is left behind.

#[path = "support/fake.rs"]
mod fake;

use fake::{Machine, Refusal};
use peerdma::addr::{Address, Origin, PhysVec};
use peerdma::block::{Bio, CommandError, Data, Operation, SubmitError, Volume, VolumeError};
use peerdma::device::{Function, Host};
use peerdma::dma::{Constraints, Direction, Threads};
use peerdma_nvme::{Controller, Forms, Options, Queue, QueueOptions};
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

#[test]
fn a_volume_that_is_opened_while_the_controller_breaks_down_for_good_ends_in_an_error() {
    for looks in 1..60 {
        let machine = Machine::new(1, 16);
        let (ioas, _) = machine.ioas();
        let mapper = || ioas.mapper(machine.bdf()).unwrap();
        let controller =
            Controller::open(machine.clone(), machine.clone(), mapper(), &Options::default()).unwrap();
        machine.refuse(&[Refusal::Stop, Refusal::Reset, Refusal::Quiet]);
        machine.break_down_after(looks);
        // Either may fail; neither may wait for ever.
        if let Ok(volume) = controller.volume(1, mapper(), &QueueOptions::default()) {
            let _ = volume.close(&mut |_| ());
        }
        let _ = controller.close();
    }
}

#[test]
fn what_was_mapped_for_others_is_no_list_of_a_controller_that_minds_alignment() {
    let machine = Machine::new(1, 16);
    machine.set_sgl_support(2);
    let (ioas, _) = machine.ioas();
    let mapper = || ioas.mapper(machine.bdf()).unwrap();
    let controller =
        Controller::open(machine.clone(), machine.clone(), mapper(), &Options::default()).unwrap();
    let options = QueueOptions {
        forms: Forms::Sgl,
        ..QueueOptions::default()
    };
    let mut volume = controller.volume(1, mapper(), &options).unwrap();
    let mut other = mapper();
    let ram = machine.allocate(4096, 4096).unwrap();
    for (into, lens, is_taken) in [
        (0, [512, 512], true),
        (2, [512, 512], false),
        (0, [511, 513], false),
    ] {
        let mut at = ram.checked_add(into).unwrap();
        let vector = lens.map(|len| {
            let piece = PhysVec::new(at, len, Origin::Ram).unwrap();
            // Apart, so that they stay two.
            at = at.checked_add(1024).unwrap();
            piece
        });
        let located = other.look_up(&vector).unwrap();
        let mapping = other
            .map(located, Direction::DeviceReads, &Constraints::NONE)
            .unwrap();
        let write = Bio {
            operation: Operation::Write,
            lba: 0,
            blocks: 2,
            data: Data::Mapped(mapping),
        };
        let data = match volume.submit(write) {
            Ok(_) => {
                let mut back = None;
                while back.is_none() {
                    volume.poll(&mut |done| back = Some(done.bio.data)).unwrap();
                    machine.relax();
                }
                assert!(is_taken, "{lens:?} from {into}");
                back.unwrap()
            }
            Err(rejected) => {
                assert!(!is_taken, "{:?}", rejected.why);
                assert!(matches!(rejected.why, SubmitError::NotAddressable { .. }));
                rejected.bio.data
            }
        };
        let Data::Mapped(mapping) = data else {
            panic!("it is gone")
        };
        other.unmap(mapping).unwrap();
    }
    machine.free(ram);
    volume.close(&mut |_| ()).unwrap();
    controller.close().unwrap();
    assert!(machine.is_free());
}

#[test]
fn a_command_moves_no_more_than_the_controller_says() {
    let machine = Machine::new(1, 16);
    let (ioas, _) = machine.ioas();
    let mapper = || ioas.mapper(machine.bdf()).unwrap();
    let controller =
        Controller::open(machine.clone(), machine.clone(), mapper(), &Options::default()).unwrap();
    let volume = controller.volume(1, mapper(), &QueueOptions::default()).unwrap();
    // MDTS of 5, in pages of 4096 bytes; the options would take 1 MiB.
    assert_eq!(volume.limits().max_transfer_bytes, 4096 << 5);
}

#[test]
fn a_page_size_of_the_controllers_choosing_is_no_allocation_of_its_choosing() {
    let machine = Machine::new(1, 16);
    machine.set_least_page(128 << 20);
    let (ioas, _) = machine.ioas();
    let mapper = ioas.mapper(machine.bdf()).unwrap();
    let opened = Controller::open(machine.clone(), machine.clone(), mapper, &Options::default());
    assert!(opened.is_err());
    assert!(machine.asked_bytes() <= 1 << 20, "{:#x}", machine.asked_bytes());
    assert!(machine.is_free());
}

#[test]
fn registers_of_zeros_are_taken_for_no_answer() {
    let machine = Machine::new(1, 16);
    machine.set_capabilities(0);
    let (ioas, _) = machine.ioas();
    let mapper = ioas.mapper(machine.bdf()).unwrap();
    let opened = Controller::open(machine.clone(), machine.clone(), mapper, &Options::default());
    let said = opened.map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("does not answer"), "{said}");
    assert!(machine.is_free());
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
