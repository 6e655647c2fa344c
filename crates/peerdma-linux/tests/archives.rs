//! Machines in archives, in archives that lie, and in what is no machine at all.

mod support;

use peerdma::snapshot::Warnings;
use peerdma_linux::source::{self, SourceError};
use peerdma_linux::tree::{ArchiveError, ArchiveLimits, ArchiveTree};
use peerdma_linux::{KeepConfig, json};
use proptest::prelude::*;
use support::{Tar, gzip, open, read, write_folder};

#[test]
fn an_archive_reads_as_its_folder_does_however_it_is_packed() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path());
    let expected = open(folder.path());
    for prefix in ["", "./", "box/", "a/b/c/"] {
        let tar = Tar::machine(prefix).finish();
        for bytes in [tar.clone(), gzip(&tar)] {
            let mut warnings = Warnings::default();
            assert_eq!(read(&bytes, &mut warnings).unwrap(), expected, "{prefix}");
            assert_eq!(warnings.list(), [], "{prefix}");
        }
    }
    let mut text = Vec::new();
    json::write(&expected, &mut text).unwrap();
    assert_eq!(read(&gzip(&text), &mut Warnings::default()).unwrap(), expected);
}

#[test]
fn members_that_lead_out_of_an_archive_are_skipped_with_a_warning() {
    let mut tar = Tar::machine("box/");
    tar.file("../sys/bus/pci/devices/0000:05:00.0/vendor", b"0x1\n");
    tar.file("/sys/bus/pci/devices/0000:06:00.0/vendor", b"0x1\n");
    tar.file("box/../../sys/bus/pci/devices/0000:07:00.0/vendor", b"0x1\n");
    tar.link(
        "box/sys/bus/pci/devices/0000:08:00.0",
        "/sys/devices/pci0000:00/0000:08:00.0",
    );
    tar.link(
        "box/sys/bus/pci/devices/0000:09:00.0",
        "../../../../../../devices/0000:09:00.0",
    );
    // What is there cannot be turned into something else.
    tar.file("box/sys/bus/pci/devices/0000:00:01.0/vendor", b"0x1\n");
    let mut warnings = Warnings::default();
    let snapshot = read(&tar.finish(), &mut warnings).unwrap();
    assert_eq!(snapshot.functions().len(), 2);
    assert_eq!(warnings.list().len(), 6, "{warnings:?}");
}

#[test]
fn links_in_a_circle_end() {
    let mut tar = Tar::machine("");
    tar.link("sys/bus/pci/devices/0000:0a:00.0", "0000:0b:00.0");
    tar.link("sys/bus/pci/devices/0000:0b:00.0", "0000:0a:00.0");
    let mut warnings = Warnings::default();
    let snapshot = read(&tar.finish(), &mut warnings).unwrap();
    assert_eq!(snapshot.functions().len(), 4);
    assert!(!warnings.list().is_empty());
}

#[test]
fn an_archive_cut_short_is_an_error_with_the_offset() {
    let tar = Tar::machine("").finish();
    for length in [700, 1100, tar.len() - 1500] {
        match read(&tar[..length], &mut Warnings::default()) {
            Err(SourceError::Archive {
                source: ArchiveError::Broken { offset, .. },
                ..
            }) => assert_eq!(offset, length as u64),
            other => panic!("{length}: {other:?}"),
        }
    }
    let packed = gzip(&tar);
    let error = read(&packed[..packed.len() / 2], &mut Warnings::default()).unwrap_err();
    assert!(error.to_string().contains("damaged or cut short"), "{error}");
}

#[test]
fn sizes_that_a_header_only_claims_take_no_memory() {
    for kind in [
        tar::EntryType::Regular,
        tar::EntryType::GNULongName,
        tar::EntryType::XHeader,
    ] {
        for claimed in [1 << 33, (1 << 33) - 512] {
            let header = Tar::header("sys/bus/pci/devices/0000:00:00.0/config", kind, claimed);
            let mut bytes = header.as_bytes().to_vec();
            bytes.extend([0u8; 4096]);
            assert!(read(&bytes, &mut Warnings::default()).is_err());
        }
    }
}

#[test]
fn an_archive_that_goes_on_for_ever_ends_at_a_limit() {
    let header = Tar::header(
        "sys/bus/pci/devices/0000:00:00.0/config",
        tar::EntryType::Regular,
        1 << 33,
    );
    let endless = std::io::Read::chain(&header.as_bytes()[..], std::io::repeat(0));
    let limits = ArchiveLimits {
        read_bytes: 1 << 20,
        ..ArchiveLimits::default()
    };
    let error = ArchiveTree::read(endless, limits, &mut Warnings::default()).unwrap_err();
    assert!(matches!(error, ArchiveError::TooLarge { .. }), "{error}");

    let mut many = Tar::new();
    for index in 0..200u32 {
        many.file(
            &format!("sys/bus/pci/devices/{index:04x}:00:00.0/vendor"),
            b"0x1\n",
        );
    }
    let limits = ArchiveLimits {
        members: 100,
        ..ArchiveLimits::default()
    };
    let error = ArchiveTree::read(&many.finish()[..], limits, &mut Warnings::default()).unwrap_err();
    assert!(error.to_string().contains("100 members"), "{error}");
}

#[test]
fn an_archive_is_kept_up_to_a_limit_of_bytes_and_names_count() {
    let limits = ArchiveLimits {
        kept_bytes: 1 << 20,
        ..ArchiveLimits::default()
    };
    let archive = |functions: u32, bytes: usize| {
        let mut tar = Tar::new();
        for index in 0..functions {
            let path = format!("sys/bus/pci/devices/{index:04x}:00:00.0/config");
            tar.file(&path, &vec![0; bytes]);
        }
        ArchiveTree::read(&tar.finish()[..], limits, &mut Warnings::default()).map(|_| ())
    };
    assert!(archive(200, 4096).is_ok());
    let error = archive(300, 4096).unwrap_err();
    assert!(matches!(error, ArchiveError::TooLarge { .. }), "{error}");
    assert!(error.to_string().contains("1048576 bytes about PCI"), "{error}");
    // Links and names take memory too.
    let full = |tar: Tar| match ArchiveTree::read(&tar.finish()[..], limits, &mut Warnings::default()) {
        Ok(_) => panic!("more is kept"),
        Err(error) => error,
    };
    let mut links = Tar::new();
    for index in 0..25_000u32 {
        let target = format!("../../../devices/pci0000:00/{index:04x}:00:00.0");
        links.link(&format!("sys/bus/pci/devices/{index:04x}:00:00.0"), &target);
    }
    let error = full(links);
    assert!(error.to_string().contains("1048576 bytes about PCI"), "{error}");
    let mut names = Tar::new();
    for index in 0..60_000u32 {
        names.file(&format!("sys/bus/pci/devices/{index:05x}:00:00.0/vendor"), b"");
    }
    let error = full(names);
    assert!(error.to_string().contains("1048576 bytes about PCI"), "{error}");
}

#[test]
fn a_text_that_is_larger_than_is_taken_in_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.json");
    std::fs::write(&path, b"{\"peerdma_snapshot\": 1,").unwrap();
    let file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.set_len(3 << 30).unwrap();
    let error = source::open(&path, KeepConfig::Drop, &mut Warnings::default()).unwrap_err();
    assert!(
        matches!(error, SourceError::TooLarge { limit_bytes, .. } if limit_bytes == 1 << 30),
        "{error}"
    );
}

#[test]
fn a_long_path_is_put_together_from_its_extended_header() {
    let deep = "x".repeat(90);
    let path = format!("{deep}/{deep}/sys/bus/pci/devices/0000:00:00.0/vendor");
    let mut tar = Tar::new();
    let mut header = tar::Header::new_gnu();
    header.set_size(7);
    header.set_mode(0o644);
    header.set_cksum();
    tar.0.append_data(&mut header, &path, &b"0x8086\n"[..]).unwrap();
    let snapshot = read(&tar.finish(), &mut Warnings::default()).unwrap();
    assert_eq!(snapshot.functions().len(), 1);
}

#[test]
fn what_is_not_understood_is_refused_from_its_start() {
    let zeros = || std::io::repeat(0);
    let error = source::read(zeros(), "zeros", 0, KeepConfig::Drop, &mut Warnings::default()).unwrap_err();
    assert!(matches!(error, SourceError::Unrecognised { .. }), "{error}");
    assert!(error.to_string().contains("offset 0"), "{error}");
    let text = std::io::Read::chain(&b"{\"peerdma_snapshot\": 1,"[..], zeros());
    let error = source::read(text, "text", 0, KeepConfig::Drop, &mut Warnings::default()).unwrap_err();
    assert!(
        matches!(error, SourceError::NotText { offset: 23, .. }),
        "{error}"
    );
    for (bytes, part) in [
        (&b""[..], "is empty"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"hello\n", "starts with \"hello\\n\""),
        (b"\x1f\x8b\x08\x00", "gzip"),
    ] {
        let error = read(bytes, &mut Warnings::default()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let twice = read(&gzip(&gzip(b"{}")), &mut Warnings::default()).unwrap_err();
    assert!(twice.to_string().contains("gzip once more"), "{twice}");
}

/// Starts that lead past recognition.
fn start() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        Just(b"{\"peerdma_snapshot\": 1, ".to_vec()),
        Just(b"BZh9".to_vec()),
        Just(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".to_vec()),
        Just(b"00:00.0 Host bridge: ".to_vec()),
        Just(
            Tar::header(
                "sys/bus/pci/devices/0000:00:00.0/config",
                tar::EntryType::Regular,
                64
            )
            .as_bytes()
            .to_vec()
        ),
        Just(Tar::header("x", tar::EntryType::XHeader, 600).as_bytes().to_vec()),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(start in start(), rest in prop::collection::vec(any::<u8>(), 0..2048)) {
        let bytes = [start, rest].concat();
        let _ = read(&bytes, &mut Warnings::default());
    }

    #[test]
    fn no_damage_to_an_archive_makes_a_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = Tar::machine("").finish();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read(&bytes, &mut Warnings::default());
    }
}
