//! The promises of [`Config`]: parsing and writing are inverse, a cut never invents anything, and no
//! bytes do harm.

use super::strategy;
use super::{
    Acs, AcsFlags, Bridge, ClassCode, Config, ConfigDefect, ConfigView, EmitError, Express, Extent, Id, Link,
    LinkRate, LinkState, Payload, PortType, Windows,
};
use crate::addr::{Address, BusAddr, Span};
use crate::fact::{Fact, Unread};
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

fn parse(bytes: &[u8], extent: Extent) -> (Config, Vec<ConfigDefect>) {
    let mut defects = Vec::new();
    let config = Config::parse(ConfigView::new(bytes, extent), &mut defects);
    (config, defects)
}

proptest! {
    #[test]
    fn what_is_written_reads_as_it_was_meant(config in strategy::config()) {
        let bytes = config.emit().map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(parse(&bytes, Extent::Whole), (config, vec![]));
    }

    #[test]
    fn what_was_read_and_can_be_written_reads_the_same(bytes in strategy::space()) {
        let (config, _) = parse(&bytes, Extent::Whole);
        if let Ok(written) = config.emit() {
            prop_assert_eq!(parse(&written, Extent::Whole), (config, vec![]));
        }
    }

    #[test]
    fn a_cut_makes_facts_unknown_but_never_different(
        bytes in prop_oneof![
            strategy::config().prop_map(|config| config.emit().unwrap().to_vec()),
            strategy::space(),
        ],
        length in prop_oneof![0usize..80, 0usize..0x140, 0usize..4096],
    ) {
        let (whole, _) = parse(&bytes, Extent::Whole);
        let (cut, _) = parse(&bytes[..length], Extent::MayGoOn);
        agrees(&cut, &whole)?;
    }

    #[test]
    fn no_bytes_make_the_parser_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..5000),
        extent in prop::sample::select(vec![Extent::Whole, Extent::MayGoOn]),
    ) {
        let _ = parse(&bytes, extent);
        let mut raw = bytes;
        Config::blank_serial_number(&mut raw);
    }

    #[test]
    fn a_blanked_space_holds_no_serial_number_and_all_else(config in strategy::config()) {
        let mut bytes = config.emit().unwrap();
        Config::blank_serial_number(&mut bytes);
        let blanked = Config {
            serial_number: config.serial_number.map(|number| number.map(|_| 0)),
            ..config
        };
        prop_assert_eq!(parse(&bytes, Extent::Whole).0, blanked);
    }
}

/// Is every fact of `cut` unknown or the same as in `whole`?
fn agrees(cut: &Config, whole: &Config) -> Result<(), TestCaseError> {
    fn same<T: PartialEq>(name: &str, cut: &Fact<T>, whole: &Fact<T>) -> Result<(), TestCaseError> {
        prop_assert!(!cut.is_known() || cut == whole, "{name}");
        Ok(())
    }
    same("id", &cut.id, &whole.id)?;
    same("class", &cut.class, &whole.class)?;
    same("revision", &cut.revision, &whole.revision)?;
    same("subsystem", &cut.subsystem, &whole.subsystem)?;
    same("command", &cut.command, &whole.command)?;
    same("bars", &cut.bars, &whole.bars)?;
    let registers = |config: &Config| {
        config
            .acs
            .as_ref()
            .map(|acs| acs.as_ref().map(|acs| (acs.capable, acs.control)))
    };
    same("acs", &registers(cut), &registers(whole))?;
    if let (Fact::Known(Some(cut)), Fact::Known(Some(whole))) = (&cut.acs, &whole.acs) {
        same("egress control vector", &cut.egress, &whole.egress)?;
    }
    same("ats", &cut.ats, &whole.ats)?;
    same("rebar", &cut.rebar, &whole.rebar)?;
    same("sriov", &cut.sriov, &whole.sriov)?;
    same("serial number", &cut.serial_number, &whole.serial_number)?;
    let buses = |bridge: Option<Bridge>| bridge.map(|b| (b.primary, b.secondary, b.subordinate));
    same("buses", &cut.bridge.map(buses), &whole.bridge.map(buses))?;
    if let (Fact::Known(Some(cut)), Fact::Known(Some(whole))) = (cut.bridge, whole.bridge) {
        same("windows", &cut.windows, &whole.windows)?;
    }
    let port = |express: Option<Express>| express.map(|express| express.port_type);
    same("port", &cut.express.map(port), &whole.express.map(port))?;
    if let (Fact::Known(Some(cut)), Fact::Known(Some(whole))) = (cut.express, whole.express) {
        same("link", &cut.link, &whole.link)?;
        same("payload", &cut.payload, &whole.payload)?;
    }
    Ok(())
}

/// A root port with ACS as the only extended capability, at 0x148; a PCI Express capability at 0x40.
fn root_port() -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[..0x10].copy_from_slice(&[
        0x86, 0x80, 0x30, 0x20, 0x07, 0x04, 0x10, 0x00, 0x04, 0x00, 0x04, 0x06, 0, 0, 0x81, 0,
    ]);
    bytes[0x34] = 0x40;
    bytes[0x40..0x44].copy_from_slice(&[0x10, 0x00, 0x42, 0x00]);
    bytes[0x100..0x104].copy_from_slice(&[0x01, 0x00, 0x81, 0x14]);
    bytes[0x148..0x150].copy_from_slice(&[0x0d, 0, 1, 0, 0x5f, 0, 0x1d, 0]);
    bytes
}

const CUT_256: Unread = Unread::ConfigCut { bytes: 256 };

#[test]
fn the_registers_lie_where_the_specification_has_them() {
    let (config, defects) = parse(&root_port(), Extent::Whole);
    assert_eq!(defects, []);
    let id = Id {
        vendor: 0x8086,
        device: 0x2030,
    };
    assert_eq!(config.id, Fact::Known(id));
    assert_eq!(config.class, Fact::Known(ClassCode::new(0x06_04_00)));
    assert_eq!(config.revision, Fact::Known(4));
    let acs = Acs {
        capable: AcsFlags::from_register(0x5f),
        control: AcsFlags::from_register(0x1d),
        egress: Fact::Known(None),
    };
    assert_eq!(config.acs, Fact::Known(Some(acs)));
    assert_eq!(config.ats, Fact::Known(None));
}

#[test]
fn a_bridge_forwards_what_its_windows_say() {
    let windows = |bytes: &[u8]| {
        let bridge = parse(bytes, Extent::Whole).0.bridge.known().flatten();
        bridge.and_then(|bridge| bridge.windows.known()).unwrap()
    };
    let span = |first, last| Span::new(BusAddr::from_u64(first), BusAddr::from_u64(last)).ok();
    let mut bytes = root_port();
    // 16-bit ports, memory, 64-bit prefetchable memory.
    bytes[0x18..0x1b].copy_from_slice(&[0x00, 0x3b, 0x41]);
    bytes[0x1c..0x1e].copy_from_slice(&[0x20, 0x30]);
    bytes[0x20..0x24].copy_from_slice(&[0x10, 0xfe, 0x30, 0xfe]);
    bytes[0x24..0x28].copy_from_slice(&[0x01, 0x00, 0xf1, 0xff]);
    bytes[0x28..0x30].copy_from_slice(&[0x40, 0, 0, 0, 0x47, 0, 0, 0]);
    let open = Windows {
        io: span(0x2000, 0x3fff),
        memory: span(0xfe10_0000, 0xfe3f_ffff),
        prefetchable: span(0x40_0000_0000, 0x47_ffff_ffff),
    };
    assert_eq!(windows(&bytes), open);
    // 32-bit ports; the other two closed.
    bytes[0x1c..0x1e].copy_from_slice(&[0x21, 0x31]);
    bytes[0x30..0x34].copy_from_slice(&[0x01, 0, 0x02, 0]);
    bytes[0x20..0x28].copy_from_slice(&[0xf0, 0xff, 0, 0, 0xf0, 0xff, 0, 0]);
    let mostly_closed = Windows {
        io: span(0x1_2000, 0x2_3fff),
        ..Windows::default()
    };
    assert_eq!(windows(&bytes), mostly_closed);
}

#[test]
fn a_port_has_the_link_and_the_payload_of_its_registers() {
    let express = |bytes: &[u8]| parse(bytes, Extent::Whole).0.express.known().flatten();
    let mut bytes = root_port();
    bytes[0x44] = 0x02;
    bytes[0x48..0x4a].copy_from_slice(&[0x20, 0x50]);
    bytes[0x4c..0x50].copy_from_slice(&[0x04, 0x3d, 0x7a, 0x00]);
    bytes[0x52..0x54].copy_from_slice(&[0x83, 0x70]);
    let state = |rate, width| LinkState {
        rate: LinkRate(rate),
        width,
    };
    let link = Link {
        max: state(4, 16),
        now: state(3, 8),
    };
    let payload = Payload {
        max_supported_bytes: 512,
        max_payload_bytes: 256,
        max_read_request_bytes: 4096,
    };
    let expected = Express {
        port_type: PortType::ROOT_PORT,
        link: Fact::Known(Some(link)),
        port_number: Fact::Known(Some(0)),
        payload: Fact::Known(payload),
    };
    assert_eq!(express(&bytes), Some(expected));

    bytes[0x49] = 0x60;
    let (config, defects) = parse(&bytes, Extent::Whole);
    let payload = config.express.map(|express| express.unwrap().payload);
    assert_eq!(payload, Fact::Known(Fact::Unknown(Unread::Contradictory)));
    assert_eq!(defects, [ConfigDefect::ReservedValue { offset: 0x48 }]);
}

#[test]
fn acs_beyond_the_bytes_is_unknown() {
    let bytes = root_port();
    for length in [256, 0x148, 0x14f] {
        let (config, defects) = parse(&bytes[..length], Extent::MayGoOn);
        let why = Unread::ConfigCut { bytes: length as u16 };
        assert_eq!(config.acs, Fact::Unknown(why));
        assert_eq!(defects, []);
    }
    let (config, _) = parse(&bytes[..256], Extent::Whole);
    assert_eq!(config.acs, Fact::Unknown(Unread::OutOfReach));
    let (config, _) = parse(&bytes[..64], Extent::MayGoOn);
    assert_eq!(config.express, Fact::Unknown(Unread::ConfigCut { bytes: 64 }));
    assert_eq!(config.acs, Fact::Unknown(Unread::ConfigCut { bytes: 64 }));
}

#[test]
fn only_functions_with_an_extended_space_have_extended_capabilities() {
    let acs = |bytes: &[u8]| parse(bytes, Extent::MayGoOn).0.acs.map(|acs| acs.is_some());
    let mut conventional = root_port();
    conventional[0x40] = 0x01;
    assert_eq!(acs(&conventional), Fact::Known(false));
    assert_eq!(acs(&conventional[..256]), Fact::Known(false));

    let mut pci_x = conventional.clone();
    pci_x[0x40] = 0x07;
    assert_eq!(acs(&pci_x), Fact::Known(false));
    pci_x[0x47] = 0x40;
    assert_eq!(acs(&pci_x), Fact::Known(true));

    let mut host_bridge = conventional;
    host_bridge[0x0a] = 0x00;
    assert_eq!(acs(&host_bridge), Fact::Known(true));
    // It need not have one: where none is found there is none.
    assert_eq!(parse(&host_bridge[..256], Extent::Whole).0.acs, Fact::Known(None));
    assert_eq!(acs(&host_bridge[..256]), Fact::Unknown(CUT_256));
}

#[test]
fn an_extended_space_that_repeats_the_first_256_bytes_is_out_of_reach() {
    let mut bytes = root_port();
    let (first, rest) = bytes.split_at_mut(256);
    for copy in rest.chunks_exact_mut(256) {
        copy.copy_from_slice(first);
    }
    let acs = parse(&bytes, Extent::MayGoOn).0.acs;
    assert_eq!(acs, Fact::Unknown(Unread::OutOfReach));
    let why = Unread::ConfigCut { bytes: 0xf00 };
    assert_eq!(parse(&bytes[..0xf00], Extent::MayGoOn).0.acs, Fact::Unknown(why));
}

#[test]
fn an_unreadable_extended_space_is_out_of_reach() {
    let mut bytes = root_port();
    bytes[0x100..].fill(0xff);
    let (config, defects) = parse(&bytes, Extent::Whole);
    assert_eq!((config.acs, defects), (Fact::Unknown(Unread::OutOfReach), vec![]));
}

#[test]
fn a_circle_of_vendor_capabilities_ends_with_a_warning_and_without_a_guess() {
    // Linux 7.2 goes round such a circle forever when it looks for one vendor's.
    for vendor_specific in [0x0b, 0x23] {
        let mut bytes = root_port();
        bytes[0x100..0x1000].fill(0);
        bytes[0x100..0x104].copy_from_slice(&[vendor_specific, 0, 0x01, 0x20]);
        bytes[0x200..0x204].copy_from_slice(&[vendor_specific, 0, 0x01, 0x10]);
        let (config, defects) = parse(&bytes, Extent::Whole);
        assert_eq!(defects, [ConfigDefect::CapabilityLoop { offset: 0x100 }]);
        assert_eq!(config.acs, Fact::Unknown(Unread::Contradictory));
    }
}

#[test]
fn a_loop_leaves_what_was_found_before_it() {
    let mut bytes = root_port();
    bytes[0x14a..0x14c].copy_from_slice(&[0x01, 0x10]);
    let (config, defects) = parse(&bytes, Extent::Whole);
    assert_eq!(defects, [ConfigDefect::CapabilityLoop { offset: 0x100 }]);
    assert!(matches!(config.acs, Fact::Known(Some(_))));
    assert_eq!(config.ats, Fact::Unknown(Unread::Contradictory));

    let mut bytes = root_port();
    bytes[0x41] = 0x42;
    let (config, defects) = parse(&bytes, Extent::Whole);
    assert_eq!(defects, [ConfigDefect::CapabilityLoop { offset: 0x40 }]);
    assert!(matches!(config.express, Fact::Known(Some(_))));
    assert_eq!(config.subsystem, Fact::Unknown(Unread::Contradictory));
    assert_eq!(defects[0].offset(), 0x40);
    assert!(defects[0].to_string().contains("0x040"));
}

#[test]
fn a_capability_of_all_ones_ends_the_chain() {
    let mut bytes = root_port();
    // In front of all others, with a pointer to them.
    let first = bytes[0x34];
    bytes[0x34] = 0xf0;
    bytes[0xf0..0xf2].copy_from_slice(&[0xff, first]);
    let (config, defects) = parse(&bytes, Extent::Whole);
    assert_eq!((config.express, defects), (Fact::Known(None), vec![]));
    // Another number there is passed over.
    bytes[0xf0] = 0xfe;
    assert!(matches!(
        parse(&bytes, Extent::Whole).0.express,
        Fact::Known(Some(_))
    ));
}

#[test]
fn of_two_capabilities_with_one_number_the_first_counts() {
    let mut bytes = root_port();
    bytes[0x14a..0x14c].copy_from_slice(&[0x01, 0x20]);
    bytes[0x200..0x208].copy_from_slice(&[0x0d, 0, 1, 0, 0x7f, 0, 0x7f, 0]);
    let acs = parse(&bytes, Extent::Whole).0.acs;
    assert_eq!(
        acs.map(|acs| acs.map(|acs| acs.control.bits())),
        Fact::Known(Some(0x1d))
    );
}

#[test]
fn where_no_function_answers_nothing_is_known() {
    for (byte, defect) in [
        (0x00, ConfigDefect::EmptyHeader),
        (0xff, ConfigDefect::UnknownHeader { header_type: 0x7f }),
    ] {
        let (config, defects) = parse(&[byte; 4096], Extent::Whole);
        assert_eq!(config, Config::unknown(Unread::Contradictory));
        assert_eq!(defects, [defect]);
    }
    let (config, defects) = parse(&[], Extent::MayGoOn);
    assert_eq!(config, Config::unknown(Unread::ConfigCut { bytes: 0 }));
    assert_eq!(defects, []);
}

#[test]
fn a_virtual_function_lacks_only_its_number() {
    let mut bytes = root_port();
    bytes[..4].fill(0xff);
    let (config, defects) = parse(&bytes, Extent::Whole);
    assert_eq!(config.id, Fact::Unknown(Unread::Contradictory));
    assert!(matches!(config.acs, Fact::Known(Some(_))));
    assert_eq!(defects, []);
}

#[test]
fn what_cannot_be_written_is_refused_by_name() {
    let whole = parse(&root_port(), Extent::Whole).0;
    let unknown = Config {
        acs: Fact::Unknown(CUT_256),
        ..whole.clone()
    };
    let error = unknown.emit().unwrap_err();
    assert_eq!(
        error,
        EmitError::Unknown {
            fact: "ACS",
            why: CUT_256
        }
    );
    let conventional = Config {
        express: Fact::Known(None),
        ..whole.clone()
    };
    let error = conventional.emit().unwrap_err();
    assert_eq!(error, EmitError::NoExtendedSpace { fact: "ACS" });

    let mut bar = strategy::memory_bar(1);
    let bars = Config {
        bars: Fact::Known(vec![bar, bar]),
        ..whole.clone()
    };
    assert_eq!(bars.emit().unwrap_err(), EmitError::BarPlace { index: 1 });
    bar.address = BusAddr::from_u64(0x1008);
    let bars = Config {
        bars: Fact::Known(vec![bar]),
        ..whole
    };
    let error = bars.emit().unwrap_err();
    assert!(error.to_string().contains("0x1008"), "{error}");
}
