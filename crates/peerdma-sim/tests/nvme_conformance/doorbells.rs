//! Base 3.1.3.25, 3.1.3.26 (doorbells) and 5.2 (asynchronous events): misuse is told, and harms nobody.

use crate::bench::{Bench, Rig};
use crate::driver::{Cmd, DATA, Driver, kind, read, sc};

const INVALID_REGISTER: u32 = 0x01_00_00;
const INVALID_VALUE: u32 = 0x01_01_00;

/// What the controller tells after `misuse`.
fn told(misuse: impl Fn(&mut Driver<Rig>)) -> u32 {
    let mut driver = Driver::with_io(&kind());
    let mut admin = driver.admin.clone();
    driver.put(&mut admin, Cmd::new(0x0c));
    driver.ring(&admin);
    driver.pass_us(10);
    misuse(&mut driver);
    let event = driver.wait(&mut admin);
    assert_eq!(event.status(), sc::SUCCESS);
    driver.admin = admin;
    // Queues work on.
    assert_eq!(driver.io(read().prp(DATA, 0).blocks(0, 1)).status(), sc::SUCCESS);
    assert_eq!(driver.csts(), 1);
    event.dword0
}

#[test]
fn a_doorbell_of_no_queue_is_told() {
    assert_eq!(told(|driver| driver.set32(0x1000 + 8 * 2, 1)), INVALID_REGISTER);
    assert_eq!(
        told(|driver| driver.set32(0x1000 + 8 * 2 + 4, 1)),
        INVALID_REGISTER
    );
    assert_eq!(told(|driver| driver.set32(0x1000 + 8 * 65, 1)), INVALID_REGISTER);
    assert_eq!(told(|driver| driver.set32(0x1ffc, 1)), INVALID_REGISTER);
}

#[test]
fn a_tail_that_cannot_be_is_told() {
    assert_eq!(
        told(|driver| driver.set32(0x1008, 64)),
        INVALID_VALUE,
        "past the end"
    );
    assert_eq!(told(|driver| driver.set32(0x1008, 0xffff)), INVALID_VALUE);
    assert_eq!(told(|driver| driver.set32(0x1008, 0)), INVALID_VALUE, "as before");
}

#[test]
fn a_head_that_cannot_be_is_told() {
    assert_eq!(
        told(|driver| driver.set32(0x100c, 64)),
        INVALID_VALUE,
        "past the end"
    );
    assert_eq!(told(|driver| driver.set32(0x100c, 0)), INVALID_VALUE, "as before");
    assert_eq!(
        told(|driver| driver.set32(0x100c, 1)),
        INVALID_VALUE,
        "nothing was there"
    );
}

/// Base 3.3.1: a full queue has no room for more.
#[test]
fn more_commands_than_a_queue_holds_are_told() {
    let mut driver = Driver::with_io(&kind());
    let mut admin = driver.admin.clone();
    driver.put(&mut admin, Cmd::new(0x0c));
    driver.ring(&admin);
    driver.pass_us(10);
    driver.set32(0x1008, 63);
    driver.set32(0x1008, 5);
    assert_eq!(driver.wait(&mut admin).dword0, INVALID_VALUE);
}

/// Base 5.2: at most AERL + 1 requests.
#[test]
fn one_request_for_events_too_many_is_refused() {
    let mut driver = Driver::on(&kind());
    let mut admin = driver.admin.clone();
    for _ in 0..5 {
        driver.put(&mut admin, Cmd::new(0x0c));
    }
    driver.ring(&admin);
    let refused = driver.wait(&mut admin);
    assert_eq!((refused.status(), refused.id), (sc::EVENT_LIMIT, admin_id(5)));
    driver.pass_us(100);
    assert_eq!(driver.poll(&mut admin), None);
}

fn admin_id(number: u16) -> u16 {
    number
}

/// Base 5.2: an event is told once, then again after its log page was read without Retain Asynchronous Event.
#[test]
fn events_of_one_kind_wait_until_the_log_was_read() {
    let mut driver = Driver::on(&kind());
    let mut admin = driver.admin.clone();
    let log = |retain: u32| {
        Cmd::new(2)
            .namespace(0xffff_ffff)
            .with(10, 15 << 16 | retain << 15 | 1)
            .prp(DATA, 0)
    };
    driver.put(&mut admin, Cmd::new(0x0c));
    driver.put(&mut admin, Cmd::new(0x0c));
    driver.ring(&admin);
    driver.pass_us(10);
    driver.set32(0x1010, 1);
    assert_eq!(driver.wait(&mut admin).dword0, INVALID_REGISTER);
    driver.set32(0x1010, 1);
    driver.pass_us(50);
    assert_eq!(driver.poll(&mut admin), None);
    driver.run_on(&mut admin, log(1));
    driver.set32(0x1010, 1);
    driver.pass_us(50);
    assert_eq!(driver.poll(&mut admin), None, "the event was retained");
    driver.run_on(&mut admin, log(0));
    driver.set32(0x1010, 1);
    assert_eq!(driver.wait(&mut admin).dword0, INVALID_REGISTER);
}

/// Base 3.1.3.25: what is written before the controller is ready is nobody's.
#[test]
fn doorbells_before_ready_do_nothing() {
    let mut driver = Driver::off(&kind(), peerdma_sim::device::nvme::Traits::default());
    for offset in (0x1000..0x2000).step_by(4) {
        driver.set32(offset, 7);
    }
    driver.enable(0);
    let page = driver.admin(Cmd::new(6).with(10, 1).prp(DATA, 0));
    assert_eq!(page.status(), sc::SUCCESS);
    assert!(driver.bench.interrupts().len() <= 1);
}
