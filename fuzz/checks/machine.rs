//! What must hold for a machine, whichever reader it comes from.

use peerdma::snapshot::Snapshot;

/// Panics where a promise is broken.
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
    let text = serde_json::to_vec(snapshot).expect("a snapshot can be written");
    let again: Snapshot = serde_json::from_slice(&text).expect("what was written can be read");
    assert_eq!(snapshot, &again, "writing and reading a snapshot changes it");
}
