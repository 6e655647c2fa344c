//! What must hold for any bytes taken as a listing of `lspci`.
//!
//! Shared by the fuzz target and by the test of `peerdma-linux` that replays what fuzzing found.

#[path = "machine.rs"]
mod machine;

use peerdma::snapshot::Warnings;
use peerdma_linux::lspci::{self, KeepConfig};

/// Panics where a promise is broken.
pub(crate) fn check(bytes: &[u8]) {
    let mut warnings = Warnings::default();
    let kept = lspci::read(bytes, KeepConfig::Keep, &mut warnings);
    let dropped = lspci::read(bytes, KeepConfig::Drop, &mut Warnings::default());
    match (kept, dropped) {
        (Ok(mut kept), Ok(dropped)) => {
            machine::check(&kept);
            machine::check(&dropped);
            for function in kept.functions_mut() {
                function.raw_config = None;
            }
            assert_eq!(kept, dropped, "keeping the bytes changes what they mean");
        }
        (Err(kept), Err(dropped)) => assert_eq!(kept, dropped),
        (kept, dropped) => panic!("kept: {kept:?}, dropped: {dropped:?}"),
    }
}
