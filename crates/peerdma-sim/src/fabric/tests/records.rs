//! Losses are written down where hardware writes them down.

use super::machine::{Machine, loss, read, write};
use crate::fabric::{Fabric, Why, Width};

/// Offsets that `emit` and the fabric give to a function with or without ACS.
const EXPRESS: u16 = 0x48;

fn aer(fabric: &Fabric, at: &str) -> u16 {
    let function = fabric.at(at);
    let mut offset = 0x100;
    loop {
        let header = fabric.config_read(function, offset, Width::Dword);
        if header & 0xffff == 1 {
            return offset;
        }
        offset = (header >> 20) as u16;
        assert_ne!(offset, 0, "no AER");
    }
}

#[test]
fn the_first_error_has_its_header_logged_and_software_clears_it() {
    let mut fabric = Machine::new().acs("02:00.0", "E", &[2]).build();
    let function = fabric.at("02:00.0");
    let request = write("03:00.0", 0x9100_0040);
    fabric.record(&loss(&fabric, "02:00.0", Why::AcsViolation), &request);
    fabric.record(&loss(&fabric, "02:00.0", Why::MalformedTlp), &read("03:00.0", 0));
    let aer = aer(&fabric, "02:00.0");
    let dword = |fabric: &Fabric, at| fabric.config_read(function, at, Width::Dword);
    assert_eq!(dword(&fabric, aer + 4), 1 << 21 | 1 << 18);
    assert_eq!(dword(&fabric, aer + 0x18) & 0x1f, 21);
    // Memory write, three dwords of header, 64 dwords of data; requester; address.
    let header: Vec<u32> = (0..4).map(|word| dword(&fabric, aer + 0x1c + 4 * word)).collect();
    assert_eq!(header, [0x4000_0040, 0x0300_00ff, 0x9100_0040, 0]);
    // Non-fatal and fatal error detected.
    assert_eq!(fabric.config_read(function, EXPRESS + 0xa, Width::Word), 0x6);
    fabric.config_write(function, EXPRESS + 0xa, Width::Word, 0x2);
    assert_eq!(fabric.config_read(function, EXPRESS + 0xa, Width::Word), 0x4);
    fabric.config_write(function, aer + 4, Width::Dword, u32::MAX);
    assert_eq!(dword(&fabric, aer + 4), 0);
    fabric.record(
        &loss(&fabric, "02:00.0", Why::UnsupportedRequest),
        &read("03:00.0", 1 << 40),
    );
    assert_eq!(dword(&fabric, aer + 0x18) & 0x1f, 20);
    assert_eq!(dword(&fabric, aer + 0x1c), 0x2000_0040);
    // An unsupported read is advisory: correctable, and unsupported request detected.
    assert_eq!(
        fabric.config_read(function, EXPRESS + 0xa, Width::Word),
        0x4 | 0x1 | 0x8
    );
    assert_eq!(dword(&fabric, aer + 0x10), 1 << 13);
}

#[test]
fn each_kind_of_error_has_its_bit() {
    for (why, bit) in [
        (Why::Poisoned, 12),
        (Why::CompletionTimeout, 14),
        (Why::CompleterAbort, 15),
        (Why::UnexpectedCompletion, 16),
        (Why::MalformedTlp, 18),
        (Why::UnsupportedRequest, 20),
        (Why::AcsViolation, 21),
    ] {
        let mut fabric = Machine::new().build();
        fabric.record(&loss(&fabric, "03:00.0", why), &read("03:00.0", 0));
        let at = aer(&fabric, "03:00.0") + 4;
        assert_eq!(
            fabric.config_read(fabric.at("03:00.0"), at, Width::Dword),
            1 << bit,
            "{why:?}"
        );
    }
}
