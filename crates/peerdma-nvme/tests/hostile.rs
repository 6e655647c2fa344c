//! A controller that says anything: using it ends, with volumes or typed errors, and nothing is left behind.

#[path = "support/fake.rs"]
mod fake;

use fake::Machine;
use peerdma::block::{Bio, Data, Operation, Volume};
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
