//! What `peerdma snapshot` leaves out where it is told to, from every kind of source.

mod support;

use peerdma::fact::{Fact, Unread};
use peerdma::pci::{ClassCode, Command, Config, Id};
use peerdma::snapshot::{Function, Snapshot, Warnings};
use peerdma_linux::json;
use std::fmt::Write as _;
use support::{File, ended, peerdma};

const SERIAL: u64 = 0x1122_3344_5566_7788;

/// A function with a serial number.
fn config() -> Config {
    Config {
        id: Fact::Known(Id {
            vendor: 0x8086,
            device: 0x1234,
        }),
        class: Fact::Known(ClassCode::new(0x06_00_00)),
        revision: Fact::Known(1),
        subsystem: Fact::Known(None),
        command: Fact::Known(Command(6)),
        bridge: Fact::Known(None),
        bars: Fact::Known(Vec::new()),
        express: Fact::Known(None),
        pci_x_mode_2: Fact::Known(false),
        acs: Fact::Known(None),
        ats: Fact::Known(None),
        rebar: Fact::Known(Vec::new()),
        sriov: Fact::Known(None),
        serial_number: Fact::Known(Some(SERIAL)),
    }
}

/// The function as `lspci -D -n -xxxx` shows it.
fn listing() -> File {
    let mut text = String::from("0000:00:00.0 0600: 8086:1234 (rev 01)\n");
    let bytes = config().emit().expect("it can be written");
    for (line, bytes) in bytes.chunks(16).enumerate() {
        let _ = write!(text, "{:02x}:", line * 16);
        for byte in bytes {
            let _ = write!(text, " {byte:02x}");
        }
        text.push('\n');
    }
    File::new("listing.txt", text)
}

/// The function as a snapshot holds it.
fn snapshot() -> File {
    let mut function = Function::new("00:00.0".parse().expect("an address"));
    function.config = config();
    function.raw_config = Some(config().emit().expect("it can be written").to_vec());
    File::machine(vec![function])
}

/// The function as `lspci -vvv` describes it: a number, and no bytes.
fn description() -> File {
    File::new(
        "description.txt",
        "0000:00:00.0 Host bridge [0600]: Intel Corporation Device [8086:1234] (rev 01)\n\
         \tControl: I/O- Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx-\n\
         \tStatus: Cap+ 66MHz- UDF- FastB2B- ParErr- DEVSEL=fast >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx-\n\
         \tCapabilities: [100 v1] Device Serial Number 11-22-33-44-55-66-77-88\n\n",
    )
}

/// The only function of what `snapshot` prints for `source`.
fn taken(source: &File, options: &[&str]) -> Function {
    let source = source.name();
    let output = peerdma(&[&["snapshot", "-q", "--from", source], options].concat());
    assert_eq!(output.status.code(), Some(0), "{source}");
    let snapshot: Snapshot =
        json::read(&output.stdout, &mut Warnings::default()).expect("it can be read again");
    let [function] = snapshot.functions() else {
        panic!("{source}: {} functions", snapshot.functions().len());
    };
    function.clone()
}

fn holds_serial(bytes: &[u8]) -> bool {
    let (low, high) = (SERIAL as u32, (SERIAL >> 32) as u32);
    [low, high]
        .iter()
        .any(|part| bytes.windows(4).any(|window| window == part.to_le_bytes()))
}

#[test]
fn serial_numbers_are_left_out_where_that_is_asked_for_and_nowhere_else() {
    for source in [listing(), snapshot(), description()] {
        let name = source.name();
        let with = taken(&source, &[]);
        let without = taken(&source, &["--blank-serials"]);
        assert_eq!(with.config.serial_number, Fact::Known(Some(SERIAL)), "{name}");
        assert_eq!(
            without.config.serial_number,
            Fact::Unknown(Unread::Blanked),
            "{name}"
        );
        let blanked = without.raw_config.clone();
        assert_eq!(with.raw_config.is_some(), blanked.is_some(), "{name}");
        if let (Some(with), Some(without)) = (&with.raw_config, &blanked) {
            assert!(holds_serial(with) && !holds_serial(without), "{name}");
            assert_eq!(with.len(), without.len(), "{name}");
            let changed = with.iter().zip(without).filter(|(a, b)| a != b);
            assert_eq!(changed.count(), 8, "{name}");
        }
        // All else stays.
        let mut expected = with;
        expected.config.serial_number = Fact::Unknown(Unread::Blanked);
        expected.raw_config = blanked;
        assert_eq!(without, expected, "{name}");
    }
}

#[test]
fn bytes_are_left_out_where_that_is_asked_for_and_their_meaning_stays() {
    for source in [listing(), snapshot()] {
        let name = source.name();
        let with = taken(&source, &[]);
        let without = taken(&source, &["--no-config"]);
        assert_eq!(with.raw_config.as_ref().map(Vec::len), Some(4096), "{name}");
        assert_eq!(without.raw_config, None, "{name}");
        assert_eq!(with.config, config(), "{name}");
        assert_eq!(without.config, config(), "{name}");
        let neither = taken(&source, &["--no-config", "--blank-serials"]);
        assert_eq!(
            (neither.raw_config, neither.config.serial_number),
            (None, Fact::Unknown(Unread::Blanked)),
            "{name}"
        );
    }
}

#[test]
fn a_file_that_is_there_is_left_alone_unless_it_may_be_overwritten() {
    let (source, there) = (snapshot(), File::new("there.json", "something of value\n"));
    let (from, to) = (source.name(), there.name());
    let (code, out, errors) = ended(&["snapshot", "-q", "--from", from, "-o", to]);
    assert_eq!((code, &out[..]), (Some(2), ""));
    assert_eq!(
        errors,
        format!(
            "error: {to} was not written\n\
             why:   the file exists\n\
             fix:   give another name, or --force to overwrite it\n"
        )
    );
    let content = || std::fs::read_to_string(to).expect("it is still there");
    assert_eq!(content(), "something of value\n");
    let (code, ..) = ended(&["snapshot", "-q", "--from", from, "-o", to, "--force"]);
    assert_eq!(code, Some(0));
    assert!(content().contains("peerdma_snapshot"));
}

#[test]
fn who_asks_for_json_gets_a_failure_as_json_and_nothing_beside_it() {
    let source = snapshot();
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = folder.path().join("none/machine.json");
    let to = nowhere.to_str().expect("UTF-8");
    let (code, out, errors) = ended(&["snapshot", "--json", "--from", source.name(), "-o", to]);
    assert_eq!((code, &out[..]), (Some(2), ""));
    let error: serde_json::Value = serde_json::from_str(&errors).expect("it is one JSON object");
    assert_eq!(error["schema"], "peerdma.error/1");
}
