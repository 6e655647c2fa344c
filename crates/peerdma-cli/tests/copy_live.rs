//! Copies of files on the machine that runs the tests: what is asked before, what is written, what is left.
//!
//! They need io_uring; where the system does not let programs have it (many containers), that is said and nothing is checked.

mod support;

use std::fs;
use std::path::Path;
use support::ended;

const LEN_BYTES: usize = 300 << 10;

fn source(folder: &Path) -> (String, Vec<u8>) {
    let bytes: Vec<u8> = (0..LEN_BYTES).map(|at| (at / 512 + at % 251) as u8).collect();
    (file(folder, "from.img", &bytes), bytes)
}

fn file(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Runs a copy; nothing where the system has no io_uring.
fn copy(args: &[&str]) -> Option<(i32, String, String)> {
    let (code, answer, errors) = ended(&[&["copy"], args].concat());
    if errors.contains("io_uring") {
        eprintln!("MISSING: io_uring; nothing is checked: {errors}");
        return None;
    }
    Some((code.unwrap(), answer, errors))
}

#[test]
fn a_file_is_copied_to_one_that_is_made_and_the_answer_counts_what_passed_ram() {
    let folder = tempfile::tempdir().unwrap();
    let (from, bytes) = source(folder.path());
    let to = folder.path().join("to.img");
    let Some((code, answer, errors)) = copy(&[&from, to.to_str().unwrap(), "--json"]) else {
        return;
    };
    assert_eq!(code, 0, "{errors}");
    assert!(fs::read(&to).unwrap() == bytes);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["machine"], "live");
    assert_eq!(answer["verified"], true);
    assert_eq!(answer["copied_bytes"], LEN_BYTES);
    assert_eq!(answer["host_ram_bytes"], 2 * LEN_BYTES);
    assert_eq!(answer["plan"]["kind"], "via-ram");
    for unknown in ["links", "queue_bytes", "simulated_seconds"] {
        assert!(answer[unknown].is_null(), "{unknown}");
    }
}

#[test]
fn what_is_there_is_overwritten_only_by_who_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (from, bytes) = source(folder.path());
    let old = vec![0x77; LEN_BYTES + 4096];
    let to = file(folder.path(), "to.img", &old);
    let Some((code, _, errors)) = copy(&[&from, &to]) else {
        return;
    };
    assert_eq!(code, 2);
    assert!(errors.contains("--yes"), "{errors}");
    assert!(fs::read(&to).unwrap() == old);
    let state = folder.path().join("state.json");
    let part = [
        "--bytes", "64KiB", "--lba", "8..", "--to-lba", "16", "--yes", "--resume",
    ];
    let run = [&[from.as_str(), &to][..], &part, &[state.to_str().unwrap()]].concat();
    let Some((code, _, errors)) = copy(&run) else {
        return;
    };
    assert_eq!(code, 0, "{errors}");
    let mut expected = old;
    // Blocks of files are what their file system takes at once.
    let found = fs::read(&to).unwrap();
    let moved = found
        .iter()
        .zip(&expected)
        .filter(|(one, other)| one != other)
        .count();
    assert!(moved > (64 << 10) / 2 && moved <= 64 << 10, "{moved}");
    let block = [512, 4096]
        .into_iter()
        .find(|block| found[16 * block..16 * block + 512] == bytes[8 * block..8 * block + 512])
        .unwrap();
    expected[16 * block..][..64 << 10].copy_from_slice(&bytes[8 * block..][..64 << 10]);
    assert!(found == expected);
    assert!(!state.exists());
}

#[test]
fn a_refusal_leaves_no_file_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (from, bytes) = source(folder.path());
    let to = folder.path().join("to.img");
    let to = to.to_str().unwrap();
    let tail = file(folder.path(), "tail.img", &bytes[..LEN_BYTES - 100]);
    let lost = format!("{to}.d/to.img");
    let inside = format!("{from}/to.img");
    for (args, expected, says) in [
        (vec![from.as_str(), to, "--require-p2p"], 3, "without host RAM"),
        (vec![tail.as_str(), to], 2, "no whole number of blocks"),
        (vec![from.as_str(), to, "--bytes", "1TiB"], 2, "only"),
        (vec![to, from.as_str(), "--yes"], 2, "does not exist"),
        (vec![from.as_str(), from.as_str(), "--yes"], 2, "onto itself"),
        (vec![from.as_str(), "nosuchdevice0n1"], 2, "has this name"),
        (vec![from.as_str(), "/", "--yes"], 2, "neither a regular file nor"),
        (vec![from.as_str(), to, "--seed", "1"], 2, "--machine"),
        (vec![from.as_str(), to, "--via-bar", "2"], 2, "--via"),
        (vec![from.as_str(), lost.as_str()], 2, "mkdir -p"),
        (vec![from.as_str(), inside.as_str()], 2, "is no folder"),
    ] {
        let Some((code, _, errors)) = copy(&args) else {
            return;
        };
        assert_eq!(code, expected, "{args:?}: {errors}");
        assert!(errors.contains(says), "{args:?}: {errors}");
        assert!(!Path::new(to).exists(), "{args:?}");
    }
    assert!(fs::read(&from).unwrap() == bytes);
}

#[test]
fn a_file_below_a_copy_is_no_function_in_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (from, _) = source(folder.path());
    let to = folder.path().join("to.img");
    let Some((code, answer, errors)) = copy(&[&from, to.to_str().unwrap(), "--via-ram", "--json"]) else {
        return;
    };
    assert_eq!(code, 0, "{errors}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let crossings = answer["plan"]["crossings"].as_array().unwrap();
    assert_eq!(crossings.len(), 2);
    assert!(
        crossings.iter().all(|crossing| crossing["initiator"].is_null()),
        "{answer}"
    );
    assert_eq!(answer["plan"]["rejected"], serde_json::json!([]));
}
