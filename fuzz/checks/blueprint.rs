//! What must hold for any snapshot that is to be simulated.
//!
//! Shared by fuzz targets and by the test of `peerdma-sim` that replays what fuzzing found.

use peerdma::snapshot::{Snapshot, Warnings};
use peerdma_linux::json;
use peerdma_sim::blueprint::Blueprint;
use peerdma_sim::fabric::Fabric;

/// Panics where a promise is broken.
#[allow(dead_code, reason = "one target checks machine files only")]
pub(crate) fn check(bytes: &[u8]) {
    if let Ok(snapshot) = json::read(bytes, &mut Warnings::default()) {
        match Blueprint::from_snapshot(&snapshot) {
            Ok((blueprint, warnings)) => {
                assert_eq!(blueprint.snapshot.functions().len(), snapshot.functions().len());
                assert!(warnings.list().len() <= Warnings::MOST);
                check_machine(&blueprint);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// A machine can be switched on, and a snapshot of it is simulated as the same machine.
pub(crate) fn check_machine(blueprint: &Blueprint) {
    let fabric = Fabric::new(blueprint).unwrap_or_else(|error| panic!("{error}"));
    assert_same(&blueprint.snapshot, &fabric.snapshot());
    let (again, _) = Blueprint::from_snapshot(&blueprint.snapshot).expect("it was a machine before");
    assert_same(&blueprint.snapshot, &again.snapshot);
}

fn assert_same(before: &Snapshot, after: &Snapshot) {
    for (before, after) in before.functions().iter().zip(after.functions()) {
        assert_eq!(before, after);
    }
    assert_eq!(before, after);
}
