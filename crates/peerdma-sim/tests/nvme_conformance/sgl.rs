//! Base 4.1.2: scatter gather lists.

use crate::bench::{Bench, Rig};
use crate::driver::{Cmd, DATA, Driver, kind, read, sc, write};
use peerdma_sim::device::{Direction, Purpose};

const LIST: u64 = 0x300_0000;

/// A descriptor: address, length, type and sub type.
pub(crate) fn descriptor(kind: u8, address: u64, len: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&address.to_le_bytes());
    bytes[8..12].copy_from_slice(&len.to_le_bytes());
    bytes[15] = kind;
    bytes
}

const BLOCK: u8 = 0x00;
const BUCKET: u8 = 0x10;
const SEGMENT: u8 = 0x20;
const LAST: u8 = 0x30;

fn list(driver: &mut Driver<Rig>, at: u64, descriptors: &[[u8; 16]]) {
    driver.bench.memory_write(at, &descriptors.concat());
}

#[test]
fn a_data_block_in_the_command_needs_no_alignment() {
    let mut driver = Driver::with_io(&kind());
    for offset in [0, 1, 3, 0xfff] {
        let sent = driver.fill(DATA + offset, 1024, offset as u8);
        let done = driver.io(write().sgl(descriptor(BLOCK, DATA + offset, 1024)).blocks(4, 2));
        assert_eq!(done.status(), sc::SUCCESS);
        let to = DATA + 0x10_0001;
        assert_eq!(
            driver
                .io(read().sgl(descriptor(BLOCK, to, 1024)).blocks(4, 2))
                .status(),
            sc::SUCCESS
        );
        assert_eq!(driver.memory(to, 1024), sent);
    }
}

#[test]
fn segments_lead_to_segments_and_the_last_to_none() {
    let mut driver = Driver::with_io(&kind());
    let sent: Vec<u8> = [(0, 100), (0x1000, 200), (0x2001, 700), (0x3000, 24)]
        .into_iter()
        .flat_map(|(at, len)| driver.fill(DATA + at, len, at as u8 + len as u8))
        .collect();
    list(
        &mut driver,
        LIST + 8,
        &[
            descriptor(BLOCK, DATA, 100),
            descriptor(BLOCK, DATA + 0x1000, 200),
            descriptor(LAST, LIST + 0x1000, 48),
        ],
    );
    list(
        &mut driver,
        LIST + 0x1000,
        &[
            descriptor(BLOCK, DATA + 0x2001, 700),
            descriptor(BLOCK, 7, 0),
            descriptor(BLOCK, DATA + 0x3000, 24),
        ],
    );
    let done = driver.io(write().sgl(descriptor(SEGMENT, LIST + 8, 48)).blocks(0, 2));
    assert_eq!(done.status(), sc::SUCCESS);
    driver.io(read().prp(DATA + 0x10_0000, 0).blocks(0, 2));
    assert_eq!(driver.memory(DATA + 0x10_0000, 1024), sent);
}

/// A bit bucket takes what is read, and counts for nothing in what is written.
#[test]
fn bit_buckets_discard_what_is_read() {
    let mut driver = Driver::with_io(&kind());
    let sent = driver.fill(DATA, 1536, 9);
    list(
        &mut driver,
        LIST,
        &[
            descriptor(BLOCK, DATA, 1000),
            descriptor(BUCKET, 0, 77),
            descriptor(BLOCK, DATA + 1000, 536),
        ],
    );
    assert_eq!(
        driver
            .io(write().sgl(descriptor(LAST, LIST, 48)).blocks(0, 3))
            .status(),
        sc::SUCCESS
    );
    list(
        &mut driver,
        LIST,
        &[
            descriptor(BUCKET, 0, 512),
            descriptor(BLOCK, DATA + 0x10_0000, 300),
            descriptor(BUCKET, 0, 500),
            descriptor(BLOCK, DATA + 0x10_0000 + 300, 224),
        ],
    );
    driver.bench.sent();
    assert_eq!(
        driver
            .io(read().sgl(descriptor(LAST, LIST, 64)).blocks(0, 3))
            .status(),
        sc::SUCCESS
    );
    let moved: u64 = driver
        .bench
        .sent()
        .iter()
        .filter(|transfer| transfer.purpose == Purpose::Payload && transfer.direction == Direction::Out)
        .map(|transfer| transfer.len_bytes)
        .sum();
    assert_eq!(moved, 524);
    let expected = [&sent[512..812], &sent[1312..]].concat();
    assert_eq!(driver.memory(DATA + 0x10_0000, 524), expected);
}

/// Keyed data blocks, transport data blocks, reserved and vendor types, and the sub type "offset", which is for capsules.
#[test]
fn other_types_and_sub_types_are_invalid() {
    let mut driver = Driver::with_io(&kind());
    for kind in [0x40, 0x4f, 0x50, 0x60, 0xe0, 0xf0, 0x01, 0x0a, 0x11, 0x21, 0x31] {
        let bad = descriptor(kind, DATA, 512);
        let done = driver.io(read().sgl(bad).blocks(0, 1));
        assert_eq!(
            (done.status(), done.do_not_retry()),
            (sc::SGL_TYPE, true),
            "{kind:#x} in the command"
        );
        list(&mut driver, LIST, &[bad]);
        let done = driver.io(read().sgl(descriptor(LAST, LIST, 16)).blocks(0, 1));
        assert_eq!(done.status(), sc::SGL_TYPE, "{kind:#x} in a list");
    }
}

#[test]
fn lengths_have_to_match_the_data() {
    let mut driver = Driver::with_io(&kind());
    for len in [0, 511, 513, 0xffff_ffff] {
        let done = driver.io(read().sgl(descriptor(BLOCK, DATA, len)).blocks(0, 1));
        assert_eq!(done.status(), sc::SGL_LENGTH, "{len}");
        list(&mut driver, LIST, &[descriptor(BLOCK, DATA, len)]);
        let done = driver.io(write().sgl(descriptor(LAST, LIST, 16)).blocks(0, 1));
        assert_eq!(done.status(), sc::SGL_LENGTH, "{len} in a list");
    }
}

#[test]
fn segment_descriptors_are_last_and_sound() {
    let mut driver = Driver::with_io(&kind());
    for (len, address) in [(0, LIST), (8, LIST), (24, LIST), (16, LIST + 4)] {
        for kind in [SEGMENT, LAST] {
            let done = driver.io(read().sgl(descriptor(kind, address, len)).blocks(0, 1));
            assert_eq!(done.status(), sc::SGL_SEGMENT, "{kind:#x} {len} {address:#x}");
        }
    }
    let block = descriptor(BLOCK, DATA, 512);
    let onward = descriptor(LAST, LIST + 0x1000, 16);
    list(&mut driver, LIST + 0x1000, &[block]);
    list(&mut driver, LIST, &[onward, block]);
    let done = driver.io(read().sgl(descriptor(SEGMENT, LIST, 32)).blocks(0, 1));
    assert_eq!(done.status(), sc::SGL_COUNT, "not at the end of its segment");
    list(&mut driver, LIST, &[onward]);
    let done = driver.io(read().sgl(descriptor(LAST, LIST, 16)).blocks(0, 1));
    assert_eq!(done.status(), sc::SGL_SEGMENT, "the last segment leads on");
    list(&mut driver, LIST, &[block]);
    let done = driver.io(read().sgl(descriptor(SEGMENT, LIST, 16)).blocks(0, 1));
    assert_eq!(
        done.status(),
        sc::SGL_SEGMENT,
        "a segment that is not the last leads nowhere"
    );
}

/// Base 4.1.2: admin commands over PCIe have PRPs. 3.3.3.1 (PSDT): 10b is for metadata, 11b is reserved.
#[test]
fn sgls_are_for_io_commands() {
    let mut driver = Driver::with_io(&kind());
    let page = Cmd::new(6).with(10, 1).sgl(descriptor(BLOCK, DATA, 4096));
    assert_eq!(driver.admin(page).status(), sc::INVALID_FIELD);
    for kind in [2, 3] {
        let done = driver.io(read().flags(kind << 14).prp(DATA, 0).blocks(0, 1));
        assert_eq!(done.status(), sc::INVALID_FIELD);
    }
}

/// A list that leads to itself ends.
#[test]
fn rings_of_segments_are_cut() {
    let mut driver = Driver::with_io(&kind());
    list(&mut driver, LIST, &[descriptor(SEGMENT, LIST, 16)]);
    let done = driver.io(read().sgl(descriptor(SEGMENT, LIST, 16)).blocks(0, 1));
    assert_eq!(done.status(), sc::SGL_COUNT);
}

#[test]
fn a_list_that_does_not_answer_is_a_data_transfer_error() {
    let mut driver = Driver::with_io(&kind());
    let done = driver.io(read().sgl(descriptor(LAST, 1 << 40, 16)).blocks(0, 1));
    assert_eq!(done.status(), sc::DATA_TRANSFER_ERROR);
    for address in [!0 - 511, !0 - 15] {
        let done = driver.io(write().sgl(descriptor(BLOCK, address, 512)).blocks(0, 1));
        assert_eq!(done.status(), sc::DATA_TRANSFER_ERROR);
    }
    let done = driver.io(read().sgl(descriptor(LAST, !7, 16)).blocks(0, 1));
    assert_eq!(done.status(), sc::DATA_TRANSFER_ERROR);
}
