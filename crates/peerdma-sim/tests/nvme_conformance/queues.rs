//! Base 5.4 to 5.7: making and deleting I/O queues; 3.3.1: rings; 4.2: interrupts.

use crate::bench::Bench;
use crate::driver::{Cmd, Driver, Lies, Pair, kind, read, sc};
use peerdma_sim::device::nvme::Traits;

const SQ: u64 = 0x10_0000;
const CQ: u64 = 0x20_0000;

/// Base 5.4, status values of Create I/O Completion Queue
#[test]
fn a_completion_queue_is_refused_for_each_reason_of_the_specification() {
    let mut driver = Driver::on(&kind());
    assert_eq!(driver.create_cq(0, 64, CQ, 0), sc::QUEUE_ID);
    assert_eq!(driver.create_cq(65, 64, CQ, 0), sc::QUEUE_ID);
    assert_eq!(driver.create_cq(1, 1, CQ, 0), sc::QUEUE_SIZE);
    assert_eq!(driver.create_cq(1, 4097, CQ, 0), sc::QUEUE_SIZE);
    assert_eq!(driver.create_cq(1, 64, CQ, 65), sc::VECTOR);
    assert_eq!(driver.create_cq(1, 64, CQ + 16, 0), sc::PRP_OFFSET);
    let scattered = Cmd::new(5).prp(CQ, 0).with(10, 63 << 16 | 1).with(11, 2);
    assert_eq!(
        driver.admin(scattered).status(),
        sc::INVALID_FIELD,
        "CAP.CQR asks for PC"
    );
    assert_eq!(driver.create_cq(1, 64, CQ, 64), sc::SUCCESS);
    assert_eq!(driver.create_cq(1, 64, CQ, 0), sc::QUEUE_ID, "it exists");
}

/// Base 5.5, status values of Create I/O Submission Queue
#[test]
fn a_submission_queue_is_refused_for_each_reason_of_the_specification() {
    let mut driver = Driver::on(&kind());
    assert_eq!(driver.create_cq(2, 64, CQ, 0), sc::SUCCESS);
    assert_eq!(driver.create_sq(0, 64, SQ, 2), sc::QUEUE_ID);
    assert_eq!(driver.create_sq(65, 64, SQ, 2), sc::QUEUE_ID);
    assert_eq!(driver.create_sq(1, 1, SQ, 2), sc::QUEUE_SIZE);
    assert_eq!(driver.create_sq(1, 4097, SQ, 2), sc::QUEUE_SIZE);
    assert_eq!(
        driver.create_sq(1, 64, SQ, 0),
        sc::QUEUE_ID,
        "not the admin queue"
    );
    assert_eq!(driver.create_sq(1, 64, SQ, 65), sc::QUEUE_ID, "no such number");
    assert_eq!(driver.create_sq(1, 64, SQ, 3), sc::CQ_INVALID, "not made yet");
    assert_eq!(driver.create_sq(1, 64, SQ + 64, 2), sc::PRP_OFFSET);
    let scattered = Cmd::new(1).prp(SQ, 0).with(10, 63 << 16 | 1).with(11, 2 << 16);
    assert_eq!(driver.admin(scattered).status(), sc::INVALID_FIELD);
    assert_eq!(driver.create_sq(1, 64, SQ, 2), sc::SUCCESS);
    assert_eq!(driver.create_sq(1, 64, SQ, 2), sc::QUEUE_ID);
}

/// Base 3.1.3.5 (IOSQES, IOCQES): 64 and 16 bytes
#[test]
fn queues_need_the_entry_sizes_to_be_set() {
    let mut driver = Driver::on(&kind());
    driver.set32(0x14, 1);
    assert_eq!(driver.create_cq(1, 64, CQ, 0), sc::QUEUE_SIZE);
    driver.set32(0x14, 4 << 20 | 1);
    assert_eq!(driver.create_cq(1, 64, CQ, 0), sc::SUCCESS);
    assert_eq!(driver.create_sq(1, 64, SQ, 1), sc::QUEUE_SIZE);
    driver.set32(0x14, 4 << 20 | 6 << 16 | 1);
    assert_eq!(driver.create_sq(1, 64, SQ, 1), sc::SUCCESS);
}

/// Base 5.27.1.5 (Number of Queues), 5.4: the number that was granted is the limit, and is settled by the first queue.
#[test]
fn the_number_of_queues_is_granted_once() {
    let mut driver = Driver::on(&kind());
    let ask = |driver: &mut Driver<_>, value| driver.admin(Cmd::new(9).with(10, 7).with(11, value));
    assert_eq!(ask(&mut driver, 0xffff).status(), sc::INVALID_FIELD);
    assert_eq!(ask(&mut driver, 0xffff_0000).status(), sc::INVALID_FIELD);
    assert_eq!(ask(&mut driver, 1000 << 16 | 1000).dword0, 63 << 16 | 63);
    assert_eq!(ask(&mut driver, 2 << 16 | 1).dword0, 2 << 16 | 1);
    assert_eq!(driver.create_cq(4, 64, CQ, 0), sc::QUEUE_ID);
    assert_eq!(driver.create_cq(3, 64, CQ, 0), sc::SUCCESS);
    assert_eq!(driver.create_sq(3, 64, SQ, 3), sc::QUEUE_ID);
    assert_eq!(driver.create_sq(2, 64, SQ, 3), sc::SUCCESS);
    assert_eq!(ask(&mut driver, 7 << 16 | 7).status(), sc::SEQUENCE_ERROR);
}

/// Base 5.6, 5.7: submission queues go before the completion queue that they use.
#[test]
fn queues_are_deleted_in_order() {
    let mut driver = Driver::with_io(&kind());
    let delete_sq = |number| Cmd::new(0).with(10, number);
    let delete_cq = |number| Cmd::new(4).with(10, number);
    for number in [0, 2, 65, 0xffff] {
        assert_eq!(driver.admin(delete_sq(number)).status(), sc::QUEUE_ID);
        assert_eq!(driver.admin(delete_cq(number)).status(), sc::QUEUE_ID);
    }
    assert_eq!(driver.admin(delete_cq(1)).status(), sc::QUEUE_DELETION);
    assert_eq!(driver.admin(delete_sq(1)).status(), sc::SUCCESS);
    assert_eq!(driver.admin(delete_sq(1)).status(), sc::QUEUE_ID);
    assert_eq!(driver.admin(delete_cq(1)).status(), sc::SUCCESS);
    assert_eq!(driver.admin(delete_cq(1)).status(), sc::QUEUE_ID);
}

/// Base 5.7: the Delete command completes behind all commands of the queue.
#[test]
fn deleting_a_queue_waits_for_its_commands() {
    let mut driver = Driver::with_io(&kind());
    let mut io = driver.io.clone();
    for block in 0..60 {
        driver.put(&mut io, read().prp(0x100_0000, 0).blocks(block, 1));
    }
    driver.ring(&io);
    driver.pass_us(1);
    assert_eq!(driver.admin(Cmd::new(0).with(10, 1)).status(), sc::SUCCESS);
    let mut completed = 0;
    while driver.poll(&mut io).is_some() {
        completed += 1;
    }
    assert!((1..60).contains(&completed), "{completed} of 60");
    driver.pass_us(1000);
    assert_eq!(driver.poll(&mut io), None, "nothing follows");
}

/// Base 3.3.1.2.1: a full completion queue is not written over; 4.2.4.2: the phase tag inverts on each pass.
#[test]
fn a_full_completion_queue_waits_for_its_reader() {
    let mut driver = Driver::on(&kind());
    assert_eq!(driver.create_cq(1, 4, CQ, 1), sc::SUCCESS);
    assert_eq!(driver.create_sq(1, 64, SQ, 1), sc::SUCCESS);
    let mut submission = Pair::new(1, Lies::At(SQ), Lies::At(CQ), 64);
    let mut completion = Pair::new(1, Lies::At(SQ), Lies::At(CQ), 4);
    for block in 0..50 {
        driver.put(&mut submission, read().prp(0x100_0000, 0).blocks(block, 1));
    }
    driver.ring(&submission);
    for _ in 0..16 {
        driver.pass_us(200);
        for _ in 0..3 {
            assert!(driver.poll(&mut completion).is_some());
        }
        assert_eq!(driver.poll(&mut completion), None);
        driver.ring_head(&completion);
    }
    driver.pass_us(200);
    assert!(driver.poll(&mut completion).is_some() && driver.poll(&mut completion).is_some());
    assert_eq!(driver.poll(&mut completion), None);
}

/// Base 3.3.3.2: SQHD tells how far the controller has fetched; entries wrap around.
#[test]
fn the_head_pointer_in_completions_follows_the_ring_around() {
    let mut driver = Driver::on(&kind());
    assert_eq!(driver.create_cq(1, 5, CQ, 1), sc::SUCCESS);
    assert_eq!(driver.create_sq(1, 5, SQ, 1), sc::SUCCESS);
    let mut pair = Pair::new(1, Lies::At(SQ), Lies::At(CQ), 5);
    for turn in 1..=23_u16 {
        let done = driver.run_on(&mut pair, read().prp(0x100_0000, 0).blocks(0, 1));
        assert_eq!((done.status(), done.head), (sc::SUCCESS, turn % 5));
    }
}

/// Base 3.4.4.1: round robin; no queue starves another.
#[test]
fn queues_take_turns() {
    let mut driver = Driver::on(&kind());
    let mut pairs: Vec<Pair> = (1..=3_u16)
        .map(|number| {
            let (sq, cq) = (
                SQ + 0x1_0000 * u64::from(number),
                CQ + 0x1_0000 * u64::from(number),
            );
            assert_eq!(driver.create_cq(number, 256, cq, number), sc::SUCCESS);
            assert_eq!(driver.create_sq(number, 256, sq, number), sc::SUCCESS);
            Pair::new(number, Lies::At(sq), Lies::At(cq), 256)
        })
        .collect();
    for pair in &mut pairs {
        for block in 0..200 {
            driver.put(pair, read().prp(0x100_0000, 0).blocks(block, 1));
        }
    }
    for pair in &pairs {
        driver.ring(pair);
    }
    driver.pass_us(60);
    let done: Vec<usize> = pairs
        .iter_mut()
        .map(|pair| std::iter::from_fn(|| driver.poll(pair)).count())
        .collect();
    let (least, most) = (done.iter().min().unwrap(), done.iter().max().unwrap());
    assert!(*least > 20 && most - least <= 48, "{done:?}");
}

/// Base 4.2.1 (interrupts), 3.1.3.3, 3.1.3.4 (INTMS, INTMC)
#[test]
fn vectors_are_raised_behind_their_entries_and_masks_hold_them_back() {
    let mut driver = Driver::with_io(&kind());
    driver.bench.interrupts();
    driver.io(read().prp(0x100_0000, 0).blocks(0, 1));
    driver.pass_us(10);
    assert_eq!(driver.bench.interrupts(), [1]);
    driver.set32(0x0c, 2);
    assert_eq!((driver.reg32(0x0c), driver.reg32(0x10)), (2, 2));
    let mut io = driver.io.clone();
    driver.put(&mut io, read().prp(0x100_0000, 0).blocks(0, 1));
    driver.ring(&io);
    driver.pass_us(50);
    assert!(driver.bench.interrupts().is_empty());
    driver.set32(0x10, 2);
    driver.pass_us(5);
    assert_eq!(driver.bench.interrupts(), [1], "there is something to read");
    assert_eq!(driver.reg32(0x0c), 0);
    // Without IEN none comes.
    let silent = Cmd::new(5)
        .prp(CQ + 0x1_0000, 0)
        .with(10, 63 << 16 | 2)
        .with(11, 5 << 16 | 1);
    assert_eq!(driver.admin(silent).status(), sc::SUCCESS);
    assert_eq!(driver.create_sq(2, 64, SQ + 0x1_0000, 2), sc::SUCCESS);
    driver.pass_us(10);
    driver.bench.interrupts();
    let mut pair = Pair::new(2, Lies::At(SQ + 0x1_0000), Lies::At(CQ + 0x1_0000), 64);
    assert_eq!(
        driver
            .run_on(&mut pair, read().prp(0x100_0000, 0).blocks(0, 1))
            .status(),
        sc::SUCCESS
    );
    driver.pass_us(10);
    assert!(driver.bench.interrupts().is_empty());
}

/// Base 3.1.3.1 (CAP.DSTRD)
#[test]
fn doorbells_are_apart_as_the_stride_says() {
    let traits = Traits {
        doorbell_stride_log2: 3,
        io_queues: 8,
        ..Traits::default()
    };
    let mut driver = Driver::off(&kind(), traits);
    driver.enable(0);
    assert_eq!(driver.reg64(0) >> 32 & 0xf, 3);
    driver.make_io();
    assert_eq!(
        driver.io(read().prp(0x100_0000, 0).blocks(0, 1)).status(),
        sc::SUCCESS
    );
}
