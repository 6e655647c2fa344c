//! Base 8.2.1, 3.1.3.13 to 3.1.3.20: the controller memory buffer.

use crate::bench::{Bench, CMB_BAR, CMB_BYTES, Rig};
use crate::driver::{Cmd, DATA, Driver, Lies, Pair, kind, kind_with_buffer, read, sc, write};
use crate::sgl::descriptor;
use peerdma_sim::device::Purpose;

const SQS: u8 = 1;
const CQS: u8 = 2;
const LISTS: u8 = 4;
const RDS: u8 = 8;
const WDS: u8 = 16;
const ALL: u8 = 0x1f;
const CQMMS: u16 = 1 << 3;
const CDPMLS: u16 = 1 << 5;
const CDPCILS: u16 = 1 << 6;
const CDMMMS: u16 = 1 << 7;
const CQDA: u16 = 1 << 8;

/// Where the controller is told to find its buffer: not where its BAR is.
const BASE: u64 = 0x7654_3000;
const CMBMSC: u64 = 0x50;

fn with_buffer(size_bits: u8, location_bits: u16) -> Driver<Rig> {
    let mut driver = Driver::with_io(&kind_with_buffer(size_bits, location_bits));
    driver.set64(CMBMSC, BASE | 3);
    driver
}

fn in_buffer(driver: &mut Driver<Rig>, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    driver.bench.mmio_read(CMB_BAR, offset, &mut bytes);
    bytes
}

fn payload(driver: &mut Driver<Rig>) -> Vec<u64> {
    let sent = driver.bench.sent();
    sent.iter()
        .filter(|transfer| transfer.purpose == Purpose::Payload)
        .map(|transfer| transfer.address)
        .collect()
}

/// CAP.CMBS; CMBLOC and CMBSZ show while CMBMSC.CRE is set.
#[test]
fn location_and_size_show_while_they_are_enabled() {
    let mut driver = Driver::off(&kind(), Default::default());
    assert_eq!(driver.reg64(0) >> 57 & 1, 0);
    driver.set64(CMBMSC, 3);
    assert_eq!(
        (driver.reg64(CMBMSC), driver.reg32(0x38), driver.reg32(0x3c)),
        (0, 0, 0)
    );
    let mut driver = Driver::off(&kind_with_buffer(ALL, CDPMLS | CQDA), Default::default());
    assert_eq!(driver.reg64(0) >> 57 & 1, 1);
    assert_eq!((driver.reg32(0x38), driver.reg32(0x3c)), (0, 0));
    driver.set64(CMBMSC, 1);
    assert_eq!(driver.reg32(0x38), 2 | u32::from(CDPMLS | CQDA));
    let size = driver.reg32(0x3c);
    assert_eq!(size & 0xff, u32::from(ALL));
    assert_eq!(u64::from(size >> 12) << (12 + 4 * (size >> 8 & 0xf)), CMB_BYTES);
    assert_eq!((driver.reg32(0x58), driver.reg32(0x5c)), (0, 0));
    driver.set64(CMBMSC, 0);
    assert_eq!(driver.reg32(0x3c), 0);
}

/// CMBSTS.CBAI: the base leaves no room for the buffer.
#[test]
fn a_base_without_room_is_invalid_and_matches_nothing() {
    let mut driver = Driver::with_io(&kind_with_buffer(ALL, 0));
    driver.set64(CMBMSC, (!0xfff) | 3);
    assert_eq!(driver.reg32(0x58), 1);
    driver.bench.sent();
    driver.io(read().prp(!0xfff, 0).blocks(0, 1));
    assert_eq!(payload(&mut driver), [!0xfff]);
    driver.set64(CMBMSC, (!0 - CMB_BYTES + 1) | 3);
    assert_eq!(driver.reg32(0x58), 0);
    driver.set64(CMBMSC, (!0xfff) | 1);
    assert_eq!(driver.reg32(0x58), 0, "only where the memory space is enabled");
}

/// The address range is CMBMSC.CBA's, with CRE and CMSE set; the BAR's address never counts.
#[test]
fn only_the_base_that_software_gave_matches() {
    let mut driver = Driver::with_io(&kind_with_buffer(ALL, 0));
    for control in [0, BASE, BASE | 1, BASE | 2] {
        driver.set64(CMBMSC, control);
        driver.bench.sent();
        driver.io(read().prp(BASE, 0).blocks(0, 1));
        assert_eq!(payload(&mut driver), [BASE], "{control:#x}");
    }
    driver.set64(CMBMSC, BASE | 3);
    driver.fill(DATA, 512, 4);
    assert_eq!(driver.io(write().prp(DATA, 0).blocks(0, 1)).status(), sc::SUCCESS);
    driver.bench.sent();
    let bar = driver.bench.buffer_address();
    for address in [BASE - 0x1000, BASE + CMB_BYTES, bar] {
        driver.io(read().prp(address, 0).blocks(0, 1));
        assert_eq!(payload(&mut driver), [address], "{address:#x} is not the buffer");
    }
    for offset in [0, CMB_BYTES - 512] {
        assert_eq!(
            driver.io(read().prp(BASE + offset, 0).blocks(0, 1)).status(),
            sc::SUCCESS
        );
        assert!(payload(&mut driver).is_empty(), "data in the buffer stays inside");
        assert_eq!(in_buffer(&mut driver, offset, 512), driver.memory(DATA, 512));
    }
}

/// CMBSZ.RDS, WDS: what data may be in the buffer.
#[test]
fn data_needs_the_ability_of_its_direction() {
    for (bits, reads, writes) in [
        (RDS, sc::SUCCESS, sc::CMB_USE),
        (WDS, sc::CMB_USE, sc::SUCCESS),
        (RDS | WDS, sc::SUCCESS, sc::SUCCESS),
    ] {
        let mut driver = with_buffer(bits, 0);
        assert_eq!(driver.io(read().prp(BASE, 0).blocks(0, 1)).status(), reads);
        assert_eq!(driver.io(write().prp(BASE, 0).blocks(0, 1)).status(), writes);
        assert_eq!(
            driver
                .io(write().sgl(descriptor(0, BASE + 5, 512)).blocks(0, 1))
                .status(),
            writes
        );
    }
}

/// CMBSZ.SQS, CQS
#[test]
fn queues_need_their_abilities() {
    let mut driver = with_buffer(RDS, 0);
    assert_eq!(driver.create_cq(2, 64, BASE, 0), sc::CMB_USE);
    assert_eq!(driver.create_sq(2, 64, BASE, 1), sc::CMB_USE);
    let mut driver = with_buffer(SQS, 0);
    assert_eq!(driver.create_cq(2, 64, BASE, 0), sc::CMB_USE);
    assert_eq!(driver.create_sq(2, 64, BASE, 1), sc::SUCCESS);
    let mut driver = with_buffer(CQS, 0);
    assert_eq!(driver.create_cq(2, 64, BASE, 0), sc::SUCCESS);
    assert_eq!(driver.create_sq(2, 64, BASE + 0x1000, 1), sc::CMB_USE);
}

/// CMBLOC.CQMMS: a queue partly in the buffer. CQDA: alignment of a queue in the buffer.
#[test]
fn queues_lie_in_one_memory_and_at_a_page_unless_the_controller_can_more() {
    let edge = BASE + CMB_BYTES - 0x1000;
    let mut driver = with_buffer(ALL, 0);
    assert_eq!(driver.create_sq(2, 128, edge, 1), sc::CMB_USE);
    assert_eq!(driver.create_sq(2, 128, BASE - 0x1000, 1), sc::CMB_USE);
    assert_eq!(driver.create_sq(2, 64, BASE + 64, 1), sc::PRP_OFFSET);
    assert_eq!(driver.create_sq(2, 64, edge, 1), sc::SUCCESS);
    let mut driver = with_buffer(ALL, CQMMS | CQDA);
    assert_eq!(driver.create_sq(2, 128, edge, 1), sc::SUCCESS);
    assert_eq!(driver.create_sq(3, 64, BASE + 2, 1), sc::PRP_OFFSET);
    assert_eq!(driver.create_sq(3, 64, BASE + 4, 1), sc::SUCCESS);
    assert_eq!(
        driver.create_sq(4, 64, 0x10_0004, 1),
        sc::PRP_OFFSET,
        "not in the buffer"
    );
}

/// Queues in the buffer: software writes entries through the BAR, and nothing but doorbells makes the controller look.
#[test]
fn queues_in_the_buffer_never_touch_the_wire() {
    let mut driver = with_buffer(ALL, CQDA);
    assert_eq!(driver.create_cq(2, 8, BASE + 0x2000, 7), sc::SUCCESS);
    assert_eq!(driver.create_sq(2, 8, BASE + 0x1004, 2), sc::SUCCESS);
    let mut pair = Pair::new(2, Lies::InBar(CMB_BAR, 0x1004), Lies::InBar(CMB_BAR, 0x2000), 8);
    driver.pass_us(10);
    driver.bench.sent();
    driver.bench.interrupts();
    for _ in 0..20 {
        let id = driver.put(&mut pair, read().prp(BASE + 0x8000, 0).blocks(0, 8));
        driver.pass_us(50);
        assert_eq!(
            driver.poll(&mut pair),
            None,
            "a write to the buffer has no side effects"
        );
        driver.ring(&pair);
        let done = driver.wait(&mut pair);
        assert_eq!((done.id, done.status()), (id, sc::SUCCESS));
        driver.pass_us(5);
        assert_eq!(driver.bench.interrupts(), [7]);
    }
    assert!(driver.bench.sent().is_empty());
}

/// A queue that reaches over the edge of the buffer is fetched from both memories.
#[test]
fn a_mixed_queue_works_on_both_sides_of_the_edge() {
    let mut driver = Driver::with_io(&kind_with_buffer(ALL, CQMMS));
    // The buffer ends where RAM that holds the rest begins.
    let base = 0x300_0000;
    driver.set64(CMBMSC, base | 3);
    let edge = base + CMB_BYTES - 0x1000;
    assert_eq!(driver.create_sq(2, 128, edge, 1), sc::SUCCESS);
    let mut inside = Pair::new(
        2,
        Lies::InBar(CMB_BAR, CMB_BYTES - 0x1000),
        driver.io.completion,
        128,
    );
    let mut outside = Pair::new(2, Lies::At(edge), driver.io.completion, 128);
    for block in 0..80_u64 {
        let pair = if block < 64 { &mut inside } else { &mut outside };
        pair.tail = block;
        driver.put_as(pair, read().prp(DATA, 0).blocks(block, 1), block as u16);
        driver.set32(0x1010, block as u32 + 1);
        let mut io = driver.io.clone();
        let done = driver.wait(&mut io);
        driver.io = io;
        assert_eq!(
            (done.status(), done.id, done.queue),
            (sc::SUCCESS, block as u16, 2)
        );
    }
}

const LIST: u64 = 0x300_0000;

/// Writes a PRP list of two pages, in the buffer or not, and returns a read that uses it.
fn with_list(driver: &mut Driver<Rig>, list: u64, pages: [u64; 2]) -> Cmd {
    let bytes: Vec<u8> = pages.iter().flat_map(|page| page.to_le_bytes()).collect();
    if list >= BASE {
        driver.bench.mmio_write(CMB_BAR, list - BASE, &bytes);
    } else {
        driver.bench.memory_write(list, &bytes);
    }
    read().prp(DATA, list).blocks(0, 24)
}

/// CMBSZ.LISTS, CMBLOC.CDPCILS: lists in the buffer, for commands in the buffer or elsewhere.
#[test]
fn lists_in_the_buffer_need_the_ability_and_a_command_beside_them() {
    let pages = [DATA + 0x1000, DATA + 0x2000];
    for (size, location, expected) in [
        (SQS | CQS | RDS, CDPCILS, sc::CMB_USE),
        (SQS | CQS | RDS | LISTS, 0, sc::CMB_USE),
        (SQS | CQS | RDS | LISTS, CDPCILS, sc::SUCCESS),
    ] {
        let mut driver = with_buffer(size, location);
        let command = with_list(&mut driver, BASE + 0x4000, pages);
        assert_eq!(driver.io(command).status(), expected);
        let segment = descriptor(0, DATA, 512);
        driver.bench.mmio_write(CMB_BAR, 0x5000, &segment);
        let command = read().sgl(descriptor(0x30, BASE + 0x5000, 16)).blocks(0, 1);
        assert_eq!(driver.io(command).status(), expected);
    }
    let mut driver = with_buffer(ALL, 0);
    assert_eq!(driver.create_sq(2, 8, BASE, 1), sc::SUCCESS);
    let mut pair = Pair::new(2, Lies::InBar(CMB_BAR, 0), driver.io.completion, 8);
    let command = with_list(&mut driver, BASE + 0x4000, pages);
    driver.put(&mut pair, command);
    driver.bench.sent();
    driver.ring(&pair);
    let mut io = driver.io.clone();
    assert_eq!(
        driver.wait(&mut io).status(),
        sc::SUCCESS,
        "the command is in the buffer too"
    );
    let fetched = driver
        .bench
        .sent()
        .iter()
        .filter(|transfer| transfer.address >= BASE)
        .count();
    assert_eq!(fetched, 0);
}

/// CMBLOC.CDPMLS: the memory of one list.
#[test]
fn one_list_lies_in_one_memory_unless_the_controller_can_more() {
    for (location, expected) in [(CDPCILS, sc::CMB_USE), (CDPCILS | CDPMLS, sc::SUCCESS)] {
        let mut driver = with_buffer(ALL, location);
        // A list page with room for one entry, which leads into the buffer.
        driver
            .bench
            .memory_write(LIST + 4088, &(BASE + 0x4000).to_le_bytes());
        with_list(&mut driver, BASE + 0x4000, [DATA + 0x1000, DATA + 0x2000]);
        assert_eq!(
            driver.io(read().prp(DATA, LIST + 4088).blocks(0, 24)).status(),
            expected
        );
    }
}

/// Base 8.2.1, CMBLOC.CDMMMS: the data of one command.
#[test]
fn data_of_one_command_lies_in_one_memory_unless_the_controller_can_more() {
    for (location, expected) in [(CDPMLS, sc::CMB_USE), (CDMMMS, sc::SUCCESS)] {
        let mut driver = with_buffer(ALL, location);
        assert_eq!(driver.io(read().prp(DATA, BASE).blocks(0, 16)).status(), expected);
        assert_eq!(driver.io(read().prp(BASE, DATA).blocks(0, 16)).status(), expected);
        let across = descriptor(0, BASE + CMB_BYTES - 100, 512);
        driver.bench.sent();
        assert_eq!(driver.io(read().sgl(across).blocks(0, 1)).status(), expected);
        if expected == sc::SUCCESS {
            assert_eq!(payload(&mut driver), [BASE + CMB_BYTES]);
        }
    }
}

/// Base 8.2.1: admin queues may be in the buffer, which software describes before it enables the controller.
#[test]
fn admin_queues_may_be_in_the_buffer() {
    for (bits, state) in [(ALL, 1), (SQS, 2), (CQS, 2)] {
        let mut driver = Driver::off(&kind_with_buffer(bits, 0), Default::default());
        driver.set64(CMBMSC, BASE | 3);
        driver.set32(0x24, 31 << 16 | 31);
        driver.set64(0x28, BASE);
        driver.set64(0x30, BASE + 0x1000);
        driver.set32(0x14, 4 << 20 | 6 << 16 | 1);
        driver.pass_us(50);
        assert_eq!(driver.csts(), state);
        if state == 1 {
            driver.admin = Pair::new(0, Lies::InBar(CMB_BAR, 0), Lies::InBar(CMB_BAR, 0x1000), 32);
            assert_eq!(
                driver
                    .admin(Cmd::new(6).with(10, 1).prp(BASE + 0x2000, 0))
                    .status(),
                sc::SUCCESS
            );
            assert!(driver.bench.sent().is_empty());
        }
    }
}
