//! A command allocates nothing once the queue has been used.

#[path = "support/fake.rs"]
mod fake;

use fake::Machine;
use peerdma::addr::{Address, Origin, PhysVec};
use peerdma::block::{Bio, Data, Operation, Volume};
use peerdma::device::{Function, Host};
use peerdma_nvme::{Controller, Forms, Options, QueueOptions};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PAGES: u64 = 24;

#[test]
fn commands_allocate_nothing() {
    let machine = Machine::new(1, 16);
    let (ioas, region) = machine.ioas();
    ioas.register(region).unwrap();
    let mapper = || ioas.mapper(machine.bdf()).unwrap();
    let controller =
        Controller::open(machine.clone(), machine.clone(), mapper(), &Options::default()).unwrap();
    for forms in [Forms::Prp, Forms::Shorter] {
        let options = QueueOptions {
            depth: 4,
            max_transfer_bytes: 128 << 10,
            forms,
            ..QueueOptions::default()
        };
        let mut volume = controller.volume(1, mapper(), &options).unwrap();
        let ram = machine.allocate(PAGES * 4096, 4096).unwrap();
        let page = |number: u64| {
            let at = ram.checked_add((number ^ 1) * 4096).unwrap();
            PhysVec::new(at, 4096, Origin::Ram).unwrap()
        };
        let mut bio = Some(Bio {
            operation: Operation::Read,
            lba: 0,
            blocks: (PAGES * 8) as u32,
            data: Data::Vector((0..PAGES).map(page).collect()),
        });
        let mut go = |rounds: u32| {
            for _ in 0..rounds {
                volume.submit(bio.take().unwrap()).unwrap();
                let mut back = None;
                while back.is_none() {
                    volume.poll(&mut |done| back = Some(done)).unwrap();
                }
                let done = back.unwrap();
                done.result.unwrap();
                bio = Some(done.bio);
            }
        };
        go(100);
        let counted = Region::new(COUNTED);
        go(10_000);
        let change = counted.change();
        assert_eq!(
            (change.allocations, change.reallocations, change.deallocations),
            (0, 0, 0)
        );
        volume.close(&mut |_| ()).unwrap();
        machine.free(ram);
    }
    controller.close().unwrap();
    assert!(machine.is_free());
}
