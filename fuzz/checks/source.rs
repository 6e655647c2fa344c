//! What must hold for any bytes taken as whatever they are.
//!
//! Shared by the fuzz target and by the test of `peerdma-linux` that replays what fuzzing found.

use super::machine;
use peerdma::snapshot::Warnings;
use peerdma_linux::{KeepConfig, source};

/// Panics where a promise is broken.
pub(crate) fn check(bytes: &[u8]) {
    let read = |keep| source::read(bytes, "input", 0, keep, &mut Warnings::default());
    machine::check_both(read(KeepConfig::Keep), read(KeepConfig::Drop));
}
