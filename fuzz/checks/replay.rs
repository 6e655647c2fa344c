//! Runs a check over the seeds of a fuzz target and over all that fuzzing ever found.

use std::fs;
use std::path::Path;

/// Runs `check` on every file of `seeds/TARGET` and `regressions/TARGET`; the name of the file that
/// breaks a promise is the last one printed.
pub(crate) fn replay(target: &str, check: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut replayed = 0;
    for kind in ["seeds", "regressions"] {
        let folder = fuzz.join(kind).join(target);
        if !folder.is_dir() {
            continue;
        }
        let entries = fs::read_dir(&folder).expect("the folder can be read");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        for file in files {
            println!("{}", file.display());
            check(&fs::read(&file).expect("the file can be read"));
            replayed += 1;
        }
    }
    assert!(replayed > 0, "no seeds for {target}");
}
