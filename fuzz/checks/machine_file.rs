//! What must hold for any bytes taken as a machine file.
//!
//! Shared by the fuzz target and by the test of `peerdma-sim` that replays what fuzzing found.

use super::blueprint;
use peerdma_sim::file;

/// Panics where a promise is broken.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match file::load(text) {
        Ok(blueprint) => {
            for function in blueprint.snapshot.functions() {
                assert!(function.config.emit().is_ok(), "{:?}", function.config.emit());
            }
            blueprint::check_round_trip(&blueprint.snapshot);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(error.to_string().len() < 2000, "an error repeats the file");
            let lines = text.lines().count().max(1) as u32 + 1;
            assert!(error.at.line <= lines, "{error}");
        }
    }
}
