//! `probe` and `bench` as scripts see them: exit codes, data, records, and what is refused.

mod support;

use serde_json::Value;
use std::fs;
use support::ended;

fn probe(arguments: &[&str]) -> (Option<i32>, Value) {
    let (code, out, error) = ended(&[&["probe", "--json"], arguments].concat());
    let text = if out.is_empty() { &error } else { &out };
    (code, serde_json::from_str(text).expect("JSON"))
}

fn judgements(answer: &Value) -> Vec<&str> {
    let directions = answer["directions"].as_array().expect("directions");
    (directions.iter())
        .map(|one| one["judgement"].as_str().expect("a judgement"))
        .collect()
}

#[test]
fn a_route_that_works_as_promised_is_zero_and_one_that_is_refused_is_three() {
    let (code, answer) = probe(&["--machine", "two-ssds", "nvme0", "nvme1"]);
    assert_eq!((code, judgements(&answer)), (Some(0), vec!["agrees", "agrees"]));
    assert_eq!(answer["not_restored"], Value::Null);
    let (code, answer) = probe(&["--machine", "no-forward", "nvme0", "nvme1"]);
    assert_eq!(code, Some(3));
    assert_eq!(judgements(&answer), ["refused-as-promised"; 2]);
    assert!(answer["directions"][0]["outcome"].is_null());
    let (code, answer) = probe(&["--machine", "store-only", "nvme0", "nvme1", "--direction", "read"]);
    assert_eq!(
        (code, judgements(&answer)),
        (Some(3), vec!["refused-as-promised"])
    );
}

#[test]
fn a_route_that_corrupts_is_four_and_its_first_wrong_byte_is_told() {
    let (code, answer) = probe(&["--machine", "redirect", "nvme0", "nvme1", "--force-route"]);
    assert_eq!(code, Some(4));
    assert_eq!(judgements(&answer), ["corrupts", "refused-as-promised"]);
    let corruption = &answer["directions"][0]["corruption"];
    assert_eq!(
        corruption["first_offset_bytes"],
        corruption["transfer_offset_bytes"]
    );
    assert_eq!(corruption["first_within_bytes"], 0);
    assert_eq!(corruption["pattern"], "addressed");
    assert_eq!(corruption["wrong_bytes"], corruption["transfer_bytes"]);
}

#[test]
fn a_record_is_evidence_for_its_pair_and_never_changes_the_verdict() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("probes.jsonl");
    let records = path.to_str().expect("UTF-8");
    for _ in 0..2 {
        let (code, _) = probe(&[
            "--machine",
            "two-ssds",
            "nvme0",
            "nvme1",
            "--no-figures",
            "--record",
            records,
        ]);
        assert_eq!(code, Some(0));
    }
    assert_eq!(
        fs::read_to_string(&path).expect("it was written").lines().count(),
        2
    );
    let route = |extra: &[&str]| {
        let (code, out, _) = ended(
            &[
                &["route", "--json", "--machine", "two-ssds", "nvme1", "nvme0"],
                extra,
            ]
            .concat(),
        );
        assert_eq!(code, Some(0));
        serde_json::from_str::<Value>(&out).expect("JSON")
    };
    let (without, with) = (route(&[]), route(&["--records", records]));
    assert!(without.get("records").is_none());
    let shown = with["records"].as_array().expect("records");
    assert_eq!(shown.len(), 2);
    assert!(shown.iter().all(|record| record["closeness"] == "here"));
    assert_eq!(without["directions"], with["directions"]);
    // What a simulated machine does is no evidence for another sort of machine.
    let snapshot = folder.path().join("m.json");
    let snapshot = snapshot.to_str().expect("UTF-8");
    assert_eq!(
        ended(&["snapshot", "--machine", "two-ssds", "-o", snapshot]).0,
        Some(0)
    );
    let (code, out, _) = ended(&[
        "route",
        "--from",
        snapshot,
        "nvme0",
        "nvme1",
        "--records",
        records,
    ]);
    assert_eq!(code, Some(0));
    assert!(out.contains("hold nothing of this pair"), "{out}");
}

#[test]
fn what_a_device_does_in_its_own_memory_is_no_evidence_for_a_way_between_two() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("probes.jsonl");
    let records = path.to_str().expect("UTF-8");
    let machine = ["--machine", "two-ssds"];
    let shown = |client: &str, provider: &str| {
        let route = ["route", "--json", client, provider, "--records", records];
        let (code, out, _) = ended(&[&route[..], &machine].concat());
        assert_eq!(code, Some(0));
        let answer: Value = serde_json::from_str(&out).expect("JSON");
        answer["records"].as_array().expect("records").len()
    };
    for provider in ["nvme0", "nvme1"] {
        let pair = ["nvme0", provider, "--no-figures", "--record", records];
        let little = ["--bytes", "4KiB", "--direction", "write"];
        let (code, _) = probe(&[&machine[..], &pair, &little].concat());
        assert_eq!(code, Some(0));
    }
    assert_eq!(shown("nvme0", "nvme0"), 1);
    assert_eq!(shown("nvme0", "nvme1"), 1);
    assert_eq!(shown("nvme1", "nvme1"), 0);
    let own = ["route", "nvme0", "nvme0", "--records", records];
    let (_, out, _) = ended(&[&own[..], &machine].concat());
    assert!(out.contains("What probes have seen"), "{out}");
}

#[test]
fn a_verdict_is_named_once() {
    let (_, out, _) = ended(&["probe", "--machine", "redirect", "nvme0", "nvme1", "--no-figures"]);
    for word in ["unknown", "refused", "reached"] {
        let twice = format!("{word}: {word}");
        assert!(!out.contains(&twice), "{out}");
    }
}

#[test]
fn records_that_are_none_are_named_by_their_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("probes.jsonl");
    for (bytes, why) in [
        (&b"{}\n"[..], "line 1: missing field"),
        (&b"\n\nnull\n"[..], "line 3: "),
        (&[0xff, 0xfe][..], "UTF-8"),
    ] {
        fs::write(&path, bytes).expect("it is written");
        let records = path.to_str().expect("UTF-8");
        let (code, out, error) = ended(&[
            "route",
            "--machine",
            "two-ssds",
            "nvme0",
            "nvme1",
            "--records",
            records,
        ]);
        assert_eq!((code, out.as_str()), (Some(2), ""));
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_touched() {
    for (arguments, why) in [
        (&["nvme0", "nvme1", "--scratch", "x"][..], "no range of blocks"),
        (
            &["nvme0", "nvme1", "--scratch", "9999999.."],
            "has no such scratch blocks",
        ),
        (&["nvme0", "nvme1", "--bytes", "0"], "no size of a transfer"),
        (&["nvme0", "nvme9"], "nvme9"),
        (&["nvme0", "0000:00:00.0"], "has no memory"),
        (&["nvme1n2", "nvme0"], "there is no namespace"),
        (
            &["nvme0", "nvme1", "--record", "/none/at/all.jsonl"],
            "cannot be recorded",
        ),
    ] {
        let (code, answer) = probe(&[&["--machine", "two-ssds"], arguments].concat());
        assert_eq!(code, Some(2), "{arguments:?}: {answer}");
        let error = answer["error"].as_str().expect("what is wrong");
        assert!(error.contains(why), "{arguments:?}: {error}");
    }
}

/// The address of a function of the machine that runs the tests; nothing where it shows none.
fn some_function() -> Option<String> {
    let mut found = fs::read_dir("/sys/bus/pci/devices").ok()?;
    let name = found.next()?.ok()?.file_name();
    Some(name.to_str()?.to_owned())
}

#[test]
fn nothing_of_this_machine_is_written_unasked() {
    let Some(function) = some_function() else {
        eprintln!("MISSING: PCI; nothing is checked");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.img");
    fs::write(&path, [0; 8192]).expect("it is written");
    let path = path.to_str().expect("UTF-8");
    for arguments in [&["probe", path, &function][..], &["bench", path, "--rw", "write"]] {
        let (code, out, error) = ended(arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""));
        assert!(error.contains("standard input is no terminal"), "{error}");
        assert!(error.contains("--yes"), "{error}");
    }
    assert!(fs::read(path).expect("it is there") == [0; 8192]);
}

#[test]
fn a_name_that_means_nothing_is_said_before_anybody_is_to_be_asked() {
    if some_function().is_none() {
        eprintln!("MISSING: PCI; nothing is checked");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.img");
    fs::write(&path, [0; 8192]).expect("it is written");
    let path = path.to_str().expect("UTF-8");
    for (arguments, name) in [
        (&["probe", "nosuch", "2.0"][..], "nosuch"),
        (&["probe", "./nosuch.img", "2.0"], "nosuch.img"),
        (&["probe", path, "nosuch"], "nosuch"),
        (&["bench", "nosuch", "--rw", "write"], "nosuch"),
        (&["bench", path, "--rw", "write", "--via", "nosuch"], "nosuch"),
    ] {
        let (code, out, error) = ended(arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""));
        let first = error.lines().next().unwrap_or_default();
        assert!(
            first.contains(name) && !error.contains("--yes"),
            "{arguments:?}: {error}"
        );
        let (code, out, error) = ended(&[arguments, &["--json"][..]].concat());
        assert_eq!((code, out.as_str()), (Some(2), ""));
        let error: Value = serde_json::from_str(&error).expect("JSON");
        assert!(
            error["error"].as_str().is_some_and(|what| what.contains(name)),
            "{error}"
        );
        assert!(!error.to_string().contains("--yes"), "{error}");
    }
}

#[test]
fn a_bar_that_would_not_be_used_is_refused_and_the_one_that_is_may_be_named() {
    let machine = ["--machine", "two-ssds"];
    let little = [
        "nvme0",
        "nvme1",
        "--bytes",
        "4KiB",
        "--direction",
        "write",
        "--no-figures",
    ];
    let little = [&machine[..], &little].concat();
    let (_, answer) = probe(&little);
    let used = answer["bar"].as_u64().expect("a BAR");
    for bar in 0..=5 {
        let word = bar.to_string();
        let bench = [
            "bench",
            "--json",
            "nvme0n1",
            "--operations",
            "9",
            "--via",
            "nvme1",
            "--via-bar",
            &word,
        ];
        for (arguments, option) in [
            (
                [&["probe", "--json"], &little[..], &["--bar", &word]].concat(),
                "--bar",
            ),
            ([&bench[..], &machine].concat(), "--via-bar"),
        ] {
            let (code, _, error) = ended(&arguments);
            if bar == used {
                assert_eq!(code, Some(0), "{error}");
                continue;
            }
            assert_eq!(code, Some(2), "{arguments:?}");
            let error: Value = serde_json::from_str(&error).expect("JSON");
            let says =
                |field: &str, what: &str| error[field].as_str().is_some_and(|said| said.contains(what));
            assert!(says("error", &format!("{option} {bar}")), "{error}");
            assert!(says("why", &format!("BAR {used}")), "{error}");
            assert!(says("fix", &format!("{option} {used}")), "{error}");
        }
    }
}

#[test]
fn a_volume_is_measured_in_ram_and_in_the_memory_of_a_device() {
    for (extra, ram_bytes) in [
        (&[][..], 4096 * 300),
        (&["--via", "nvme1"], 0),
        (&["--rw", "write"], 4096 * 300),
    ] {
        let bench = [
            "bench",
            "--json",
            "--machine",
            "two-ssds",
            "nvme0n1",
            "--operations",
            "300",
        ];
        let (code, out, error) = ended(&[&bench[..], extra].concat());
        assert_eq!(code, Some(0), "{error}");
        let answer: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(answer["operations"], 300);
        assert_eq!(answer["ram_payload_bytes"], ram_bytes, "{extra:?}");
        assert!(answer["min_ns"].as_u64() <= answer["median_ns"].as_u64());
        assert!(answer["p999_ns"].as_u64() <= answer["max_ns"].as_u64());
    }
    for (extra, why) in [
        (&["--block", "100"][..], "no operation on"),
        (&["--seconds", "0"], "no time"),
        (&["--seconds", "NaN"], "no time"),
        (&["--lba", "5..4"], "no range"),
        (&["--bytes", "512"], "cannot be measured so"),
        (&["--block", "1GiB"], "cannot be measured so"),
    ] {
        let (code, _, error) = ended(&[&["bench", "--machine", "two-ssds", "nvme0n1"], extra].concat());
        assert_eq!(code, Some(2), "{extra:?}: {error}");
        assert!(error.contains(why), "{extra:?}: {error}");
    }
}

#[test]
fn a_record_steers_no_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("probes.jsonl");
    let records = path.to_str().expect("UTF-8");
    let pair = ["--machine", "two-ssds", "nvme0", "nvme1"];
    let (code, _) = probe(&[&pair[..], &["--no-figures", "--record", records]].concat());
    assert_eq!(code, Some(0));
    let sound = fs::read_to_string(&path).expect("it was written");
    let hostile = sound.replace(
        "every byte arrived",
        r"\u001b[32mproven\u001b[8m\u001b]0;x\u0007\u202e",
    );
    assert_ne!(sound, hostile);
    fs::write(&path, hostile).expect("it may be written");
    let (code, out, _) = ended(&[&["route"], &pair[..], &["--records", records]].concat());
    assert_eq!(code, Some(0));
    assert!(out.contains("proven"));
    assert!(!out.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{out:?}");
}

#[test]
fn scratch_blocks_of_another_device_are_refused() {
    let (code, answer) = probe(&[
        "--machine",
        "two-ssds",
        "nvme0",
        "nvme1",
        "--scratch",
        "nvme1n1:0..100",
    ]);
    assert_eq!(code, Some(2));
    assert_eq!(answer["error"], "nvme1n1 is not probed");
    let (code, _) = probe(&[
        "--machine",
        "two-ssds",
        "nvme0",
        "nvme1",
        "--scratch",
        "nvme0n1:0..100",
    ]);
    assert_eq!(code, Some(0));
}

#[test]
fn a_pipe_holds_no_records_and_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let pipe = pipe.to_str().expect("UTF-8");
    let arguments = [
        "route",
        "nvme0",
        "nvme1",
        "--machine",
        "two-ssds",
        "--records",
        pipe,
    ];
    let (code, _, errors) = ended(&arguments);
    assert_eq!(code, Some(2));
    assert!(errors.contains("no regular file"), "{errors}");
}
