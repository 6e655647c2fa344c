//! What must hold for a machine, whichever reader it comes from.

use peerdma::snapshot::{Snapshot, Warnings};
use peerdma_linux::json;
use std::fmt::Display;

/// Panics where a promise about a machine is broken.
pub(crate) fn check(snapshot: &Snapshot) {
    let functions = snapshot.functions();
    assert!(
        functions.windows(2).all(|two| two[0].bdf < two[1].bdf),
        "addresses are not in order, or come twice"
    );
    for (index, function) in functions.iter().enumerate() {
        assert_eq!(snapshot.position(function.bdf), Some(index));
        let _ = function.bars();
        let _ = function.link();
    }
    let mut written = Vec::new();
    json::write(snapshot, &mut written).expect("memory takes every write");
    let again = json::read(&written, &mut Warnings::default()).expect("what was written can be read");
    assert_eq!(snapshot, &again, "writing and reading a snapshot changes it");
}

/// The same, for one source read twice: with the bytes of configuration space kept, and without.
///
/// Panics also where the two differ in more than those bytes, and where an error says nothing.
#[allow(dead_code, reason = "not every target has the choice")]
pub(crate) fn check_both<E: Display>(kept: Result<Snapshot, E>, dropped: Result<Snapshot, E>) {
    match (kept, dropped) {
        (Ok(mut kept), Ok(dropped)) => {
            check(&kept);
            check(&dropped);
            kept.edit(|function| function.raw_config = None);
            assert_eq!(kept, dropped, "keeping the bytes changes what they mean");
        }
        (Err(kept), Err(dropped)) => {
            assert!(!kept.to_string().is_empty());
            assert_eq!(kept.to_string(), dropped.to_string());
        }
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => panic!("keeping the bytes decides whether: {error}"),
    }
}
