//! `lspci` itself judges the reader: what it prints as text from a hex dump must tell the same facts as
//! the bytes of that dump, wherever both tell any.
//!
//! The dumps of machines whose Linux was asked (`PEERDMA_SHARED`, a folder with `kernel-truth`) and the
//! machine that runs the test are used where they are there.

use flate2::read::GzDecoder;
use peerdma::fact::{Fact, Unread};
use peerdma::pci::ClassCode;
use peerdma::snapshot::{Function, Snapshot, Warnings};
use peerdma_linux::KeepConfig;
use peerdma_linux::lspci::{LspciError, read};
use std::fmt::Debug;
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
        self.compare(&at("bridge"), &left.bridge, &right.bridge);
        self.compare(&at("acs"), &left.acs, &right.acs);
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
            agreement.snapshots(&machine, &bytes, &snapshot(&text));
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
