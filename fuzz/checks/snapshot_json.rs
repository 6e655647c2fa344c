//! What must hold for any bytes taken as a snapshot of peerdma's own.
//!
//! Shared by the fuzz target and by the test of `peerdma-linux` that replays what fuzzing found.

use super::machine;
use peerdma::snapshot::Warnings;
use peerdma_linux::json;

/// Panics where a promise is broken.
pub(crate) fn check(bytes: &[u8]) {
    match json::read(bytes, &mut Warnings::default()) {
        Ok(snapshot) => machine::check(&snapshot),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
