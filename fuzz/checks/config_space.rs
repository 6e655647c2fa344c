//! What must hold for any bytes taken as a configuration space.
//!
//! Shared by the fuzz target and by the test of `peerdma` that replays what fuzzing found.

use peerdma::fact::Fact;
use peerdma::pci::{Config, ConfigView, Extent};
use std::fmt::Debug;

/// Panics where a promise is broken.
pub(crate) fn check(bytes: &[u8]) {
    let whole = parse(bytes, Extent::Whole);
    let cut = parse(bytes, Extent::MayGoOn);
    agree(&cut, &whole);
    // What an unprivileged reader and `lspci -xxx` get.
    for least in [64, 256] {
        agree(&parse(&bytes[..bytes.len().min(least)], Extent::MayGoOn), &cut);
    }
    writing_and_reading_changes_nothing(&whole);
    serial_number_can_be_blanked(bytes);
}

fn parse(bytes: &[u8], extent: Extent) -> Config {
    let mut defects = Vec::new();
    let config = Config::parse(ConfigView::new(bytes, extent), &mut defects);
    // The longest chain visits every dword of 4096 bytes once.
    assert!(defects.len() <= 4096, "{} defects", defects.len());
    config
}

/// Who sees less never knows something else.
fn agree(less: &Config, more: &Config) {
    same("id", &less.id, &more.id);
    same("class", &less.class, &more.class);
    same("revision", &less.revision, &more.revision);
    same("subsystem", &less.subsystem, &more.subsystem);
    same("command", &less.command, &more.command);
    same("bridge", &less.bridge, &more.bridge);
    same("bars", &less.bars, &more.bars);
    same("acs", &less.acs, &more.acs);
    same("ats", &less.ats, &more.ats);
    same("rebar", &less.rebar, &more.rebar);
    same("sriov", &less.sriov, &more.sriov);
    same("serial_number", &less.serial_number, &more.serial_number);
}

fn same<T: PartialEq + Debug>(name: &str, less: &Fact<T>, more: &Fact<T>) {
    if let (Fact::Known(less), Fact::Known(more)) = (less, more) {
        assert_eq!(less, more, "{name} changes with the bytes that are visible");
    }
}

fn writing_and_reading_changes_nothing(config: &Config) {
    if let Ok(written) = config.emit() {
        assert_eq!(&parse(&written, Extent::Whole), config);
    }
}

fn serial_number_can_be_blanked(bytes: &[u8]) {
    let mut blanked = bytes.to_vec();
    Config::blank_serial_number(&mut blanked);
    assert_eq!(blanked.len(), bytes.len());
    let serial_number = parse(&blanked, Extent::Whole).serial_number;
    assert!(
        !matches!(serial_number, Fact::Known(Some(number)) if number != 0),
        "{serial_number:?} is left"
    );
}
