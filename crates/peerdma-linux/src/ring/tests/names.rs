//! A name leads to one thing when it is looked at, and to another when it is opened.

use crate::ring::{BlockDevice, OpenError};
use rustix::fs::OFlags;
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
