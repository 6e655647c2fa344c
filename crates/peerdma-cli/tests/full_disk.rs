//! An answer that cannot be written is an error, whichever command gives it.

mod support;

use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::process::{Output, Stdio};
use support::{File, command, switch, text};

/// A run whose standard output has no room.
fn on_full(arguments: &[&str]) -> Output {
    let full = OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("the device that is always full");
    let output = command(arguments).stdout(full).output();
    output.expect("the binary under test starts")
}

#[test]
fn an_answer_that_cannot_be_written_ends_with_exit_code_2() {
    let machine = File::machine(switch(0, 0));
    let machine = machine.name();
    for (arguments, takes_machine) in [
        (&["topo"][..], true),
        (&["topo", "--json"], true),
        (&["matrix"], true),
        (&["matrix", "--json"], true),
        (&["matrix", "--format", "csv"], true),
        (&["matrix", "--format", "tsv"], true),
        (&["route", "nvme0", "04:00.0"], true),
        (&["route", "nvme0", "04:00.0", "--json"], true),
        (&["check", "nvme0", "04:00.0"], true),
        (&["check", "nvme0", "04:00.0", "--json"], true),
        (&["snapshot"], true),
        (&["completions", "bash"], false),
        (&["completions", "elvish"], false),
        (&["completions", "fish"], false),
        (&["completions", "powershell"], false),
        (&["completions", "zsh"], false),
        (&["man"], false),
    ] {
        let from = ["-q", "--from", machine];
        let arguments = match takes_machine {
            true => [arguments, &from[..]].concat(),
            false => arguments.to_vec(),
        };
        let output = on_full(&arguments);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(
            errors.contains("the answer could not be written"),
            "{arguments:?}: {errors}"
        );
    }
}

#[test]
fn a_snapshot_that_does_not_fit_is_an_error_too() {
    let machine = File::machine(switch(0, 0));
    let machine = machine.name();
    let output = command(&["snapshot", "-q", "--from", machine, "--force", "-o", "/dev/full"])
        .output()
        .expect("the binary under test starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("/dev/full was not written"));
}

/// Each with words of what was done.
const ACTING: &[(&[&str], &str)] = &[
    (
        &[
            "copy",
            "--machine",
            "two-ssds",
            "nvme0n1",
            "nvme1n1",
            "--bytes",
            "1MiB",
        ],
        "Verified: 1M of nvme1n1",
    ),
    (
        &[
            "copy",
            "--machine",
            "redirect",
            "nvme0n1",
            "nvme1n1",
            "--force-route",
            "--bytes",
            "1MiB",
        ],
        "NOT PROVEN",
    ),
    (
        &[
            "probe",
            "--machine",
            "two-ssds",
            "nvme0",
            "nvme1",
            "--no-figures",
            "--bytes",
            "4KiB",
        ],
        "agrees with the verdict",
    ),
    (
        &[
            "bench",
            "--machine",
            "two-ssds",
            "nvme0n1",
            "--rw",
            "write",
            "--operations",
            "9",
            "--lba",
            "7..99",
        ],
        "blocks 7..99 of nvme0n1 were overwritten, by 9 writes",
    ),
];

#[test]
fn what_was_done_and_cannot_be_told_does_not_end_like_what_was_not_done() {
    for (arguments, became) in ACTING {
        let output = on_full(arguments);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {errors}");
        assert!(errors.contains("the answer could not be written"), "{errors}");
        assert!(errors.contains(became), "{arguments:?}: {errors}");
        let output = on_full(&[arguments, &["--json"][..]].concat());
        assert_eq!(output.status.code(), Some(4), "{arguments:?}");
        let error: Value = serde_json::from_slice(&output.stderr).expect("JSON");
        assert!(
            error["error"]
                .as_str()
                .is_some_and(|error| error.contains(became)),
            "{error}"
        );
        assert!(
            error["why"].as_str().is_some_and(|why| why.contains("No space")),
            "{error}"
        );
        assert!(
            error["fix"].as_str().is_some_and(|fix| !fix.is_empty()),
            "{error}"
        );
    }
}

#[test]
fn what_only_looked_ends_with_exit_code_2_where_its_answer_cannot_be_written() {
    for arguments in [
        &["probe", "--machine", "no-forward", "nvme0", "nvme1"][..],
        &["bench", "--machine", "two-ssds", "nvme0n1", "--operations", "9"],
        &["simulate", "two-ssds"],
    ] {
        assert_eq!(on_full(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_copy_of_files_that_cannot_be_told_is_made_and_said_on_standard_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let [from, to] = ["a", "b"].map(|name| folder.path().join(name).to_str().expect("UTF-8").to_owned());
    let bytes: Vec<u8> = (0..2_u32 << 20).map(|at| (at / 512 + at % 251) as u8).collect();
    fs::write(&from, &bytes).expect("it is written");
    for extra in [&[][..], &["--json"]] {
        fs::write(&to, vec![0; bytes.len()]).expect("it is written");
        let copy = ["copy", &from, &to, "--yes", "--via-ram"];
        let output = on_full(&[&copy, extra].concat());
        let errors = text(&output.stderr);
        if errors.contains("io_uring") {
            eprintln!("MISSING: io_uring; nothing is checked: {errors}");
            return;
        }
        assert!(fs::read(&to).expect("it is there") == bytes);
        assert_eq!(output.status.code(), Some(4), "{errors}");
        assert!(errors.contains("Verified: 2M"), "{errors}");
    }
}

#[test]
fn a_pipe_that_nobody_reads_is_no_error() {
    let proven = ACTING.iter().filter(|(_, became)| *became != "NOT PROVEN");
    for (arguments, _) in proven {
        for extra in [&[][..], &["--json"]] {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            drop(reader);
            let run = command(&[arguments, extra].concat())
                .stdout(writer)
                .stderr(Stdio::piped())
                .output()
                .expect("the binary under test starts");
            assert_eq!(
                (run.status.code(), text(&run.stderr)),
                (Some(0), ""),
                "{arguments:?}"
            );
        }
    }
}
