//! Data between neighbours: what a controller reads and writes may be another's buffer.

use crate::driver::{DATA, Driver, kind, read, sc, write};

#[test]
fn blocks_go_straight_into_a_neighbours_buffer_and_back() {
    let mut driver = Driver::with_io(&kind());
    let sent = driver.fill(DATA, 4096, 3);
    assert_eq!(driver.io(write().prp(DATA, 0).blocks(0, 8)).status(), sc::SUCCESS);
    let peer = driver.bench.neighbour();
    let before = driver.bench.ram_payload_bytes();
    assert_eq!(
        driver.io(read().prp(peer + 0x4000, 0).blocks(0, 8)).status(),
        sc::SUCCESS
    );
    assert_eq!(
        driver.io(write().prp(peer + 0x4000, 0).blocks(64, 8)).status(),
        sc::SUCCESS
    );
    assert_eq!(
        driver.bench.ram_payload_bytes(),
        before,
        "no byte of it was in RAM"
    );
    let mut found = [0; 256];
    driver.bench.load(peer + 0x4000, &mut found);
    assert_eq!(found, sent[..256]);
    assert_eq!(
        driver.io(read().prp(DATA + 0x1_0000, 0).blocks(64, 8)).status(),
        sc::SUCCESS
    );
    assert_eq!(driver.memory(DATA + 0x1_0000, 4096), sent);
}

/// Base 9.5: neither commands can be fetched nor completions be written.
#[test]
fn a_controller_that_may_not_issue_requests_says_so_in_its_status() {
    const MEMORY: u32 = 2;
    const MASTER: u32 = 4;
    let mut driver = Driver::with_io(&kind());
    driver.bench.set_command(MEMORY);
    let mut io = driver.io.clone();
    driver.put(&mut io, read().prp(DATA, 0).blocks(0, 1));
    driver.ring(&io);
    driver.pass_us(100);
    assert_eq!(driver.csts(), 3);
    driver.bench.set_command(MEMORY | MASTER);
    driver.disable();
    driver.enable(0);
}
