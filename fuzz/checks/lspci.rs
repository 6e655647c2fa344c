//! What must hold for any bytes taken as a listing of `lspci`.
//!
//! Shared by the fuzz target and by the test of `peerdma-linux` that replays what fuzzing found.

use super::machine;
use peerdma::snapshot::Warnings;
use peerdma_linux::{KeepConfig, lspci};

/// Panics where a promise is broken.
pub(crate) fn check(bytes: &[u8]) {
    let mut warnings = Warnings::default();
    let kept = lspci::read(bytes, KeepConfig::Keep, &mut warnings);
    let dropped = lspci::read(bytes, KeepConfig::Drop, &mut Warnings::default());
    machine::check_both(kept, dropped);
}
