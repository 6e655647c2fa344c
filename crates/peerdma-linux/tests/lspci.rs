//! The promises of the `lspci` reader, kept on listings written for the purpose (`tests/data/lspci`).

use peerdma::addr::{Address, Bdf};
use peerdma::fact::{Fact, Unread};
use peerdma::pci::{Acs, AcsFlags, BarKind, ClassCode, Config, Id, PortType};
use peerdma::snapshot::{Function, Snapshot, Warnings};
use peerdma_linux::KeepConfig;
use peerdma_linux::lspci::{LspciError, Reader, looks_like_lspci, read};
use proptest::prelude::*;

const ROOT: &str = include_str!("data/lspci/root-vvv.txt");
const USER: &str = include_str!("data/lspci/user-vvv.txt");
const CONVENTIONAL: &str = include_str!("data/lspci/root-vv-one-root-bus.txt");
const NUMBERS: &str = include_str!("data/lspci/nn.txt");
const NAMES: &str = include_str!("data/lspci/names.txt");
const BRIDGES: &str = include_str!("data/lspci/with-bridges-nn.txt");
const X: &str = include_str!("data/lspci/x.txt");
const BYTES_256: &str = include_str!("data/lspci/xxx.txt");
const ALL_BYTES: &str = include_str!("data/lspci/xxxx.txt");
const MIXED: &str = include_str!("data/lspci/mixed-vvvx.txt");
const REDIRECT_ON: &str = include_str!("data/lspci/two-cards-redirect-on.txt");
const REDIRECT_OFF: &str = include_str!("data/lspci/two-cards-redirect-off.txt");
const ALL: [&str; 12] = [
    ROOT,
    USER,
    CONVENTIONAL,
    NUMBERS,
    NAMES,
    BRIDGES,
    X,
    BYTES_256,
    ALL_BYTES,
    MIXED,
    REDIRECT_ON,
    REDIRECT_OFF,
];

fn sound(text: &str) -> Snapshot {
    let mut warnings = Warnings::default();
    let snapshot = read(text.as_bytes(), KeepConfig::Drop, &mut warnings).unwrap();
    assert_eq!(warnings.list(), []);
    snapshot
}

fn warned(text: &[u8]) -> (Snapshot, Vec<String>) {
    let mut warnings = Warnings::default();
    let snapshot = read(text, KeepConfig::Keep, &mut warnings).unwrap();
    let list = warnings
        .list()
        .iter()
        .map(|warning| warning.to_string())
        .collect();
    (snapshot, list)
}

fn at<'a>(snapshot: &'a Snapshot, bdf: &str) -> &'a Function {
    let position = snapshot.position(bdf.parse::<Bdf>().unwrap()).unwrap();
    &snapshot.functions()[position]
}

fn flags(letters: &str) -> AcsFlags {
    AcsFlags::NAMES
        .iter()
        .filter(|(_, letter, _)| letters.contains(*letter))
        .fold(AcsFlags::default(), |all, (flag, _, _)| all.union(*flag))
}

fn acs(capable: &str, control: &str) -> Fact<Option<Acs>> {
    let (capable, control) = (flags(capable), flags(control));
    Fact::Known(Some(Acs::without_vector(capable, control)))
}

#[test]
fn a_text_taken_by_root_tells_everything_that_decides() {
    let machine = sound(ROOT);
    let port = at(&machine, "40:01.1");
    assert_eq!(port.config.acs, acs("VBRCU", "VRCU"));
    assert_eq!(port.port_type(), Fact::Known(Some(PortType::ROOT_PORT)));
    let bridge = port.bridge().unwrap();
    assert_eq!(
        (bridge.primary, bridge.secondary, bridge.subordinate),
        (0x40, 0x41, 0x45)
    );
    let windows = bridge.windows.known().unwrap();
    assert_eq!(windows.io, None);
    assert_eq!(windows.memory.unwrap().last().to_u64(), 0xb0ff_ffff);
    assert_eq!(windows.prefetchable.unwrap().first().to_u64(), 0x280_0000_0000);
    assert_eq!(at(&machine, "42:01.0").config.acs, acs("VBRCUET", ""));
    assert_eq!(at(&machine, "41:00.0").config.acs, Fact::Known(None));
    assert_eq!(at(&machine, "40:00.0").config.acs, Fact::Known(None));

    let disk = at(&machine, "43:00.0");
    assert_eq!(
        disk.id(),
        Some(Id {
            vendor: 0x144d,
            device: 0xa80a
        })
    );
    assert_eq!(disk.class(), Some(ClassCode::new(0x010802)));
    assert_eq!(
        disk.config.subsystem,
        Fact::Known(Some(Id {
            vendor: 0x144d,
            device: 0xa9ab
        }))
    );
    assert_eq!(
        disk.config.serial_number,
        Fact::Known(Some(0x0011_2233_4455_6677))
    );
    let sriov = disk.config.sriov.known().unwrap().unwrap();
    assert_eq!(
        (sriov.total, sriov.count, sriov.first_offset, sriov.stride),
        (32, 0, 2, 1)
    );
    assert_eq!((sriov.enabled, sriov.device), (false, 0xa824));
    let link = disk.link().known().unwrap().unwrap();
    assert_eq!((link.max.rate.0, link.now.rate.0, link.now.width), (4, 3, 4));
    let payload = disk
        .config
        .express
        .known()
        .unwrap()
        .unwrap()
        .payload
        .known()
        .unwrap();
    assert_eq!(
        (
            payload.max_supported_bytes,
            payload.max_payload_bytes,
            payload.max_read_request_bytes
        ),
        (256, 256, 512)
    );
    let resources = disk.os.resources.as_ref().known().unwrap();
    assert_eq!(resources.len(), 1);
    assert_eq!(resources[0].kind, BarKind::Memory64);
    assert_eq!(resources[0].span.known().unwrap().last().to_u64(), 0xb001_7fff);
    assert_eq!(disk.os.driver, Fact::Known(Some("nvme".into())));
    assert_eq!(disk.os.numa_node, Fact::Known(Some(1)));
    assert_eq!(
        disk.os
            .iommu_group
            .as_ref()
            .known()
            .unwrap()
            .as_ref()
            .unwrap()
            .number,
        24
    );
    let command = disk.config.command.known().unwrap();
    assert!(command.memory_enabled() && command.bus_master());

    let adapter = at(&machine, "44:00.0");
    let rebar = adapter.config.rebar.as_ref().known().unwrap();
    assert_eq!(rebar.len(), 1);
    assert_eq!(rebar[0].current_bytes(), Some(32 << 20));
    assert!(rebar[0].possible_bytes().eq([32 << 20, 64 << 20]));
    assert!(adapter.config.ats.known().unwrap().unwrap().enabled);
    assert!(adapter.config.sriov.known().unwrap().unwrap().enabled);

    let idle = at(&machine, "45:00.0");
    assert_eq!(idle.os.driver, Fact::Known(None));
    assert_eq!(idle.os.iommu_group, Fact::Known(None));
    assert_eq!(idle.config.acs, Fact::Known(None));
    assert_eq!(idle.config.bridge, Fact::Known(None));
    assert_eq!(idle.os.resources, Fact::Known(Vec::new()));
}

#[test]
fn what_was_denied_is_unknown_and_says_so() {
    let machine = sound(USER);
    for bdf in ["40:01.1", "41:00.0", "43:00.0", "45:00.0"] {
        let config = &at(&machine, bdf).config;
        let denied = Unread::AccessDenied;
        assert_eq!(config.acs, Fact::Unknown(denied), "{bdf}");
        assert_eq!(config.ats, Fact::Unknown(denied), "{bdf}");
        assert_eq!(config.express, Fact::Unknown(denied), "{bdf}");
        assert_eq!(config.rebar, Fact::Unknown(denied), "{bdf}");
        assert_eq!(config.sriov, Fact::Unknown(denied), "{bdf}");
        assert_eq!(config.serial_number, Fact::Unknown(denied), "{bdf}");
    }
    // Its status register says that it has no list; nothing proves that there is no extended space.
    assert_eq!(at(&machine, "40:00.0").config.express, Fact::Known(None));
    assert_eq!(at(&machine, "40:00.0").config.acs, Fact::NOT_IN_SOURCE);
    assert_eq!(at(&machine, "42:01.0").bridge().unwrap().secondary, 0x44);
    assert_eq!(
        at(&machine, "43:00.0")
            .os
            .resources
            .as_ref()
            .known()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn acs_named_without_its_registers_is_unknown() {
    let brief = ROOT
        .lines()
        .filter(|line| !line.starts_with("\t\t"))
        .map(|line| {
            line.replace(" v1]", "]")
                .replace(" v2]", "]")
                .replace("Express (v2)", "Express")
        })
        .collect::<Vec<_>>()
        .join("\n");
    let machine = sound(&brief);
    assert_eq!(at(&machine, "40:01.1").config.acs, Fact::NOT_IN_SOURCE);
    assert_eq!(at(&machine, "41:00.0").config.acs, Fact::Known(None));
    assert_eq!(
        at(&machine, "40:01.1").port_type(),
        Fact::Known(Some(PortType::ROOT_PORT))
    );
    assert_eq!(at(&machine, "40:01.1").link(), Fact::NOT_IN_SOURCE);
}

#[test]
fn without_any_extended_capability_nothing_proves_that_acs_is_absent() {
    let shallow = "00:00.0 Host bridge [0600]: Intel Corporation Device [8086:4c43]\n\tStatus: Cap-\n\
                   00:1c.0 PCI bridge [0604]: Intel Corporation Device [8086:4c01]\n\tStatus: Cap+\n\
                   \tBus: primary=00, secondary=01, subordinate=01, sec-latency=0\n\
                   \tCapabilities: [40] Express (v2) Root Port (Slot+), MSI 00\n\
                   01:00.0 Ethernet controller [0200]: Intel Corporation Device [8086:1234]\n\tStatus: Cap-\n";
    let machine = sound(shallow);
    assert_eq!(at(&machine, "00:00.0").config.acs, Fact::NOT_IN_SOURCE);
    assert_eq!(at(&machine, "00:1c.0").config.acs, Fact::NOT_IN_SOURCE);
    assert_eq!(at(&machine, "01:00.0").config.acs, Fact::Known(None));
}

#[test]
fn numbered_regions_show_that_registers_were_printed_though_their_lines_were_left_out() {
    let listing = "00:01.0 PCI bridge [0604]: Intel Corporation Device [8086:4c01]
\tBus: primary=00, secondary=01, subordinate=01
\tCapabilities: [40] Express (v2) Root Port (Slot+), MSI 00
\tCapabilities: [220 v1] Access Control Services
\t\tACSCap: SrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-
\t\tACSCtl: SrcValid- TransBlk- ReqRedir- CmpltRedir- UpstreamFwd- EgressCtrl- DirectTrans-

01:00.0 Display controller [0380]: Intel Corporation Device [8086:e223]
\tRegion 0: Memory at 6000000000 (64-bit, prefetchable) [size=16G]
";
    assert_eq!(at(&sound(listing), "01:00.0").config.acs, Fact::Known(None));
}

#[test]
fn a_conventional_machine_has_no_acs() {
    let machine = sound(CONVENTIONAL);
    for function in machine.functions() {
        assert_eq!(function.config.acs, Fact::Known(None), "{}", function.bdf);
        assert_eq!(function.config.express, Fact::Known(None), "{}", function.bdf);
    }
    let ports = at(&machine, "00:03.0").os.resources.as_ref().known().unwrap();
    assert_eq!(
        (ports[0].kind, ports[0].size_bytes),
        (BarKind::Io, Fact::Known(32))
    );
}

#[test]
fn names_alone_lead_to_the_numbers_where_they_are_unique() {
    let (numbers, names) = (sound(NUMBERS), sound(NAMES));
    for (numbers, names) in numbers.functions().iter().zip(names.functions()) {
        assert!(numbers.id().is_some() && numbers.class().is_some());
        assert_eq!(numbers.config.class, names.config.class, "{}", numbers.bdf);
        if names.id().is_some() {
            assert_eq!(numbers.id(), names.id(), "{}", numbers.bdf);
        }
        assert_eq!(numbers.config.acs, Fact::NOT_IN_SOURCE);
        assert_eq!(numbers.os.driver, Fact::NOT_IN_SOURCE);
        assert_eq!(numbers.os.resources, Fact::NOT_IN_SOURCE);
        assert_eq!(numbers.config.bridge, Fact::Known(None));
    }
    let known = names
        .functions()
        .iter()
        .filter(|function| function.id().is_some());
    assert!(known.count() >= 3);
}

#[test]
fn bridges_without_any_bus_number_are_refused_with_what_to_do() {
    let error = read(BRIDGES.as_bytes(), KeepConfig::Drop, &mut Warnings::default()).unwrap_err();
    assert_eq!(error, LspciError::NoBusNumbers { line: 2 });
    assert!(error.to_string().contains("as root"), "{error}");
}

#[test]
fn bytes_tell_what_they_hold_and_no_more() {
    let (short, conventional, whole) = (sound(X), sound(BYTES_256), sound(ALL_BYTES));
    let port = |machine: &Snapshot| at(machine, "00:01.0").config.clone();
    let root = |machine: &Snapshot| at(machine, "00:00.0").config.clone();
    assert_eq!(port(&short).acs, Fact::Unknown(Unread::ConfigCut { bytes: 64 }));
    assert_eq!(
        port(&conventional).acs,
        Fact::Unknown(Unread::ConfigCut { bytes: 256 })
    );
    assert_eq!(port(&whole).acs, acs("VBRCU", "VRCU"));
    // The host bridge has 256 bytes in both: only beside functions with more are these all it has.
    assert_eq!(
        root(&conventional).acs,
        Fact::Unknown(Unread::ConfigCut { bytes: 256 })
    );
    assert_eq!(root(&whole).acs, Fact::Known(None));
    for machine in [&short, &conventional, &whole] {
        assert_eq!(port(machine).bridge.known().unwrap().unwrap().secondary, 1);
        assert_eq!(
            at(machine, "01:00.0").id(),
            Some(Id {
                vendor: 0x144d,
                device: 0xa80a
            })
        );
        assert_eq!(at(machine, "01:00.0").raw_config, None);
    }
}

#[test]
fn a_dump_without_any_pcie_function_is_whole() {
    let end = BYTES_256.find("\n00:01.0").unwrap();
    assert_eq!(
        at(&sound(&BYTES_256[..end]), "00:00.0").config.acs,
        Fact::Known(None)
    );
}

#[test]
fn raw_bytes_are_kept_when_asked_for() {
    let (machine, warnings) = warned(ALL_BYTES.as_bytes());
    assert!(warnings.is_empty());
    let raw = |bdf| at(&machine, bdf).raw_config.as_ref().unwrap();
    assert_eq!(raw("00:00.0").len(), 256);
    assert_eq!(raw("01:00.0").len(), 4096);
    assert_eq!(
        raw("01:00.0")[0x100..0x10c],
        [3, 0, 1, 0, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0]
    );
}

#[test]
fn text_and_bytes_complete_each_other() {
    let machine = sound(MIXED);
    let port = at(&machine, "00:01.0");
    assert_eq!(port.config.acs, acs("VBRCU", "VRCU"));
    assert_eq!(port.os.driver, Fact::Known(Some("pcieport".into())));
    let disk = at(&machine, "01:00.0");
    assert_eq!(disk.config.acs, Fact::Known(None));
    assert!(disk.config.bars.is_known());
    assert_eq!(disk.os.resources.as_ref().known().unwrap().len(), 1);
}

#[test]
fn short_bytes_beside_a_denied_list_need_privilege() {
    let end = X.find("\n01:00.0").unwrap();
    let text = X[..end].replace("(rev 01)\n", "(rev 01)\n\tCapabilities: <access denied>\n");
    assert_eq!(
        at(&sound(&text), "00:01.0").config.acs,
        Fact::Unknown(Unread::AccessDenied)
    );
}

#[test]
fn a_virtual_function_has_its_numbers_from_the_first_line() {
    let zeros = " 00".repeat(16);
    let text = format!(
        "3b:02.0 0200: 15b3:101e\n00: ff ff ff ff 06 00 10 00 00 00 00 02 00 00 00 00\n10:{zeros}\n20:{zeros}\n30:{zeros}\n"
    );
    let machine = sound(&text);
    assert_eq!(
        at(&machine, "3b:02.0").id(),
        Some(Id {
            vendor: 0x15b3,
            device: 0x101e
        })
    );
    assert_eq!(at(&machine, "3b:02.0").class(), Some(ClassCode::new(0x020000)));
}

#[test]
fn the_ends_of_lines_and_the_kind_of_indentation_do_not_matter() {
    for text in [ROOT, ALL_BYTES, MIXED] {
        let expected = sound(text);
        assert_eq!(sound(&text.replace('\n', "\r\n")), expected);
        assert_eq!(sound(&text.replace('\t', "    ")), expected);
        assert_eq!(sound(text.trim_end()), expected);
        assert_eq!(sound(&text.to_string().replace("\n\n", "\n")), expected);
    }
}

#[test]
fn the_order_of_functions_does_not_matter() {
    let mut parts: Vec<&str> = ROOT.split("\n\n").collect();
    parts.reverse();
    assert_eq!(sound(&parts.join("\n\n")), sound(ROOT));
}

#[test]
fn a_listing_reads_the_same_in_pieces_of_any_size() {
    for text in ALL {
        let mut warnings = Warnings::default();
        let whole = read(text.as_bytes(), KeepConfig::Keep, &mut warnings).ok();
        for lines in [1, 2, 7] {
            let mut reader = Reader::new(KeepConfig::Keep);
            let mut in_pieces = Warnings::default();
            let pieces: Vec<&str> = text.split_inclusive('\n').collect();
            for piece in pieces.chunks(lines) {
                reader.push(piece.concat().as_bytes(), &mut in_pieces).unwrap();
            }
            assert_eq!(reader.finish(&mut in_pieces).ok(), whole);
            assert_eq!(in_pieces, warnings);
        }
    }
}

#[test]
fn damaged_bytes_cost_only_what_follows_them() {
    let damaged = ALL_BYTES.replacen("\n40: 10", "\n40: 1g", 1);
    let (machine, warnings) = warned(damaged.as_bytes());
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("line 24: "), "{warnings:?}");
    let port = at(&machine, "00:01.0");
    assert_eq!(port.raw_config.as_ref().unwrap().len(), 64);
    assert!(port.bridge().is_some());
    assert_eq!(port.config.acs, Fact::Unknown(Unread::ConfigCut { bytes: 64 }));
    assert!(at(&machine, "01:00.0").config.serial_number.is_known());

    let gap = ALL_BYTES.replacen("\n100: 0d", "\n110: 0d", 1);
    let (machine, warnings) = warned(gap.as_bytes());
    assert!(
        warnings[0].contains("0x110") && warnings[0].contains("0x100"),
        "{warnings:?}"
    );
    assert_eq!(
        at(&machine, "00:01.0").config.acs,
        Fact::Unknown(Unread::ConfigCut { bytes: 256 })
    );
}

#[test]
fn odd_lines_are_warned_of_with_their_numbers() {
    let text = b"pcilib: Cannot open something\n00:00.0 Host bridge: \xff\xfe\n\tNUMA node: many\n";
    let (machine, warnings) = warned(text);
    assert_eq!(machine.functions().len(), 1);
    assert_eq!(machine.functions()[0].class(), Some(ClassCode::new(0x060000)));
    assert_eq!(machine.functions()[0].os.numa_node, Fact::NOT_IN_SOURCE);
    assert!(
        warnings[0].starts_with("line 1: ") && warnings[1].starts_with("line 3: "),
        "{warnings:?}"
    );
}

#[test]
fn one_address_twice_is_believed_in_neither_place() {
    let twice = format!("{CONVENTIONAL}\n{CONVENTIONAL}");
    let (machine, warnings) = warned(twice.as_bytes());
    assert_eq!(warnings.len(), 3);
    assert_eq!(
        machine.functions()[0].config,
        Config::unknown(Unread::Contradictory)
    );
}

#[test]
fn what_is_no_listing_is_refused() {
    let refuse = |text: &[u8]| read(text, KeepConfig::Drop, &mut Warnings::default()).unwrap_err();
    assert_eq!(refuse(b"\n\nhello\nworld\n"), LspciError::NotAListing { line: 3 });
    assert_eq!(refuse(b""), LspciError::NoFunctions { lines: 0 });
    assert_eq!(refuse(b"# a comment\n\n"), LspciError::NoFunctions { lines: 2 });
    assert!(matches!(
        refuse(&vec![0; 1 << 20]),
        LspciError::LineTooLong { line: 1, .. }
    ));
    assert_eq!(refuse(b"00: 00 00\n"), LspciError::NotAListing { line: 1 });
    let many = "0:0.0 a\n".repeat(300_000);
    assert!(matches!(
        refuse(many.as_bytes()),
        LspciError::TooManyFunctions { line: 262_145, .. }
    ));
}

#[test]
fn a_listing_is_told_from_other_files_by_its_start() {
    for text in ALL {
        assert!(looks_like_lspci(&text.as_bytes()[..300]), "{text}");
    }
    for text in [
        "",
        "{\"version\": 1}",
        "00: 00",
        "# only a comment\n",
        "00:00.0",
        "\0\0\0",
        "0000:00:00.0:x",
    ] {
        assert!(!looks_like_lspci(text.as_bytes()), "{text}");
    }
}

#[test]
fn the_two_cards_differ_in_acs_control_alone() {
    let (on, off) = (sound(REDIRECT_ON), sound(REDIRECT_OFF));
    assert_eq!(on.functions().len(), 15);
    let root = &on.functions()[0];
    assert_eq!(
        root.id(),
        Some(Id {
            vendor: 0x8086,
            device: 0x4c43
        })
    );
    for (on, off) in on.functions().iter().zip(off.functions()) {
        let (Fact::Known(with), Fact::Known(without)) = (&on.config.acs, &off.config.acs) else {
            panic!("{}: {:?}", on.bdf, on.config.acs);
        };
        let faces_down = [PortType::ROOT_PORT, PortType::DOWNSTREAM].map(Some);
        let has_acs = faces_down.contains(&on.port_type().known().unwrap());
        assert_eq!(
            (with.is_some(), without.is_some()),
            (has_acs, has_acs),
            "{}",
            on.bdf
        );
        if let (Some(with), Some(without)) = (with, without) {
            assert_eq!(with.control, flags("VRCU"));
            assert_eq!(without.control, flags(""));
        }
    }
    // Four bridges are climbed from each graphics processor to the common one.
    for gpu in ["05:00.0", "09:00.0"] {
        let mut climbed = 0;
        let mut bus = gpu.parse::<Bdf>().unwrap().bus();
        while bus != 2 {
            let above =
                |function: &&Function| function.bridge().is_some_and(|bridge| bridge.secondary == bus);
            bus = on.functions().iter().find(above).unwrap().bdf.bus();
            climbed += 1;
        }
        assert_eq!(climbed + 1, 4, "{gpu}");
        let memory = at(&on, gpu).bars().known().unwrap();
        assert_eq!(memory[1].size_bytes, Fact::Known(32 << 30));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = read(&bytes, KeepConfig::Keep, &mut Warnings::default());
        let _ = looks_like_lspci(&bytes);
    }

    #[test]
    fn no_damage_to_a_listing_makes_the_reader_panic(
        which in 0..ALL.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut text = ALL[which].as_bytes().to_vec();
        for (index, byte) in damage {
            let at = index.index(text.len());
            text[at] = byte;
        }
        text.truncate(cut.index(text.len()) + 1);
        let _ = read(&text, KeepConfig::Keep, &mut Warnings::default());
    }

    #[test]
    fn no_mixture_of_lines_makes_the_reader_panic(
        lines in prop::collection::vec((0..ALL.len(), any::<prop::sample::Index>()), 0..200),
    ) {
        let text: Vec<&str> = lines
            .iter()
            .map(|(which, index)| {
                let all: Vec<&str> = ALL[*which].lines().collect();
                all[index.index(all.len())]
            })
            .collect();
        let _ = read(text.join("\n").as_bytes(), KeepConfig::Drop, &mut Warnings::default());
    }
}
