//! Base 5: admin commands that are not about queues.

use crate::bench::{Bench, Rig};
use crate::driver::{Cmd, DATA, Driver, kind, read, sc, write};

fn identify(cns: u32, namespace: u32) -> Cmd {
    Cmd::new(6).namespace(namespace).with(10, cns).prp(DATA, 0)
}

fn log(page: u32, dwords: u32) -> Cmd {
    Cmd::new(2)
        .namespace(0xffff_ffff)
        .prp(DATA, DATA + 0x1000)
        .with(10, (dwords - 1) << 16 | page)
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |all, &byte| all << 8 | u64::from(byte))
}

/// Base 5, figure of opcodes; 3.3.3.1 (FUSE)
#[test]
fn admin_commands_that_are_not_offered_are_invalid_opcodes() {
    let mut driver = Driver::on(&kind());
    for opcode in [
        0x03, 0x07, 0x0d, 0x10, 0x11, 0x14, 0x15, 0x18, 0x19, 0x7c, 0x80, 0x81, 0x84, 0xc0, 0xff,
    ] {
        let done = driver.admin(Cmd::new(opcode));
        assert_eq!(
            (done.status(), done.do_not_retry()),
            (sc::INVALID_OPCODE, true),
            "{opcode:#x}"
        );
    }
    assert_eq!(
        driver.admin(identify(1, 0).flags(1 << 8)).status(),
        sc::INVALID_FIELD
    );
}

/// Base 5.17: CNS values and namespaces
#[test]
fn identify_answers_what_is_offered() {
    let mut driver = Driver::on(&kind());
    for cns in [4, 5, 6, 7, 8, 0x10, 0x11, 0x12, 0x13, 0x15, 0x1c, 0xff] {
        assert_eq!(
            driver.admin(identify(cns, 1)).status(),
            sc::INVALID_FIELD,
            "{cns:#x}"
        );
    }
    for (cns, namespace) in [
        (0, 0),
        (0, 3),
        (0, 0xffff_ffff),
        (2, 0xffff_fffe),
        (2, 0xffff_ffff),
        (3, 0),
        (3, 3),
        (3, 0xffff_ffff),
    ] {
        assert_eq!(
            driver.admin(identify(cns, namespace)).status(),
            sc::INVALID_NAMESPACE,
            "{cns} {namespace:#x}"
        );
    }
    for (after, list) in [(0, vec![1, 2]), (1, vec![2]), (2, vec![]), (0xffff_fffd, vec![])] {
        driver.bench.memory_write(DATA, &[0xff; 4096]);
        assert_eq!(driver.admin(identify(2, after)).status(), sc::SUCCESS);
        let page = driver.memory(DATA, 4096);
        let mut expected: Vec<u32> = list;
        expected.resize(1024, 0);
        assert_eq!(
            page.chunks(4)
                .map(|entry| number(entry) as u32)
                .collect::<Vec<_>>(),
            expected
        );
    }
    assert_eq!(
        driver
            .admin(identify(1, 0).prp(DATA + 0xe00, DATA + 0x2000))
            .status(),
        sc::SUCCESS
    );
    assert_eq!(
        driver
            .admin(identify(1, 0).prp(DATA + 0xe00, DATA + 0x2004))
            .status(),
        sc::PRP_OFFSET
    );
}

/// Base 5.27.1, 5.16: what is set is what is got; defaults, capabilities; what cannot be.
#[test]
fn features_are_set_and_got() {
    let mut driver = Driver::on(&kind());
    let set = |feature, value| Cmd::new(9).with(10, feature).with(11, value);
    let get = |feature, select: u32, value| Cmd::new(10).with(10, select << 8 | feature).with(11, value);
    for (feature, value) in [
        (0x01, 0x0403_0205),
        (0x04, 350),
        (0x04, 1 << 20 | 280),
        (0x05, 12),
        (0x06, 0),
        (0x08, 0x0102),
        (0x09, 1 << 16 | 7),
        (0x0a, 1),
        (0x0b, 0x31f),
    ] {
        let argument =
            value & 0x003f_0000 & if feature == 4 { !0 } else { 0 } | if feature == 9 { 7 } else { 0 };
        let default = driver.admin(get(feature, 0, argument)).dword0;
        let command = if feature == 5 {
            set(feature, value).namespace(0xffff_ffff)
        } else {
            set(feature, value)
        };
        assert_eq!(driver.admin(command).status(), sc::SUCCESS, "{feature:#x}");
        let got = driver.admin(get(feature, 0, argument)).dword0;
        let expected = if feature == 4 { value & 0xffff } else { value };
        assert_eq!(got, expected, "{feature:#x}");
        assert_eq!(
            driver.admin(get(feature, 1, argument)).dword0,
            default,
            "{feature:#x}"
        );
        assert_eq!(
            driver.admin(get(feature, 2, argument)).dword0,
            default,
            "{feature:#x}"
        );
        let capabilities = driver.admin(get(feature, 3, argument)).dword0;
        assert_eq!(capabilities, if feature == 5 { 6 } else { 4 }, "{feature:#x}");
        assert_eq!(
            driver.admin(set(feature | 1 << 31, value)).status(),
            sc::NOT_SAVEABLE,
            "{feature:#x}"
        );
    }
    for feature in [
        0x00, 0x03, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x7f, 0x80, 0x81, 0xc0, 0xff,
    ] {
        assert_eq!(
            driver.admin(set(feature, 0)).status(),
            sc::INVALID_FIELD,
            "{feature:#x}"
        );
        assert_eq!(
            driver.admin(get(feature, 0, 0)).status(),
            sc::INVALID_FIELD,
            "{feature:#x}"
        );
    }
    assert_eq!(driver.admin(get(7, 0, 0)).dword0, 63 << 16 | 63);
    assert_eq!(
        driver.admin(get(1, 4, 0)).status(),
        sc::INVALID_FIELD,
        "a reserved Select"
    );
    assert_eq!(
        driver.admin(set(2, 1)).status(),
        sc::INVALID_FIELD,
        "one power state"
    );
    assert_eq!(driver.admin(set(4, 2 << 20)).status(), sc::INVALID_FIELD);
    assert_eq!(
        driver.admin(set(4, 1 << 16)).status(),
        sc::INVALID_FIELD,
        "no such sensor"
    );
    assert_eq!(driver.admin(set(5, 1 << 16)).status(), sc::INVALID_FIELD, "DULBE");
    assert_eq!(
        driver.admin(set(9, 65)).status(),
        sc::INVALID_FIELD,
        "no such vector"
    );
    assert_eq!(
        driver.admin(set(6, 1).namespace(1)).status(),
        sc::NOT_NAMESPACE_SPECIFIC
    );
    // Base 3.7.2: a reset takes them back.
    driver.disable();
    driver.enable(0);
    assert_eq!(driver.admin(get(6, 0, 0)).dword0, 1);
}

/// Base 5.16.1.2 (Error Information)
#[test]
fn the_error_log_names_what_went_wrong_newest_first() {
    let mut driver = Driver::with_io(&kind());
    let failed = driver.io(read().namespace(2).prp(DATA, 0).blocks(5000, 1));
    assert_eq!(failed.field >> 13 & 1, 1, "More");
    driver.admin(Cmd::new(0xff));
    assert_eq!(driver.admin(log(1, 1024)).status(), sc::SUCCESS);
    let page = driver.memory(DATA, 4096);
    let entry = |index: usize| {
        let bytes = &page[64 * index..][..64];
        [0..8, 8..10, 10..12, 12..14, 16..24, 24..28].map(|range| number(&bytes[range]))
    };
    assert_eq!(entry(0)[..2], [2, 0]);
    assert_eq!(entry(0)[3] >> 1 & 0x7ff, u64::from(sc::INVALID_OPCODE));
    let status = entry(1)[3] >> 1 & 0x7ff;
    assert_eq!(
        (entry(1)[..3].to_vec(), status),
        (vec![1, 1, u64::from(failed.id)], u64::from(sc::LBA_RANGE))
    );
    assert_eq!(entry(1)[4..], [5000, 2]);
    assert_eq!(entry(2)[0], 0, "no third");
}

/// Base 5.16.1.3 (SMART), 5.16.1.4 (firmware slots), 5.16: offsets and lengths
#[test]
fn other_log_pages_have_their_fields() {
    let mut driver = Driver::with_io(&kind());
    driver.fill(DATA, 4096, 1);
    driver.io(write().prp(DATA, 0).blocks(0, 8));
    driver.io(read().prp(DATA, 0).blocks(0, 8));
    driver.io(read().prp(DATA, 0).blocks(0, 8));
    assert_eq!(driver.admin(log(2, 128)).status(), sc::SUCCESS);
    let page = driver.memory(DATA, 512);
    assert_eq!(page[0], 0);
    assert!((273..343).contains(&number(&page[1..3])));
    assert_eq!((number(&page[32..48]), number(&page[48..64])), (1, 1));
    assert_eq!((number(&page[64..80]), number(&page[80..96])), (2, 1));
    assert_eq!(driver.admin(log(2, 4).with(12, 64)).status(), sc::SUCCESS);
    assert_eq!(driver.memory(DATA, 16), page[64..80]);
    assert_eq!(driver.admin(log(3, 128)).status(), sc::SUCCESS);
    let page = driver.memory(DATA, 512);
    assert_eq!((page[0], &page[8..16]), (1, &b"1.0     "[..]));
    assert_eq!(
        driver.admin(log(2, 4).with(12, 2)).status(),
        sc::INVALID_FIELD,
        "an offset within a dword"
    );
    assert_eq!(
        driver.admin(log(2, 4).with(12, 516)).status(),
        sc::INVALID_FIELD,
        "behind the page"
    );
    assert_eq!(driver.admin(log(2, 4).with(13, 1)).status(), sc::INVALID_FIELD);
    assert_eq!(
        driver.admin(log(2, 128).with(11, 0xffff)).status(),
        sc::INVALID_FIELD,
        "more than MDTS"
    );
    assert_eq!(driver.admin(log(2, 128).namespace(1)).status(), sc::INVALID_FIELD);
    for page in [0x00, 0x04, 0x05, 0x06, 0x0d, 0x70, 0x80, 0xc0, 0xff] {
        assert_eq!(driver.admin(log(page, 4)).status(), sc::LOG_PAGE, "{page:#x}");
    }
}

fn abort(queue: u16, id: u16) -> Cmd {
    Cmd::new(8).with(10, u32::from(id) << 16 | u32::from(queue))
}

/// Base 5.1
#[test]
fn what_waits_can_be_aborted_and_what_does_not_cannot() {
    let mut driver: Driver<Rig> = Driver::with_io(&kind());
    let mut io = driver.io.clone();
    for (queue, id) in [(1, 7), (0, 999), (5, 0), (0xffff, 0xffff)] {
        let done = driver.admin(abort(queue, id));
        assert_eq!((done.status(), done.dword0 & 1), (sc::SUCCESS, 1));
    }
    let mut admin = driver.admin.clone();
    driver.put_as(&mut admin, Cmd::new(0x0c), 500);
    let asked = driver.put(&mut admin, abort(0, 500));
    driver.ring(&admin);
    let aborted = driver.wait(&mut admin);
    assert_eq!((aborted.id, aborted.status()), (500, sc::ABORT_REQUESTED));
    let done = driver.wait(&mut admin);
    assert_eq!((done.id, done.status(), done.dword0 & 1), (asked, sc::SUCCESS, 0));
    // A read waits for the medium some microseconds.
    let read_id = driver.put(&mut io, read().prp(DATA, 0).blocks(0, 1));
    driver.ring(&io);
    driver.pass_us(2);
    driver.put(&mut admin, abort(1, read_id));
    driver.ring(&admin);
    assert_eq!(driver.wait(&mut admin).dword0 & 1, 0);
    let done = driver.wait(&mut io);
    assert_eq!((done.id, done.status()), (read_id, sc::ABORT_REQUESTED));
    driver.pass_us(100);
    assert_eq!(driver.poll(&mut io), None);
}
