//! NVM Express 1.3, 3.1.11, 3.1.12, 4.7: the controller memory buffer as it was before CMBMSC.

use crate::bench::{Bench, CMB_BAR, CMB_BYTES, Rig};
use crate::driver::{Cmd, DATA, Driver, Lies, Pair, kind_with_old_buffer, read, sc, write};

const SQS: u8 = 1;
const CQS: u8 = 2;
const LISTS: u8 = 4;
const RDS: u8 = 8;
const WDS: u8 = 16;
const ALL: u8 = 0x1f;
const CMBMSC: u64 = 0x50;
/// Where nothing is that means the buffer.
const ELSEWHERE: u64 = 0x300_0000;

/// Enabled with I/O queues, and the address of its buffer.
fn ready(size_bits: u8) -> (Driver<Rig>, u64) {
    let driver = Driver::with_io(&kind_with_old_buffer(size_bits));
    let buffer = driver.bench.buffer_address();
    (driver, buffer)
}

fn in_buffer(driver: &mut Driver<Rig>, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    driver.bench.mmio_read(CMB_BAR, offset, &mut bytes);
    bytes
}

/// 3.1.1 (bit 57 reserved), 3.1.2, 3.1.11, 3.1.12
#[test]
fn location_and_size_show_from_the_start_and_nothing_else_tells_of_the_buffer() {
    let mut driver = Driver::off(&kind_with_old_buffer(ALL), Default::default());
    for control in [0, 1, 3, ELSEWHERE | 3] {
        driver.set64(CMBMSC, control);
        assert_eq!(driver.reg64(0) >> 57 & 1, 0, "CAP.CMBS");
        assert_eq!(driver.reg32(0x08), 0x0001_0300, "VS");
        assert_eq!(driver.reg32(0x38), CMB_BAR.into(), "CMBLOC");
        let size = driver.reg32(0x3c);
        assert_eq!(size & 0xff, u32::from(ALL));
        assert_eq!(u64::from(size >> 12) << (12 + 4 * (size >> 8 & 0xf)), CMB_BYTES);
        assert_eq!((driver.reg64(CMBMSC), driver.reg64(0x58)), (0, 0));
    }
}

/// 4.7: the bus address of the BAR is the address of the buffer; what is written to where CMBMSC will be does not matter.
#[test]
fn the_address_in_the_bar_matches_and_no_other() {
    let (mut driver, buffer) = ready(ALL);
    driver.set64(CMBMSC, ELSEWHERE | 3);
    driver.fill(DATA, 512, 4);
    assert_eq!(driver.io(write().prp(DATA, 0).blocks(0, 1)).status(), sc::SUCCESS);
    for offset in [0, CMB_BYTES - 512] {
        driver.bench.sent();
        let done = driver.io(read().prp(buffer + offset, 0).blocks(0, 1));
        assert_eq!(done.status(), sc::SUCCESS);
        let sent = driver.bench.sent();
        assert!(sent.iter().all(|transfer| transfer.address < buffer), "{sent:?}");
        assert_eq!(in_buffer(&mut driver, offset, 512), driver.memory(DATA, 512));
    }
    for address in [ELSEWHERE, buffer - 0x1000, buffer + CMB_BYTES] {
        driver.bench.sent();
        driver.io(read().prp(address, 0).blocks(0, 1));
        let sent = driver.bench.sent();
        assert!(
            sent.iter().any(|transfer| transfer.address == address),
            "{address:#x} is not the buffer"
        );
    }
}

/// 3.1.12: RDS, WDS, SQS, CQS
#[test]
fn data_and_queues_need_their_abilities() {
    for (bits, reads, writes) in [(RDS, sc::SUCCESS, sc::CMB_USE), (WDS, sc::CMB_USE, sc::SUCCESS)] {
        let (mut driver, buffer) = ready(bits);
        assert_eq!(driver.io(read().prp(buffer, 0).blocks(0, 1)).status(), reads);
        assert_eq!(driver.io(write().prp(buffer, 0).blocks(0, 1)).status(), writes);
        assert_eq!(driver.create_cq(2, 64, buffer, 0), sc::CMB_USE);
    }
    let (mut driver, buffer) = ready(SQS | CQS);
    assert_eq!(driver.create_cq(2, 64, buffer, 0), sc::SUCCESS);
    assert_eq!(driver.create_sq(2, 64, buffer + 0x1000, 2), sc::SUCCESS);
}

/// 4.7: a queue, a list, and the data of a command each lie in one memory; a list in the buffer needs a command beside it.
#[test]
fn nothing_lies_in_two_memories() {
    let (mut driver, buffer) = ready(ALL);
    let edge = buffer + CMB_BYTES - 0x1000;
    assert_eq!(driver.create_sq(2, 128, edge, 1), sc::CMB_USE);
    assert_eq!(driver.create_sq(2, 64, buffer + 64, 1), sc::PRP_OFFSET);
    for (one, other) in [(DATA, buffer), (buffer, DATA)] {
        assert_eq!(
            driver.io(read().prp(one, other).blocks(0, 16)).status(),
            sc::CMB_USE
        );
    }
    let pages: Vec<u8> = [DATA + 0x1000, DATA + 0x2000]
        .iter()
        .flat_map(|page: &u64| page.to_le_bytes())
        .collect();
    driver.bench.mmio_write(CMB_BAR, 0x4000, &pages);
    let command = read().prp(DATA, buffer + 0x4000).blocks(0, 24);
    assert_eq!(driver.io(command).status(), sc::CMB_USE);
    assert_eq!(driver.create_sq(2, 8, buffer, 1), sc::SUCCESS);
    let mut pair = Pair::new(2, Lies::InBar(CMB_BAR, 0), driver.io.completion, 8);
    driver.put(&mut pair, read().prp(DATA, buffer + 0x4000).blocks(0, 24));
    driver.ring(&pair);
    let mut io = driver.io.clone();
    assert_eq!(driver.wait(&mut io).status(), sc::SUCCESS);
    let (mut driver, buffer) = ready(SQS | LISTS);
    let command = read().prp(buffer, 0).blocks(0, 1);
    assert_eq!(driver.io(command).status(), sc::CMB_USE, "lists only");
}

/// 4.7: admin queues too; nothing has to be switched on before.
#[test]
fn admin_queues_may_be_in_the_buffer() {
    for (bits, state) in [(ALL, 1), (SQS, 2), (CQS, 2)] {
        let mut driver = Driver::off(&kind_with_old_buffer(bits), Default::default());
        let buffer = driver.bench.buffer_address();
        driver.set32(0x24, 31 << 16 | 31);
        driver.set64(0x28, buffer);
        driver.set64(0x30, buffer + 0x1000);
        driver.set32(0x14, 4 << 20 | 6 << 16 | 1);
        driver.pass_us(50);
        assert_eq!(driver.csts(), state);
        if state == 1 {
            driver.admin = Pair::new(0, Lies::InBar(CMB_BAR, 0), Lies::InBar(CMB_BAR, 0x1000), 32);
            let command = Cmd::new(6).with(10, 1).prp(buffer + 0x2000, 0);
            assert_eq!(driver.admin(command).status(), sc::SUCCESS);
            assert!(driver.bench.sent().is_empty());
        }
    }
}

/// 5.15: VER; bytes that 1.3 reserves are zero.
#[test]
fn identify_tells_the_same_version_and_nothing_of_later_ones() {
    const VER: usize = 80;
    const CNTRLTYPE: usize = 111;
    const VWC: usize = 525;
    let mut driver = Driver::on(&kind_with_old_buffer(ALL));
    assert_eq!(
        driver.admin(Cmd::new(6).with(10, 1).prp(DATA, 0)).status(),
        sc::SUCCESS
    );
    let page = driver.memory(DATA, 4096);
    assert_eq!(page[VER..VER + 4], 0x0001_0300_u32.to_le_bytes());
    assert_eq!((page[CNTRLTYPE], page[VWC]), (0, 1));
}
