//! A name leads to one thing when it is looked at, and to another when it is opened.

use crate::ring::device::unmake;
use crate::ring::{BlockDevice, OpenError, OpenOptions, Write};
use rustix::fs::{Mode, OFlags};
use std::path::Path;

#[test]
fn a_name_that_leads_elsewhere_by_now_is_not_opened() {
    let wrong = |opened: Result<BlockDevice, OpenError>| {
        let error = opened.unwrap_err();
        assert!(matches!(error, OpenError::WrongType { .. }), "{error}");
    };
    wrong(BlockDevice::open_file(Path::new("/dev/zero"), OFlags::RDWR));
    // A disk of this machine, which is not opened.
    let mut disks = std::fs::read_dir("/sys/dev/block")
        .into_iter()
        .flatten()
        .flatten();
    let number = disks.find_map(|entry| {
        let name = entry.file_name();
        let (major, minor) = name.to_str()?.split_once(':')?;
        Some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 20).unwrap();
    if let Some(number) = number {
        wrong(BlockDevice::open_block(file.path(), OFlags::RDWR, number));
    }
}

#[test]
fn a_file_that_was_made_is_the_one_that_is_used_whoever_has_its_name_by_now() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("volume"), folder.path().join("moved"));
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let fd = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)).unwrap();
    let made = rustix::fs::fstat(&fd).unwrap();
    std::fs::rename(&path, &moved).unwrap();
    std::fs::write(&path, b"another's").unwrap();
    let device = BlockDevice::of_created(&path, fd, 3 << 20).unwrap();
    assert_eq!(device.len_bytes(), 3 << 20);
    assert_eq!(std::fs::metadata(&moved).unwrap().len(), 3 << 20);
    unmake(&path, made);
    assert_eq!(std::fs::read(&path).unwrap(), b"another's");
    unmake(&moved, made);
    assert!(!moved.exists());
}

#[test]
fn a_file_that_cannot_be_as_long_as_it_should_is_not_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    for len_bytes in [u64::MAX, 1 << 63] {
        let write = Write::Create { len_bytes };
        let error = BlockDevice::open(&path, OpenOptions { write }).unwrap_err();
        assert!(matches!(error, OpenError::System { .. }), "{error}");
        assert!(!path.exists());
    }
    let write = Write::Create { len_bytes: 1 };
    let device = BlockDevice::open(&path, OpenOptions { write }).unwrap();
    assert_eq!(
        (device.blocks(), device.len_bytes()),
        (1, device.block_bytes().into())
    );
    assert!(BlockDevice::open(&path, OpenOptions { write }).is_err());
    assert!(path.exists(), "it was there before");
}
