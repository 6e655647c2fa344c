//! Base 3.1.3, 3.5, 3.6, 3.7: turning the controller on and off.

use crate::bench::Bench;
use crate::driver::{ACQ, ASQ, Cmd, Driver, kind, kind_with_buffer, read, sc};
use peerdma_sim::device::nvme::Traits;

const CC: u64 = 0x14;
const CC_ON: u32 = 4 << 20 | 6 << 16 | 1;

fn prepared() -> Driver<crate::bench::Rig> {
    let mut driver = Driver::off(&kind(), Traits::default());
    driver.set32(0x24, 31 << 16 | 31);
    driver.set64(0x28, ASQ);
    driver.set64(0x30, ACQ);
    driver
}

/// Base 3.5.1, 3.1.3.6 (CSTS.RDY)
#[test]
fn ready_follows_enable_after_a_while_and_goes_after_disable() {
    let mut driver = prepared();
    assert_eq!(driver.csts(), 0);
    driver.set32(CC, CC_ON);
    assert_eq!(driver.csts(), 0, "it takes time");
    driver.pass_us(50);
    assert_eq!(driver.csts(), 1);
    driver.set32(CC, CC_ON & !1);
    assert_eq!(driver.csts(), 1);
    driver.pass_us(50);
    assert_eq!(driver.csts(), 0);
}

/// Base 3.7.2: AQA, ASQ and ACQ outlive a controller reset, I/O queues do not.
#[test]
fn a_controller_reset_keeps_the_admin_queue_registers_and_deletes_io_queues() {
    let mut driver = Driver::with_io(&kind());
    driver.disable();
    assert_eq!(
        (driver.reg32(0x24), driver.reg64(0x28), driver.reg64(0x30)),
        (31 << 16 | 31, ASQ, ACQ)
    );
    driver.enable(0);
    // Features are as they were, and the number of queues may be set again.
    assert_eq!(
        driver.admin(Cmd::new(9).with(10, 7).with(11, 3 << 16 | 3)).dword0,
        3 << 16 | 3
    );
    driver.make_io();
    driver.io = crate::driver::Pair::new(1, driver.io.submission, driver.io.completion, 64);
    driver.bench.memory_write(0x20_0000, &[0; 1024]);
    assert_eq!(
        driver.io(read().prp(0x100_0000, 0).blocks(0, 1)).status(),
        sc::SUCCESS
    );
}

/// Base 3.5.1: settings that the controller does not offer. CFS says so; a reset clears it.
#[test]
fn illegal_settings_end_in_fatal_status_and_a_reset_mends_it() {
    let illegal: [(&str, u32); 5] = [
        ("CSS", CC_ON | 1 << 4),
        ("CSS: admin only", CC_ON | 7 << 4),
        ("MPS", CC_ON | 5 << 7),
        ("AMS: weighted", CC_ON | 1 << 11),
        ("AMS: of the vendor", CC_ON | 7 << 11),
    ];
    for (what, cc) in illegal {
        let mut driver = prepared();
        driver.set32(CC, cc);
        driver.pass_us(50);
        assert_eq!(driver.csts(), 2, "{what}");
        driver.set32(CC, 0);
        driver.pass_us(50);
        assert_eq!(driver.csts(), 0, "{what}");
        driver.set32(CC, CC_ON);
        driver.pass_us(50);
        assert_eq!(driver.csts(), 1, "{what}");
    }
}

/// Base 3.1.3.8 (AQA): two entries at least; 3.1.3.9: aligned to memory pages.
#[test]
fn admin_queues_that_cannot_be_end_in_fatal_status() {
    for (what, aqa, asq, mps) in [
        ("ASQS", 31 << 16, ASQ, 0),
        ("ACQS", 31, ASQ, 0),
        ("ASQ alignment", 31 << 16 | 31, 0x1_1000, 1),
    ] {
        let mut driver = prepared();
        driver.set32(0x24, aqa);
        driver.set64(0x28, asq);
        driver.set32(CC, CC_ON | mps << 7);
        driver.pass_us(50);
        assert_eq!(driver.csts(), 2, "{what}");
    }
}

/// Base 3.1.3.5: AQA, ASQ, ACQ only change while disabled.
#[test]
fn admin_queue_registers_are_fixed_while_enabled() {
    let mut driver = Driver::on(&kind());
    driver.set32(0x24, 0x000f_000f);
    driver.set64(0x28, 0xdead_0000);
    driver.set64(0x30, 0xdead_0000);
    assert_eq!(
        (driver.reg32(0x24), driver.reg64(0x28), driver.reg64(0x30)),
        (31 << 16 | 31, ASQ, ACQ)
    );
}

/// Base 3.1.1: access by dwords or, for 64-bit registers, by either half; everything else has no effect.
#[test]
fn odd_writes_have_no_effect_and_halves_work() {
    let mut driver = Driver::off(&kind(), Traits::default());
    driver.bench.mmio_write(0, 0x28, &[0xff; 2]);
    driver.bench.mmio_write(0, 0x2a, &[0xff; 4]);
    driver.bench.mmio_write(0, 0x28, &[0xff; 1]);
    assert_eq!(driver.reg64(0x28), 0);
    driver.set32(0x2c, 0x12);
    driver.set32(0x28, 0x3456_7fff);
    assert_eq!(driver.reg64(0x28), 0x12_3456_7000);
    let mut bytes = [0; 2];
    driver.bench.mmio_read(0, 0x29, &mut bytes);
    assert_eq!(bytes, [0x70, 0x56]);
}

/// Base 3.1.3: read-only and reserved bits.
#[test]
fn read_only_registers_and_reserved_bits_do_not_change() {
    let mut driver = Driver::off(&kind(), Traits::default());
    let before: Vec<u32> = (0..0x400).map(|i| driver.reg32(4 * i)).collect();
    for offset in [
        0x00, 0x04, 0x08, 0x18, 0x1c, 0x20, 0x38, 0x3c, 0x40, 0x50, 0x54, 0x58, 0x5c, 0xe00, 0xffc,
    ] {
        driver.set32(offset, !0);
    }
    let after: Vec<u32> = (0..0x400).map(|i| driver.reg32(4 * i)).collect();
    assert_eq!(before, after);
    driver.set32(0x24, !0);
    assert_eq!(driver.reg32(0x24), 0x0fff_0fff);
    driver.set32(CC, !1);
    assert_eq!(driver.reg32(CC), 0x00ff_fff0);
}

/// Base 3.6.1: normal and abrupt shutdown; then only a reset starts it again.
#[test]
fn a_shutdown_is_underway_then_complete_and_a_reset_ends_it() {
    for notification in [1, 2] {
        let mut driver = Driver::with_io(&kind());
        driver.set32(CC, CC_ON | notification << 14);
        assert_eq!(driver.csts() >> 2 & 3, 1);
        driver.pass_us(50);
        assert_eq!(driver.csts(), 2 << 2 | 1);
        let mut admin = driver.admin.clone();
        driver.put(&mut admin, Cmd::new(6).with(10, 1).prp(0x100_0000, 0));
        driver.ring(&admin);
        driver.pass_us(100);
        assert_eq!(
            driver.poll(&mut admin),
            None,
            "no command is processed after a shutdown"
        );
        driver.disable();
        assert_eq!(driver.csts(), 0);
        driver.enable(0);
    }
}

/// Base 3.6.1, 3.1.3.6: a shutdown while disabled is ended by enabling and taking the notification back.
#[test]
fn a_shutdown_while_disabled_completes_too() {
    let mut driver = prepared();
    driver.set32(CC, 1 << 14);
    driver.pass_us(50);
    assert_eq!(driver.csts(), 2 << 2);
    driver.set32(CC, CC_ON);
    driver.pass_us(50);
    assert_eq!(driver.csts(), 1);
}

/// Base 3.7.1: NSSR resets everything and says so.
#[test]
fn a_subsystem_reset_needs_the_word_and_is_remembered() {
    let mut driver = Driver::on(&kind());
    driver.set32(0x20, 0x1234_5678);
    assert_eq!(driver.csts(), 1);
    driver.set32(0x20, 0x4e56_4d65);
    assert_eq!(
        (
            driver.csts(),
            driver.reg32(0x20),
            driver.reg32(CC),
            driver.reg32(0x24)
        ),
        (1 << 4, 0, 0, 0)
    );
    driver.set32(0x1c, 1 << 4);
    assert_eq!(driver.csts(), 0);
    driver.enable(0);
}

/// Base 3.7.2: a function level reset clears the admin queue registers, and leaves CMBMSC as it is.
#[test]
fn a_function_level_reset_leaves_the_buffer_where_it_is() {
    let mut driver = Driver::on(&kind_with_buffer(0x1f, 0));
    driver.set64(0x50, 0x77_0000_0003);
    driver.bench.reset();
    assert_eq!(
        (
            driver.csts(),
            driver.reg32(CC),
            driver.reg32(0x24),
            driver.reg64(0x28)
        ),
        (0, 0, 0, 0)
    );
    assert_eq!(driver.reg64(0x50), 0x77_0000_0003);
    driver.enable(0);
}

/// Base 9.5: what no completion queue can tell.
#[test]
fn fatal_status_comes_from_faults_and_from_queues_that_cannot_be_fetched() {
    let mut driver = Driver::with_io(&kind());
    driver.bench.fail();
    assert_eq!(driver.csts(), 3);
    driver.disable();
    driver.enable(0);
    driver.bench.break_memory(ASQ..ASQ + 64 * 32);
    let mut admin = driver.admin.clone();
    driver.put(&mut admin, Cmd::new(6));
    driver.ring(&admin);
    driver.pass_us(50);
    assert_eq!(driver.csts(), 3);
    driver.disable();
    assert_eq!(driver.csts(), 0);
}

/// Base 3.1.3.5: once RDY is clear, the controller sends nothing any more.
#[test]
fn nothing_leaves_after_ready_is_clear() {
    let mut driver = Driver::with_io(&kind());
    let mut io = driver.io.clone();
    for block in 0..32 {
        driver.put(&mut io, read().prp(0x100_0000, 0).blocks(block, 8));
    }
    driver.ring(&io);
    driver.pass_us(9);
    driver.set32(CC, CC_ON & !1);
    while driver.csts() & 1 != 0 {
        driver.bench.pass(1_000_000);
    }
    driver.bench.memory_write(0x100_0000, &[0xaa; 4096]);
    driver.bench.sent();
    driver.pass_us(1000);
    assert!(driver.bench.sent().is_empty());
    assert_eq!(driver.memory(0x100_0000, 4096), [0xaa; 4096]);
}

/// Base 3.1.3.5: enabled again before RDY is clear (undefined there): the reset comes to its end first.
#[test]
fn enabling_during_a_reset_waits_for_its_end() {
    let mut driver = Driver::with_io(&kind());
    driver.set32(CC, CC_ON & !1);
    driver.set32(CC, CC_ON);
    driver.pass_us(10);
    assert_eq!(driver.csts(), 0);
    driver.pass_us(50);
    assert_eq!(driver.csts(), 1);
    driver.bench.memory_write(ACQ, &[0; 512]);
    driver.admin = crate::driver::Pair::new(0, driver.admin.submission, driver.admin.completion, 32);
    assert_eq!(
        driver.create_cq(1, 64, 0x20_0000, 0),
        sc::SUCCESS,
        "its queues are gone"
    );
}
