//! NVM Command Set 3: the I/O commands.

use crate::bench::Bench;
use crate::driver::{Cmd, DATA, Driver, kind, read, sc, write};
use crate::sgl::descriptor;

const FLUSH: u8 = 0;
const COMPARE: u8 = 5;
const WRITE_ZEROES: u8 = 8;
const DATASET: u8 = 9;

/// Base 3.3.3.1, 4.6.1.2.1: opcodes, fused operations, namespaces.
#[test]
fn commands_that_cannot_be_have_the_right_status() {
    let mut driver = Driver::with_io(&kind());
    for opcode in [0x03, 0x04, 0x0a, 0x0d, 0x19, 0x7f, 0x80, 0xff] {
        let done = driver.io(Cmd::new(opcode).namespace(1));
        assert_eq!(
            (done.status(), done.do_not_retry()),
            (sc::INVALID_OPCODE, true),
            "{opcode:#x}"
        );
    }
    for fused in [1, 2, 3] {
        let done = driver.io(read().flags(fused << 8).prp(DATA, 0).blocks(0, 1));
        assert_eq!(done.status(), sc::INVALID_FIELD);
    }
    for number in [0, 3, 0xffff_fffe, 0xffff_ffff] {
        for opcode in [1, 2, COMPARE, WRITE_ZEROES, DATASET] {
            let done = driver.io(Cmd::new(opcode).namespace(number).prp(DATA, 0));
            assert_eq!(
                (done.status(), done.do_not_retry()),
                (sc::INVALID_NAMESPACE, true),
                "{opcode} {number:#x}"
            );
        }
    }
}

/// NVM Command Set 3.2.4, 3.2.6 (SLBA, NLB): the last block, and one more.
#[test]
fn blocks_end_with_the_namespace() {
    let mut driver = Driver::with_io(&kind());
    for (number, blocks) in [(1, 8192), (2, 1024)] {
        for opcode in [1, 2, COMPARE, WRITE_ZEROES] {
            let at = |first, count| {
                Cmd::new(opcode)
                    .namespace(number)
                    .prp(DATA, DATA + 4096)
                    .blocks(first, count)
            };
            driver.fill(DATA, 8192, 0);
            driver.bench.memory_write(DATA, &[0; 8192]);
            assert_eq!(driver.io(at(blocks - 1, 1)).status(), sc::SUCCESS);
            for (first, count) in [
                (blocks - 1, 2),
                (blocks, 1),
                (!0, 1),
                (!0, 0x1_0000),
                (1 << 60, 1),
            ] {
                let done = driver.io(at(first, count));
                assert_eq!(
                    (done.status(), done.do_not_retry()),
                    (sc::LBA_RANGE, true),
                    "{opcode} {first:#x} {count}"
                );
            }
        }
    }
}

/// Base 5.17.2.1 (MDTS): 2^9 pages of 4 KiB.
#[test]
fn one_command_moves_no_more_than_the_controller_says() {
    let mut driver = Driver::with_io(&kind());
    let all = |blocks| read().sgl(descriptor(0, DATA, blocks * 512)).blocks(0, blocks);
    assert_eq!(driver.io(all(4096)).status(), sc::SUCCESS);
    assert_eq!(driver.io(all(4097)).status(), sc::INVALID_FIELD);
    let zeroes = Cmd::new(WRITE_ZEROES).namespace(1).blocks(0, 8192);
    assert_eq!(driver.io(zeroes).status(), sc::SUCCESS, "it moves nothing");
}

/// NVM Command Set 3.1: Flush, of one namespace and of all (VWC).
#[test]
fn flush_takes_one_namespace_or_all() {
    let mut driver = Driver::with_io(&kind());
    for (number, status) in [
        (1, sc::SUCCESS),
        (2, sc::SUCCESS),
        (0xffff_ffff, sc::SUCCESS),
        (0, sc::INVALID_NAMESPACE),
        (3, sc::INVALID_NAMESPACE),
    ] {
        assert_eq!(driver.io(Cmd::new(FLUSH).namespace(number)).status(), status);
    }
}

/// NVM Command Set 3.2.8
#[test]
fn write_zeroes_makes_zeros_of_its_blocks_alone() {
    let mut driver = Driver::with_io(&kind());
    let mut sent = driver.fill(DATA, 4096, 7);
    driver.io(write().prp(DATA, 0).blocks(100, 8));
    assert_eq!(
        driver
            .io(Cmd::new(WRITE_ZEROES).namespace(1).blocks(102, 3))
            .status(),
        sc::SUCCESS
    );
    sent[1024..2560].fill(0);
    driver.io(read().prp(DATA, 0).blocks(100, 8));
    assert_eq!(driver.memory(DATA, 4096), sent);
}

/// NVM Command Set 3.2.1
#[test]
fn compare_tells_equal_from_unequal() {
    let mut driver = Driver::with_io(&kind());
    driver.fill(DATA, 4096, 7);
    driver.io(write().prp(DATA, 0).blocks(0, 8));
    let compare = Cmd::new(COMPARE).namespace(1).prp(DATA, 0).blocks(0, 8);
    assert_eq!(driver.io(compare).status(), sc::SUCCESS);
    driver.bench.memory_write(DATA + 4095, &[1]);
    assert_eq!(driver.io(compare).status(), sc::COMPARE_FAILURE);
}

/// NVM Command Set 3.2.3
#[test]
fn deallocated_blocks_read_as_zeros() {
    let mut driver = Driver::with_io(&kind());
    driver.fill(DATA, 4096, 7);
    driver.io(write().prp(DATA, 0).blocks(0, 8));
    let range = |first: u64, count: u32| [&[0; 4][..], &count.to_le_bytes(), &first.to_le_bytes()].concat();
    driver
        .bench
        .memory_write(DATA + 0x2000, &[range(1, 2), range(6, 1)].concat());
    let manage = |attributes| {
        Cmd::new(DATASET)
            .namespace(1)
            .prp(DATA + 0x2000, 0)
            .with(10, 1)
            .with(11, attributes)
    };
    assert_eq!(driver.io(manage(3)).status(), sc::SUCCESS, "hints");
    assert_eq!(driver.io(manage(4)).status(), sc::SUCCESS);
    let mut expected = driver.memory(DATA, 4096);
    expected[512..1536].fill(0);
    expected[3072..3584].fill(0);
    driver.io(read().prp(DATA + 0x8000, 0).blocks(0, 8));
    assert_eq!(driver.memory(DATA + 0x8000, 4096), expected);
    driver.bench.memory_write(DATA + 0x2000, &range(8190, 3));
    assert_eq!(driver.io(manage(4)).status(), sc::LBA_RANGE);
}

/// Base 3.3.3.1 (CID): unique among the outstanding commands of a queue.
#[test]
fn an_identifier_in_use_is_a_conflict() {
    let mut driver = Driver::with_io(&kind());
    let mut io = driver.io.clone();
    for _ in 0..2 {
        driver.put_as(&mut io, read().prp(DATA, 0).blocks(0, 1), 77);
    }
    driver.ring(&io);
    let mut done = [driver.wait(&mut io), driver.wait(&mut io)].map(|done| (done.id, done.status()));
    done.sort_unstable();
    assert_eq!(done, [(77, sc::SUCCESS), (77, sc::ID_CONFLICT)]);
}

/// NVM Command Set 2.1.4 (atomic operation, AWUN = 0): no block is a mixture of two commands.
#[test]
fn commands_on_the_same_blocks_do_not_mix() {
    let mut driver = Driver::with_io(&kind());
    let mut io = driver.io.clone();
    for writer in 0..8_u64 {
        driver
            .bench
            .memory_write(DATA + writer * 0x1000, &[writer as u8 + 1; 4096]);
        driver.put(&mut io, write().prp(DATA + writer * 0x1000, 0).blocks(0, 8));
        driver.put(
            &mut io,
            read().prp(DATA + 0x10_0000 + writer * 0x1000, 0).blocks(0, 8),
        );
    }
    driver.ring(&io);
    for _ in 0..16 {
        assert_eq!(driver.wait(&mut io).status(), sc::SUCCESS);
    }
    for writer in 0..8_u64 {
        let found = driver.memory(DATA + 0x10_0000 + writer * 0x1000, 4096);
        assert!(
            found
                .chunks(512)
                .all(|block| block.iter().all(|byte| *byte == block[0] && *byte != 0))
        );
    }
}

/// Base 4.6.1: a completion follows its data; several commands are under way at once.
#[test]
fn data_is_there_when_the_completion_is_and_commands_overlap() {
    let mut driver = Driver::with_io(&kind());
    let mut io = driver.io.clone();
    driver.fill(DATA, 0x1_0000, 3);
    let all = write().sgl(descriptor(0, DATA, 0x1_0000)).blocks(0, 128);
    assert_eq!(driver.run_on(&mut io, all).status(), sc::SUCCESS);
    let started = driver.bench.now_ps();
    for block in 0..32 {
        driver.put(
            &mut io,
            read()
                .prp(DATA + 0x10_0000 + 4096 * block, 0)
                .blocks(4 * block, 4),
        );
    }
    driver.ring(&io);
    for _ in 0..32 {
        let done = driver.wait(&mut io);
        assert_eq!(done.status(), sc::SUCCESS);
    }
    for block in 0..32 {
        assert_eq!(
            driver.memory(DATA + 0x10_0000 + 4096 * block, 2048),
            driver.memory(DATA + 2048 * block, 2048)
        );
    }
    let took_us = (driver.bench.now_ps() - started) / 1_000_000;
    assert!(took_us < 32 * 8 / 2, "{took_us} us for 32 reads");
}
