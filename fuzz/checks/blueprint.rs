//! What must hold for any snapshot that is to be simulated.
//!
//! Shared by fuzz targets and by the test of `peerdma-sim` that replays what fuzzing found.

use peerdma::snapshot::{Snapshot, Warnings};
use peerdma_linux::json;
use peerdma_sim::blueprint::Blueprint;

/// Panics where a promise is broken.
#[allow(dead_code, reason = "one target checks machine files only")]
pub(crate) fn check(bytes: &[u8]) {
    if let Ok(snapshot) = json::read(bytes, &mut Warnings::default()) {
        match Blueprint::from_snapshot(&snapshot) {
            Ok((blueprint, warnings)) => {
                assert_eq!(blueprint.snapshot.functions().len(), snapshot.functions().len());
                assert!(warnings.list().len() <= Warnings::MOST);
                check_round_trip(&blueprint.snapshot);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// A snapshot of a simulated machine is simulated as the same machine.
pub(crate) fn check_round_trip(snapshot: &Snapshot) {
    let (again, _) = Blueprint::from_snapshot(snapshot).expect("it was a machine before");
    for (before, after) in snapshot.functions().iter().zip(again.snapshot.functions()) {
        assert_eq!(before, after);
    }
    assert_eq!(snapshot, &again.snapshot);
}
