//! Promises that hold for any machine, the one at hand among them.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const SERVER: &str = "machines/captured/two-socket-gpu.lspci.txt";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn peerdma(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_peerdma"))
        .args(arguments)
        .current_dir(repository())
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .expect("the binary under test starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is UTF-8")
}

#[test]
fn the_machine_at_hand_is_answered_or_refused_in_words() {
    for command in ["topo", "matrix", "snapshot"] {
        let output = peerdma(&[command]);
        match output.status.code() {
            Some(0) => assert!(!output.stdout.is_empty(), "{command}"),
            Some(2) => assert!(text(&output.stderr).contains("fix:"), "{command}"),
            other => panic!("{command}: {other:?}"),
        }
    }
}

#[test]
fn a_snapshot_answers_as_its_source_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("machine.json");
    let file = file.to_str().expect("a plain path");
    let written = peerdma(&["snapshot", "--from", SERVER, "--blank-serials", "-o", file]);
    assert!(written.status.success());
    let tsv = |from: &str| peerdma(&["matrix", "--format", "tsv", "-q", "--from", from]).stdout;
    assert!(!tsv(SERVER).is_empty());
    assert_eq!(text(&tsv(SERVER)), text(&tsv(file)));
    let again = peerdma(&["snapshot", "--from", SERVER, "-o", file]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("--force"));
    let forced = peerdma(&["snapshot", "--from", SERVER, "--force", "-o", file]);
    assert!(forced.status.success());
}

#[test]
fn a_capture_cannot_steer_the_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("machine.json");
    let path = file.to_str().expect("a plain path");
    let written = peerdma(&["snapshot", "--from", SERVER, "-o", path]);
    assert!(written.status.success());
    let machine = std::fs::read_to_string(&file).expect("the snapshot");
    assert!(machine.contains("\"mlx5_core\""));
    let hostile = machine.replace("\"mlx5_core\"", "\"\\u001b[2J\\u0007\"");
    std::fs::write(&file, hostile).expect("it is written");
    for command in [
        &["topo"][..],
        &["matrix", "--driver", "\u{1b}[2J\u{7}"],
        &["matrix"],
    ] {
        let output = peerdma(&[command, &["--from", path]].concat());
        for stream in [&output.stdout, &output.stderr] {
            assert!(!stream.contains(&0x1b), "{command:?}");
        }
    }
}

#[test]
fn no_name_reorders_what_the_terminal_shows() {
    const HOSTILE: &str = "gpu\u{202e}0emvn\u{2066}\u{9b}\u{200f}";
    let hidden =
        |c: &char| (c.is_control() && *c != '\n') || ['\u{202e}', '\u{2066}', '\u{200f}'].contains(c);
    let folder = tempfile::tempdir().expect("a folder");
    let in_folder = |name: &str| {
        folder
            .path()
            .join(name)
            .to_str()
            .expect("a plain path")
            .to_owned()
    };
    let path = in_folder("machine.json");
    let written = peerdma(&["snapshot", "--from", SERVER, "-o", &path]);
    assert!(written.status.success());
    let machine = std::fs::read_to_string(&path).expect("the snapshot");
    std::fs::write(&path, machine.replace("mlx5_core", HOSTILE)).expect("it is written");
    // Paths are not always chosen by who reads the terminal.
    let machine_file = in_folder(&format!("{HOSTILE}.toml"));
    std::fs::write(&machine_file, format!("[[bridge]]\n\"{}\" = 1\n", "\u{202e}x")).expect("it is written");
    let script = in_folder(&format!("{HOSTILE}-script.toml"));
    std::fs::write(&script, "[[transfer]]\nfrom = \"\u{202e}\"\n").expect("it is written");
    for arguments in [
        &["topo", "--from", &path][..],
        &["topo", "--json", "--from", &path],
        &["matrix", "--from", &path],
        &["matrix", "--json", "--from", &path],
        &["matrix", "--format", "csv", "--from", &path],
        &["route", "03:00.0", "06:00.0", "--from", &path],
        &["route", "03:00.0", "06:00.0", "--json", "--from", &path],
        &["snapshot", "--from", &path],
        &["simulate", "--from", &path],
        &["simulate", &machine_file],
        &["simulate", &machine_file, "--json"],
        &["simulate", "redirect", "--script", &script],
        &["simulate", "redirect", "--script", &script, "--json"],
    ] {
        let output = peerdma(arguments);
        assert!(output.stdout.len() + output.stderr.len() > 0, "{arguments:?}");
        for stream in [&output.stdout, &output.stderr] {
            let found = text(stream).chars().find(hidden);
            assert_eq!(found, None, "{arguments:?}: {}", text(stream));
        }
    }
}

#[test]
fn standard_input_is_a_source_and_a_closed_pipe_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_peerdma"))
        .args(["matrix", "--format", "tsv", "-q", "--from", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary under test starts");
    drop(child.stdout.take());
    let machine = std::fs::read(repository().join(SERVER)).expect("the shipped machine");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(&machine).expect("it is read");
    drop(input);
    let status = child.wait().expect("it ends");
    let mut errors = String::new();
    let mut stderr = child.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut errors).expect("UTF-8");
    assert_eq!((status.code(), &errors[..]), (Some(0), ""));
}

#[test]
fn no_line_of_a_table_is_wider_than_the_terminal() {
    for columns in ["80", "120"] {
        for arguments in [
            &["matrix", "--all", "-q", "--from", SERVER][..],
            &["topo", "-q", "--from", SERVER],
            &["matrix", "--bandwidth", "-q", "--from", SERVER],
            &[
                "route",
                "05:00.0",
                "06:00.0",
                "--bandwidth",
                "-q",
                "--from",
                SERVER,
            ],
            &["route", "85:00.0", "83:00.0", "-q", "--from", SERVER],
        ] {
            let output = Command::new(env!("CARGO_BIN_EXE_peerdma"))
                .args(arguments)
                .current_dir(repository())
                .env("COLUMNS", columns)
                .output()
                .expect("the binary under test starts");
            let most: usize = columns.parse().expect("a number");
            for line in text(&output.stdout).lines() {
                let is_command = line.contains("setpci") || line.contains("pci=");
                let columns = line.chars().count();
                assert!(
                    is_command || columns <= most,
                    "{arguments:?}: {columns} > {most}: {line}"
                );
            }
        }
    }
}

#[test]
fn every_json_answer_names_its_schema() {
    for (arguments, schema) in [
        (&["topo"][..], "peerdma.topo/1"),
        (&["matrix"], "peerdma.matrix/1"),
        (&["route", "03:00.0", "06:00.0"], "peerdma.route/1"),
        (&["check", "03:00.0", "04:00.0"], "peerdma.check/1"),
    ] {
        let output = peerdma(&[arguments, &["--json", "--from", SERVER]].concat());
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(answer["schema"], schema);
        assert_eq!(text(&output.stderr), "", "{schema}: notes are part of the answer");
    }
    let output = peerdma(&["matrix", "--json", "--from", "no-such-file"]);
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).expect("JSON");
    assert_eq!(error["schema"], "peerdma.error/1");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_two_card_machine_is_refused_with_redirect_and_direct_without() {
    for (state, map_type, distance) in [("on", "NOT_SUPPORTED", "-1"), ("off", "BUS_ADDR", "8")] {
        let from = format!("crates/peerdma-linux/tests/data/lspci/two-cards-redirect-{state}.txt");
        let output = peerdma(&[
            "matrix",
            "--format",
            "tsv",
            "-q",
            "--from",
            &from,
            "--provider",
            "05:00.0",
            "--client",
            "09:00.0",
        ]);
        let expected = format!("0000:05:00.0\t0000:09:00.0\t{distance}\t{map_type}\t8\n");
        assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
    }
}

#[test]
fn pages_and_completions_are_generated() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = peerdma(&["man", folder.path().to_str().expect("a plain path")]);
    assert!(output.status.success());
    assert!(folder.path().join("peerdma-matrix.1").exists());
    for shell in ["bash", "zsh", "fish"] {
        assert!(text(&peerdma(&["completions", shell]).stdout).contains("peerdma"));
    }
    assert!(text(&peerdma(&["man"]).stdout).contains(".TH"));
}

#[test]
fn an_exit_code_that_answers_is_not_lost_where_nobody_reads() {
    for format in [&[][..], &["--json"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_peerdma"))
            .args(["check", "-q", "--from", SERVER, "05:00.0", "83:00.0"])
            .args(format)
            .current_dir(repository())
            .stdout(writer)
            .output()
            .expect("the binary under test starts");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), ""));
    }
}
