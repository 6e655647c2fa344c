//! `lspci` itself judges the reader: what it prints as text from a hex dump must tell the same facts as
//! the bytes of that dump, wherever both tell any.
//!
//! The dumps of machines whose Linux was asked (`PEERDMA_SHARED`, a folder with `kernel-truth`) and the
//! machine that runs the test are used where they are there.

use flate2::read::GzDecoder;
use peerdma::fact::{Fact, Unread};
use peerdma::pci::{ClassCode, Config, Id};
use peerdma::snapshot::{Function, Snapshot, Warnings};
use peerdma_linux::KeepConfig;
use peerdma_linux::lspci::{LspciError, read};
use proptest::prelude::*;
use std::fmt::{Debug, Write as _};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many facts of which kind were known to both.
#[derive(Debug, Default)]
struct Agreement {
    functions: usize,
    facts: usize,
    acs: usize,
    acs_only_bytes: usize,
}

impl Agreement {
    fn compare<T: PartialEq + Debug>(&mut self, at: &str, bytes: &Fact<T>, text: &Fact<T>) {
        if let (Fact::Known(bytes), Fact::Known(text)) = (bytes, text) {
            assert_eq!(bytes, text, "{at}");
            self.facts += 1;
        }
    }

    fn functions(&mut self, machine: &str, bytes: &Function, text: &Function) {
        let at = |what: &str| format!("{machine} {} {what}", bytes.bdf);
        assert_eq!(bytes.bdf, text.bdf);
        let (left, right) = (&bytes.config, &text.config);
        self.functions += 1;
        // A name leads to more than one number now and then, a sub-class to no interface.
        self.compare(&at("id"), &left.id, &right.id);
        let class = |class: ClassCode| class.class();
        self.compare(&at("class"), &left.class.map(class), &right.class.map(class));
        self.compare(&at("revision"), &left.revision, &right.revision);
        self.compare(&at("command"), &left.command, &right.command);
        // lspci does not print a subsystem of vendor 0 or ffff: nobody has filled it in.
        let printed = |id: Option<Id>| id.filter(|id| !matches!(id.vendor, 0 | 0xffff));
        self.compare(&at("subsystem"), &left.subsystem.map(printed), &right.subsystem);
        self.compare(&at("bridge"), &left.bridge, &right.bridge);
        let registers = |config: &Config| {
            config
                .acs
                .as_ref()
                .map(|acs| acs.as_ref().map(|acs| (acs.capable, acs.control)))
        };
        self.compare(&at("acs"), &registers(left), &registers(right));
        let number = |config: &Config| match config.express {
            Fact::Known(Some(express)) => express.port_number,
            _ => Fact::NOT_IN_SOURCE,
        };
        self.compare(&at("port number"), &number(left), &number(right));
        self.compare(&at("ats"), &left.ats, &right.ats);
        self.compare(&at("rebar"), &left.rebar, &right.rebar);
        self.compare(&at("sriov"), &left.sriov, &right.sriov);
        self.compare(&at("serial"), &left.serial_number, &right.serial_number);
        self.compare(&at("port type"), &bytes.port_type(), &text.port_type());
        self.compare(&at("link"), &bytes.link(), &text.link());
        let payload = |function: &Function| match function.config.express {
            Fact::Known(Some(express)) => express.payload,
            _ => Fact::NOT_IN_SOURCE,
        };
        self.compare(&at("payload"), &payload(bytes), &payload(text));
        match (left.acs.is_known(), right.acs.is_known()) {
            (true, true) => self.acs += 1,
            (true, false) => self.acs_only_bytes += 1,
            (false, true) if left.acs != Fact::Unknown(Unread::Contradictory) => {
                panic!("{}: unknown by bytes ({:?}), known by text", at("acs"), left.acs)
            }
            (false, _) => {}
        }
    }

    fn snapshots(&mut self, machine: &str, bytes: &Snapshot, text: &Snapshot) {
        assert_eq!(bytes.functions().len(), text.functions().len(), "{machine}");
        for (bytes, text) in bytes.functions().iter().zip(text.functions()) {
            self.functions(machine, bytes, text);
        }
    }
}

/// What `lspci` prints; nothing where it is not installed.
fn lspci(arguments: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new("lspci").args(arguments).output().ok()?;
    output.status.success().then_some(output.stdout)
}

fn snapshot(text: &[u8]) -> Snapshot {
    let mut warnings = Warnings::default();
    let snapshot = read(text, KeepConfig::Drop, &mut warnings).unwrap();
    assert_eq!(warnings.list(), [], "{}", String::from_utf8_lossy(text));
    snapshot
}

fn dumps() -> Vec<PathBuf> {
    let Some(shared) = std::env::var_os("PEERDMA_SHARED") else {
        return Vec::new();
    };
    let folder = Path::new(&shared).join("kernel-truth");
    ["listed", "zen"]
        .iter()
        .filter_map(|name| fs::read_dir(folder.join(name)).ok())
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".lspci.gz"))
        .collect()
}

#[test]
fn the_text_of_a_dump_tells_what_its_bytes_tell() {
    if lspci(&["--version"]).is_none() {
        eprintln!("skipped: lspci (package pciutils) is not installed");
        return;
    }
    let dumps = dumps();
    if dumps.is_empty() {
        eprintln!("skipped: PEERDMA_SHARED names no folder that holds kernel-truth");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump");
    let file = file.to_str().unwrap();
    let mut agreement = Agreement::default();
    for path in &dumps {
        let machine = path.to_string_lossy();
        let mut dump = Vec::new();
        GzDecoder::new(File::open(path).unwrap())
            .read_to_end(&mut dump)
            .unwrap();
        fs::write(file, &dump).unwrap();
        let bytes = snapshot(&dump);
        for options in ["-Dvvvnn", "-Dvvvn", "-Dvv", "-Dv"] {
            let text = lspci(&["-F", file, options]).unwrap();
            let before = agreement.acs_only_bytes;
            agreement.snapshots(&machine, &bytes, &snapshot(&text));
            // Only -v leaves out the registers.
            assert!(
                options == "-Dv" || agreement.acs_only_bytes == before,
                "{machine} {options}"
            );
        }
        let both = lspci(&["-F", file, "-Dvvvxxxxnn"]).unwrap();
        let both = snapshot(&both);
        for (bytes, both) in bytes.functions().iter().zip(both.functions()) {
            assert_eq!(bytes.config, both.config, "{machine} {}", bytes.bdf);
        }
        for options in ["-Dx", "-Dxxx", "-Dnxxx"] {
            let cut = snapshot(&lspci(&["-F", file, options]).unwrap());
            agreement.snapshots(&machine, &bytes, &cut);
        }
    }
    eprintln!("{} dumps: {agreement:?}", dumps.len());
    assert!(agreement.acs > agreement.functions / 3);
}

#[test]
fn the_text_of_this_machine_tells_what_its_bytes_tell() {
    let Some(listing) = lspci(&["-Dvvvxxxxnn"]).filter(|listing| !listing.is_empty()) else {
        eprintln!("skipped: lspci (package pciutils) is not installed, or sees no PCI");
        return;
    };
    let lines = || listing.split_inclusive(|&byte| byte == b'\n');
    let is_hex = |line: &&[u8]| line.get(2..4) == Some(b": ") || line.get(3..5) == Some(b": ");
    let is_detail = |line: &&[u8]| line.first() == Some(&b'\t');
    let text: Vec<u8> = lines().filter(|line| !is_hex(line)).flatten().copied().collect();
    let bytes: Vec<u8> = lines()
        .filter(|line| !is_detail(line))
        .flatten()
        .copied()
        .collect();
    let mut agreement = Agreement::default();
    let bytes = snapshot(&bytes);
    match read(&text, KeepConfig::Drop, &mut Warnings::default()) {
        Ok(text) => agreement.snapshots("this machine", &bytes, &text),
        Err(error) => assert!(matches!(error, LspciError::NoBusNumbers { .. }), "{error}"),
    }
    eprintln!("this machine: {agreement:?}");
}

/// A configuration space with what the reader looks at in random places and of random content.
fn random_space(dice: [u32; 32]) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let mut next = 0;
    let mut roll = || {
        next += 1;
        dice[next - 1]
    };
    let put = |bytes: &mut Vec<u8>, at: usize, value: u32| {
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    };
    put(&mut bytes, 0x00, roll() << 16 | 0x8086);
    put(&mut bytes, 0x04, 0x0010_0000 | roll() & 0x7ff);
    let class = [0x060400, 0x010802, 0x020000, 0x060000][roll() as usize % 4];
    put(&mut bytes, 0x08, class << 8 | roll() & 0xff);
    if class == 0x060400 {
        put(&mut bytes, 0x0c, 0x0001_0000);
        put(&mut bytes, 0x18, roll() & 0x00ff_ffff);
        let wide = roll();
        put(&mut bytes, 0x1c, roll() & 0xf0f0 | (0x0101 * (wide & 1)));
        put(&mut bytes, 0x20, roll() & 0xfff0_fff0);
        put(
            &mut bytes,
            0x24,
            roll() & 0xfff0_fff0 | (0x0001_0001 * (wide >> 1 & 1)),
        );
        put(&mut bytes, 0x28, roll() & 0xf);
        put(&mut bytes, 0x2c, roll() & 0xf);
        put(&mut bytes, 0x30, roll() & 0x0003_0003);
    } else {
        put(&mut bytes, 0x10, roll() & !0xf | 4);
        put(&mut bytes, 0x2c, roll());
    }
    let present = roll();
    if present & 0x20 != 0 {
        put(&mut bytes, 0x34, 0x40);
        put(&mut bytes, 0x40, 0x0002_0010 | (roll() & 0xf) << 20);
        put(&mut bytes, 0x44, roll());
        put(&mut bytes, 0x48, roll() & 0xffff);
        put(&mut bytes, 0x4c, roll() & 0xf0 | 0x10 | (1 + roll() % 7));
        put(&mut bytes, 0x50, roll() & 0x00f0_0000 | (1 + roll() % 6) << 16);
        put(&mut bytes, 0x100, 0x1200_fff5);
    }
    let mut at = 0x120;
    for (bit, capability) in [0x0d, 0x0f, 0x15, 0x10, 0x03].into_iter().enumerate() {
        if present >> bit & 1 == 0 {
            continue;
        }
        let place = at;
        at += 0x80;
        put(&mut bytes, place, (at as u32) << 20 | 1 << 16 | capability);
        match capability {
            0x15 => {
                let count = 1 + roll() % 3;
                for bar in 0..count {
                    put(&mut bytes, place + 4 + 8 * bar as usize, roll() & !0xf);
                    put(
                        &mut bytes,
                        place + 8 + 8 * bar as usize,
                        (bar * 2) | count << 5 | (bar + 9) << 8,
                    );
                }
            }
            0x10 => {
                put(&mut bytes, place + 8, roll() & 0x1f);
                put(&mut bytes, place + 0x0c, roll());
                put(&mut bytes, place + 0x10, roll() & 0xffff);
                put(&mut bytes, place + 0x14, roll());
                put(&mut bytes, place + 0x18, roll() & 0xffff_0000);
            }
            _ => {
                put(&mut bytes, place + 4, roll());
                put(&mut bytes, place + 8, 0x7766_5544);
            }
        }
    }
    // The last one points to where nothing is.
    put(&mut bytes, at, 1 << 16 | 0xfff5);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn random_functions_mean_the_same_as_text_and_as_bytes(
        functions in prop::collection::vec(prop::array::uniform32(any::<u32>()), 40..80),
    ) {
        if lspci(&["--version"]).is_none() {
            eprintln!("skipped: lspci (package pciutils) is not installed");
            return Ok(());
        }
        let mut dump = String::new();
        for (number, dice) in functions.into_iter().enumerate() {
            let id = dice[0] & 0xffff;
            writeln!(dump, "0000:{:02x}:{:02x}.0 0000: 8086:{id:04x}", number / 32, number % 32).unwrap();
            for (line, bytes) in random_space(dice).chunks(16).enumerate() {
                write!(dump, "{:02x}:", line * 16).unwrap();
                bytes.iter().for_each(|byte| write!(dump, " {byte:02x}").unwrap());
                dump.push('\n');
            }
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &dump).unwrap();
        let text = lspci(&["-F", file.path().to_str().unwrap(), "-Dvvvnn"]).unwrap();
        let (mut warnings, mut agreement) = (Warnings::default(), Agreement::default());
        let bytes = read(dump.as_bytes(), KeepConfig::Drop, &mut warnings).unwrap();
        let text = read(&text, KeepConfig::Drop, &mut warnings).unwrap();
        prop_assert_eq!(warnings.list().iter().find(|warning| warning.at.starts_with("line")), None);
        agreement.snapshots("random", &bytes, &text);
        for (bytes, text) in bytes.functions().iter().zip(text.functions()) {
            let known = |function: &Function| {
                let config = &function.config;
                let port_type = function.port_type().is_known();
                (port_type, config.acs.is_known(), config.ats.is_known(), config.sriov.is_known())
            };
            prop_assert_eq!(known(bytes), known(text), "{}", bytes.bdf);
        }
    }
}
