//! What `peerdma check` answers where the route is unknown, and how many pairs it takes on.

mod support;

use peerdma::fact::{Fact, Unread};
use peerdma::snapshot::Host;
use std::process::{Command, Stdio};
use support::{File, ended, function, switch, text};

#[test]
fn a_route_that_is_unknown_but_surely_not_direct_fails_where_direct_is_required() {
    let functions = vec![
        function("00:00.0", None, 0x06_00_00, 0),
        function("00:02.0", None, 0x03_00_00, 0),
        function("00:03.0", None, 0x01_08_02, 0),
    ];
    let mut functions = functions;
    for function in &mut functions {
        function.config.id = Fact::NOT_IN_SOURCE;
    }
    let machine = File::machine_of(Host::default(), functions);
    let machine = machine.name();
    let pair = [
        "check",
        "00:02.0",
        "00:03.0",
        "--one-way",
        "-q",
        "--from",
        machine,
    ];
    let (code, out, _) = ended(&pair);
    assert_eq!(code, Some(5), "{out}");
    assert!(
        out.starts_with("UNKNOWN\t") && out.contains("\tUNKNOWN\t"),
        "{out}"
    );
    let (code, out, _) = ended(&[&pair[..], &["--require", "direct"]].concat());
    assert_eq!(code, Some(1), "{out}");
    assert!(out.starts_with("FAIL\t") && out.contains("\tUNKNOWN\t"), "{out}");
    assert!(
        out.trim_end().ends_with("--require direct wants BUS_ADDR"),
        "{out}"
    );
}

#[test]
fn a_route_that_may_be_direct_is_unknown_where_direct_is_required() {
    let mut functions = switch(0, 0);
    functions[4].config.acs = Fact::Unknown(Unread::AccessDenied);
    let machine = File::machine(functions);
    let machine = machine.name();
    let pair = ["check", "nvme0", "04:00.0", "--one-way", "-q", "--from", machine];
    let (code, out, _) = ended(&[&pair[..], &["--require", "direct"]].concat());
    assert_eq!(code, Some(5), "{out}");
    assert!(out.starts_with("UNKNOWN\t"), "{out}");
}

#[test]
fn more_pairs_than_one_run_takes_on_are_refused() {
    let functions: Vec<_> = (0..1001u32)
        .map(|index| {
            let at = format!("0000:{:02x}:{:02x}.{}", index / 256, index / 8 % 32, index % 8);
            function(&at, None, 0x03_00_00, 0)
        })
        .collect();
    let machine = File::machine(functions);
    let machine = machine.name();
    let (code, out, errors) = ended(&["check", "--between", "all", "all", "-q", "--from", machine]);
    assert_eq!((code, &out[..]), (Some(2), ""));
    assert!(
        errors.contains("1001 times 1001 functions are too many pairs"),
        "{errors}"
    );
    assert!(errors.contains("1000000"), "{errors}");
    let small = File::machine(switch(0, 0));
    let small = small.name();
    let pairs = File::new("pairs.txt", "00:00.0 00:01.0\n".repeat(1_000_001));
    let pairs = pairs.name();
    let (code, out, errors) = ended(&["check", "--pairs", pairs, "-q", "--from", small]);
    assert_eq!((code, &out[..]), (Some(2), ""));
    assert!(errors.contains("line 1000001: too many pairs"), "{errors}");
}

#[test]
fn a_file_of_pairs_is_read_with_comments_and_in_its_order() {
    let machine = File::machine(switch(0, 0));
    let machine = machine.name();
    let pairs = File::new("pairs.txt", "# who reaches whom\n\n04:00.0 nvme0 # the GPU\n");
    let pairs = pairs.name();
    let (code, out, _) = ended(&["check", "--pairs", pairs, "-q", "--from", machine]);
    assert_eq!(code, Some(0), "{out}");
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines[0][1..3], ["0000:04:00.0", "nvme0 0000:03:00.0"]);
    assert_eq!(lines[1][1..3], ["nvme0 0000:03:00.0", "0000:04:00.0"]);
}

#[test]
fn a_file_of_pairs_without_end_is_refused_in_bounded_memory() {
    let machine = File::machine(switch(0, 0));
    let machine = machine.name();
    let refused = |pairs: &str| {
        // The limit keeps the other programs of the machine alive should this ever fail.
        let output = Command::new("sh")
            .args([
                "-c",
                "ulimit -v 1000000; exec \"$0\" check -q --pairs \"$1\" --from \"$2\"",
            ])
            .args([env!("CARGO_BIN_EXE_peerdma"), pairs, machine])
            .stdin(Stdio::null())
            .output()
            .expect("a shell starts");
        let errors = text(&output.stderr).to_owned();
        assert_eq!(output.status.code(), Some(2), "{pairs}: {errors}");
        assert!(errors.contains("holds more than 64 MiB"), "{errors}");
        for label in ["error:", "why:", "fix:"] {
            assert!(errors.contains(label), "{errors}");
        }
    };
    refused("/dev/zero");
    let file = File::new("pairs.txt", "");
    let large = std::fs::File::create(file.name()).expect("it can be written");
    large.set_len((64 << 20) + 1).expect("a file with a hole");
    refused(file.name());
}
