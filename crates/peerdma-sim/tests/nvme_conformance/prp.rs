//! Base 4.1.1: physical region pages.

use crate::bench::Bench;
use crate::driver::{DATA, Driver, kind, read, sc, write};
use peerdma_sim::device::{Direction, Purpose};

const LIST: u64 = 0x300_0000;
const PAGE: u64 = 4096;

fn list(driver: &mut Driver<crate::bench::Rig>, at: u64, entries: &[u64]) {
    let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    driver.bench.memory_write(at, &bytes);
}

/// The first entry may have an offset, dword aligned.
#[test]
fn the_first_entry_may_begin_inside_a_page_at_a_dword() {
    let mut driver = Driver::with_io(&kind());
    for offset in [0, 4, 0x7fc, 0xe00] {
        let sent = driver.fill(DATA + offset, 512, offset as u8 + 1);
        assert_eq!(
            driver.io(write().prp(DATA + offset, 0).blocks(9, 1)).status(),
            sc::SUCCESS
        );
        assert_eq!(
            driver.io(read().prp(DATA + 0x10_0000, 0).blocks(9, 1)).status(),
            sc::SUCCESS
        );
        assert_eq!(driver.memory(DATA + 0x10_0000, 512), sent);
    }
    for offset in [1, 2, 3, 0x801] {
        let done = driver.io(write().prp(DATA + offset, 0).blocks(9, 1));
        assert_eq!(
            (done.status(), done.do_not_retry()),
            (sc::PRP_OFFSET, true),
            "{offset:#x}"
        );
    }
}

/// With an offset, one page's worth needs two entries; the second begins at a page.
#[test]
fn the_second_entry_begins_at_a_page() {
    let mut driver = Driver::with_io(&kind());
    let mut sent = driver.fill(DATA + 0xe00, 512, 1);
    sent.extend(driver.fill(DATA + 0x8000, 3584, 2));
    assert_eq!(
        driver
            .io(write().prp(DATA + 0xe00, DATA + 0x8000).blocks(16, 8))
            .status(),
        sc::SUCCESS
    );
    assert_eq!(
        driver.io(read().prp(DATA + 0x10_0000, 0).blocks(16, 8)).status(),
        sc::SUCCESS
    );
    assert_eq!(driver.memory(DATA + 0x10_0000, 4096), sent);
    for offset in [4, 8, 0x800] {
        let done = driver.io(write().prp(DATA + 0xe00, DATA + 0x8000 + offset).blocks(16, 8));
        assert_eq!(done.status(), sc::PRP_OFFSET, "{offset:#x}");
    }
}

/// The second entry is not looked at where the first suffices.
#[test]
fn an_entry_that_is_not_needed_is_not_looked_at() {
    let mut driver = Driver::with_io(&kind());
    assert_eq!(driver.io(read().prp(DATA, 3).blocks(0, 8)).status(), sc::SUCCESS);
}

/// A list: entries begin at pages; its own address may have an offset, qword aligned.
#[test]
fn lists_may_begin_inside_a_page_and_their_entries_may_not() {
    let mut driver = Driver::with_io(&kind());
    for offset in [0, 8, 0x7f8] {
        let pages = [DATA + 7 * PAGE, DATA + 3 * PAGE, DATA + 5 * PAGE];
        let mut sent = driver.fill(DATA + 0x100, 0xf00, 3);
        for (seed, page) in pages.iter().enumerate() {
            let count = if seed == 2 { 0x100 } else { 4096 };
            sent.extend(driver.fill(*page, count, seed as u8));
        }
        list(&mut driver, LIST + offset, &pages);
        assert_eq!(
            driver
                .io(write().prp(DATA + 0x100, LIST + offset).blocks(64, 24))
                .status(),
            sc::SUCCESS
        );
        list(&mut driver, LIST + offset, &[DATA + 0x20_1000, DATA + 0x20_2000]);
        assert_eq!(
            driver
                .io(read().prp(DATA + 0x20_0000, LIST + offset).blocks(64, 24))
                .status(),
            sc::SUCCESS
        );
        assert_eq!(driver.memory(DATA + 0x20_0000, 3 * 4096), sent);
    }
    for offset in [4, 0x7fc, 1] {
        let done = driver.io(read().prp(DATA, LIST + offset).blocks(0, 24));
        assert_eq!(
            done.status(),
            sc::PRP_OFFSET,
            "the list's own address: {offset:#x}"
        );
    }
    for bad in 0..2 {
        let mut pages = [DATA + PAGE, DATA + 2 * PAGE];
        pages[bad] += 8;
        list(&mut driver, LIST, &pages);
        assert_eq!(
            driver.io(read().prp(DATA, LIST).blocks(0, 24)).status(),
            sc::PRP_OFFSET
        );
    }
}

/// The last entry of a list page leads to the next list page, if more than one page of data is left.
#[test]
fn the_last_entry_of_a_list_page_leads_on() {
    let mut driver = Driver::with_io(&kind());
    // 6 pages: one in the command, a list with room for three entries, two of them data.
    let pages: Vec<u64> = (0..6).map(|i| DATA + 2 * i * PAGE).collect();
    let sent: Vec<u8> = (0..6)
        .flat_map(|i| driver.fill(pages[i], 4096, 10 + i as u8))
        .collect();
    list(
        &mut driver,
        LIST + 4096 - 24,
        &[pages[1], pages[2], LIST + 0x4000],
    );
    list(&mut driver, LIST + 0x4000, &[pages[3], pages[4], pages[5]]);
    assert_eq!(
        driver
            .io(write().prp(pages[0], LIST + 4096 - 24).blocks(0, 48))
            .status(),
        sc::SUCCESS
    );
    // Here the last entry of the page is data: exactly one page is left.
    list(
        &mut driver,
        LIST + 4096 - 40,
        &(1..6).map(|i| DATA + 0x10_0000 + i * PAGE).collect::<Vec<_>>(),
    );
    assert_eq!(
        driver
            .io(read().prp(DATA + 0x10_0000, LIST + 4096 - 40).blocks(0, 48))
            .status(),
        sc::SUCCESS
    );
    assert_eq!(driver.memory(DATA + 0x10_0000, 6 * 4096), sent);
    list(&mut driver, LIST + 4096 - 8, &[LIST + 0x4008]);
    let done = driver.io(read().prp(pages[0], LIST + 4096 - 8).blocks(0, 48));
    assert_eq!(
        done.status(),
        sc::PRP_OFFSET,
        "a further list page begins at a page"
    );
}

/// Base 3.1.3.5 (CC.MPS): the page of the host decides.
#[test]
fn entries_follow_the_page_size_that_was_set() {
    let mut driver = Driver::off(&kind(), peerdma_sim::device::nvme::Traits::default());
    driver.enable(4);
    driver.make_io();
    let sent = driver.fill(DATA + 0x1000, 0xf000, 5);
    let more = driver.fill(DATA + 0x8_0000, 0x1000, 6);
    assert_eq!(
        driver
            .io(write().prp(DATA + 0x1000, DATA + 0x8_0000).blocks(0, 128))
            .status(),
        sc::SUCCESS
    );
    assert_eq!(
        driver
            .io(write().prp(DATA + 0x1000, DATA + 0x8_1000).blocks(0, 128))
            .status(),
        sc::PRP_OFFSET
    );
    assert_eq!(
        driver.io(read().prp(DATA + 0x10_0000, 0).blocks(0, 128)).status(),
        sc::SUCCESS
    );
    assert_eq!(driver.memory(DATA + 0x10_0000, 0x1_0000), [sent, more].concat());
}

/// Pages that follow each other travel together.
#[test]
fn neighbouring_pages_are_one_transfer_of_payload() {
    let mut driver = Driver::with_io(&kind());
    let pages: Vec<u64> = (1..64).map(|i| DATA + i * PAGE).collect();
    list(&mut driver, LIST, &pages);
    driver.bench.sent();
    assert_eq!(
        driver.io(read().prp(DATA, LIST).blocks(0, 512)).status(),
        sc::SUCCESS
    );
    let payload: Vec<_> = driver
        .bench
        .sent()
        .into_iter()
        .filter(|transfer| transfer.purpose == Purpose::Payload)
        .collect();
    assert_eq!(payload.len(), 1);
    assert_eq!(
        (payload[0].address, payload[0].len_bytes, payload[0].direction),
        (DATA, 64 * PAGE, Direction::Out)
    );
}

/// Base 4.6.1.2.1: Data Transfer Error where data or a list cannot be reached.
#[test]
fn memory_that_does_not_answer_is_a_data_transfer_error() {
    let mut driver = Driver::with_io(&kind());
    driver.bench.break_memory(DATA + PAGE..DATA + 2 * PAGE);
    let done = driver.io(write().prp(DATA, DATA + PAGE).blocks(0, 16));
    assert_eq!(
        (done.status(), done.do_not_retry()),
        (sc::DATA_TRANSFER_ERROR, false)
    );
    let done = driver.io(read().prp(DATA, DATA + PAGE).blocks(0, 64));
    assert_eq!(done.status(), sc::DATA_TRANSFER_ERROR, "the list");
}
