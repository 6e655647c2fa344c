//! What help texts show can be run.

mod shipped;

use serde_json::{Value, json};
use shipped::{Changed, function, stdout};
use std::process::{Command, Stdio};

#[test]
fn every_example_in_a_help_text_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let named = Changed::new(|snapshot| {
        for (bdf, name) in [
            ("0000:05:00.0", "nvme0"),
            ("0000:85:00.0", "nvme1"),
            ("0000:03:00.0", "card0"),
            ("0000:83:00.0", "card1"),
        ] {
            function(snapshot, bdf)["os"]["names"] = json!([name]);
        }
    });
    let machine = std::fs::read(named.path()).expect("the machine");
    std::fs::write(folder.path().join("pairs.txt"), "nvme0 card0 # near\n").expect("it is written");
    let mut examples = 0;
    for command in [
        &[][..],
        &["topo"],
        &["matrix"],
        &["route"],
        &["check"],
        &["snapshot"],
    ] {
        let help = stdout(&[command, &["--help"]].concat());
        let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
        for line in lines.take_while(|line| line.starts_with("  ")) {
            let line = line.trim();
            let example = line.split("   ").next().expect("a command");
            let example = example.strip_prefix("sudo ").unwrap_or(example);
            // Each example finds the machine that it names, at the addresses that it names.
            for file in ["dump.txt", "machine.json"] {
                std::fs::write(folder.path().join(file), &machine).expect("it is written");
            }
            let mut script = example
                .replace("3b:00.0", "03:00.0")
                .replace("41:00.0", "03:00.0")
                .replace("42:00.0", "04:00.0")
                .replacen("peerdma", "\"$PEERDMA\"", 1);
            if script.contains("-o machine.json") {
                std::fs::remove_file(folder.path().join("machine.json")).expect("it was written");
            }
            let (first, filter) = match script.split_once(" | ") {
                Some((first, filter)) => (first.to_owned(), Some(filter.to_owned())),
                None => (script.clone(), None),
            };
            script = if first.contains("--from") {
                first
            } else {
                format!("{first} --from dump.txt")
            };
            let output = Command::new("sh")
                .args(["-c", &script])
                .env("PEERDMA", env!("CARGO_BIN_EXE_peerdma"))
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .output()
                .expect("a shell");
            let code = output.status.code();
            let checks = example.contains(" check ");
            assert!(
                code == Some(0) || checks && matches!(code, Some(1 | 5)),
                "{example}: {code:?} {}",
                String::from_utf8_lossy(&output.stderr)
            );
            match filter.as_deref() {
                None => {}
                Some("jq '.functions[] | select(.kind == \"gpu\")'") => {
                    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
                    let functions = answer["functions"].as_array().expect("functions");
                    assert!(functions.iter().any(|function| function["kind"] == "gpu"));
                }
                Some("awk '$4 == \"BUS_ADDR\"'") => {
                    let text = String::from_utf8(output.stdout).expect("UTF-8");
                    assert!(
                        text.lines()
                            .any(|line| line.split('\t').nth(3) == Some("BUS_ADDR"))
                    );
                }
                Some(other) => panic!("nobody checks {other}"),
            }
            examples += 1;
        }
    }
    assert!(examples >= 15, "{examples}");
}
