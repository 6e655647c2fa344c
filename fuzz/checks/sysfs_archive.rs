//! What must hold for any bytes taken as an archive of a sysfs tree.
//!
//! Shared by the fuzz target and by the test of `peerdma-linux` that replays what fuzzing found.

use super::machine;
use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use peerdma::snapshot::{Snapshot, Warnings};
use peerdma_linux::KeepConfig;
use peerdma_linux::sysfs;
use peerdma_linux::tree::{ArchiveLimits, ArchiveTree};

/// Small, so that an archive that unpacks without end is soon at it.
const LIMITS: ArchiveLimits = ArchiveLimits {
    read_bytes: 4 << 20,
    kept_bytes: 1 << 20,
    members: 4096,
};

/// Panics where a promise is broken.
pub(crate) fn check(bytes: &[u8]) {
    machine::check_both(read(bytes, KeepConfig::Keep), read(bytes, KeepConfig::Drop));
}

fn read(bytes: &[u8], keep: KeepConfig) -> Result<Snapshot, String> {
    let mut warnings = Warnings::default();
    let tree = match bytes {
        [0x1f, 0x8b, ..] => ArchiveTree::read(MultiGzDecoder::new(bytes), LIMITS, &mut warnings),
        [b'B', b'Z', b'h', ..] => ArchiveTree::read(MultiBzDecoder::new(bytes), LIMITS, &mut warnings),
        _ => ArchiveTree::read(bytes, LIMITS, &mut warnings),
    };
    let tree = tree.map_err(|error| error.to_string())?;
    sysfs::read(&tree, &mut warnings, keep).map_err(|error| error.to_string())
}
