//! An answer that cannot be written is an error, whichever command gives it.

mod support;

use std::fs::OpenOptions;
use support::{File, command, switch, text};

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
        let full = OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("the device that is always full");
        let output = command(&arguments)
            .stdout(full)
            .output()
            .expect("the binary under test starts");
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
