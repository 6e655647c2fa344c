//! What `simulate --trace` writes.

use std::fs;
use std::process::Command;

fn trace(options: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("packets.jsonl");
    let status = Command::new(env!("CARGO_BIN_EXE_peerdma"))
        .args([
            "simulate", "redirect", "--script", "redirect", "--json", "--trace",
        ])
        .arg(&file)
        .args(options)
        .output()
        .unwrap()
        .status;
    assert!(status.success());
    fs::read_to_string(file).unwrap()
}

#[test]
fn every_packet_is_one_object_a_line_and_the_same_seed_gives_the_same_trace() {
    let text = trace(&["--seed", "7"]);
    assert_eq!(text, trace(&["--seed", "7", "--gear", "tlp"]));
    let mut lost = 0;
    for line in text.lines() {
        let packet: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(packet["sent_ps"].is_u64() && packet["way"].is_array() && packet["decisions"].is_array());
        if packet["end"] == "lost" {
            assert_eq!(packet["why"], "NotForwarded");
            lost += 1;
        }
    }
    assert_eq!(lost, 4096, "1 MiB of reads and 1 MiB of writes, 512 bytes each");
}

#[test]
fn a_trace_overwrites_nothing_unless_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    fs::write(&file, "kept").unwrap();
    let simulate = |options: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_peerdma"))
            .args(["simulate", "redirect", "--script", "redirect", "--trace"])
            .arg(&file)
            .args(options)
            .output()
            .unwrap()
    };
    let refused = simulate(&[]);
    assert_eq!(refused.status.code(), Some(2));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("--force"), "{text}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    assert!(simulate(&["--force"]).status.success());
    assert!(fs::read_to_string(&file).unwrap().starts_with('{'));
}
