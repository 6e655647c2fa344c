//! What `copy` refuses: exit code, *what / why / fix*, an object for scripts, and nothing written.

mod support;

use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use support::{ended, text};
use tempfile::TempDir;

const IMAGE_BYTES: usize = 64 << 10;

/// Two disk images in a folder of their own.
struct Disks {
    folder: TempDir,
}

impl Disks {
    fn new() -> Self {
        let disks = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        let bytes = |step: usize| {
            (0..IMAGE_BYTES)
                .map(|at| ((at * step) >> 3) as u8)
                .collect::<Vec<_>>()
        };
        fs::write(disks.path("a.img"), bytes(7)).expect("it is written");
        fs::write(disks.path("b.img"), bytes(13)).expect("it is written");
        disks
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `NAMESPACE=FILE`
    fn image(&self, namespace: &str, name: &str) -> String {
        format!("{namespace}={}", self.path(name).display())
    }

    fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = fs::read_dir(self.folder.path()).expect("a folder");
        let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        files.sort();
        files
            .into_iter()
            .map(|path| (path.clone(), fs::read(path).unwrap_or_default()))
            .collect()
    }

    /// This is refused with this exit code, as text and as JSON, and no file changes. Gives what was said, on one line.
    #[track_caller]
    fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let before = self.contents();
        let (exit, said, told) = ended(arguments);
        assert_eq!(exit, Some(code), "{arguments:?}: {said}{told}");
        // What the reader of the command line refuses it says in its own words.
        let labels: &[&str] = match told.contains("\nUsage: ") || told.contains("try '--help'") {
            true => &["error: "],
            false => &["error: ", "why: ", "fix: "],
        };
        for label in labels {
            assert!(
                told.lines().any(|line| line.starts_with(label)),
                "{arguments:?}: {told}"
            );
        }
        assert_eq!(said, "", "{arguments:?}");
        let (exit, said, told) = ended(&[arguments, &["--json"]].concat());
        assert_eq!(exit, Some(code), "{arguments:?}: {told}");
        let objects: Vec<Value> = [said.as_str(), told.as_str()]
            .iter()
            .filter(|text| !text.trim().is_empty())
            .map(|text| {
                serde_json::from_str(text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
            })
            .collect();
        let [object] = &objects[..] else {
            panic!("{arguments:?}: {said} {told}")
        };
        assert_eq!(object["schema"], "peerdma.error/1");
        for key in ["error", "why", "fix"] {
            assert!(
                object[key].as_str().is_some_and(|text| !text.is_empty()),
                "{arguments:?}: {object}"
            );
        }
        assert!(before == self.contents(), "{arguments:?}: something was written");
        format!("{} {}", object["error"], object["why"])
    }

    /// The same, of a copy on two-ssds with both images.
    #[track_caller]
    fn refused_between(&self, arguments: &[&str]) -> String {
        let (from, to) = (self.image("nvme0n1", "a.img"), self.image("nvme1n1", "b.img"));
        let start = [
            "copy",
            "--machine",
            "two-ssds",
            "nvme0n1",
            "nvme1n1",
            "--image",
            &from,
            "--image",
            &to,
        ];
        self.refused(2, &[&start, arguments].concat())
    }
}

#[test]
fn devices_that_are_not_there_are_refused() {
    let disks = Disks::new();
    for (from, to) in [
        ("nvme7n1", "nvme1n1"),
        ("nvme0n1", "nvme7n1"),
        ("nvme0n2", "nvme1n1"),
        ("nvme0n0", "nvme1n1"),
        ("nvme0n1", "99:00.0"),
        ("nvme0n1", "00:00.0"),
        ("", "nvme1n1"),
        ("nvme0n1", "nvme1n99999999999999999999"),
    ] {
        disks.refused(2, &["copy", "--machine", "two-ssds", from, to]);
    }
    disks.refused(2, &["copy", "--machine", "no-such-machine", "nvme0n1", "nvme1n1"]);
}

#[test]
fn a_namespace_is_not_copied_onto_itself() {
    let disks = Disks::new();
    for (from, to) in [
        ("nvme0n1", "nvme0n1"),
        ("nvme0", "nvme0n1"),
        ("03:00.0", "nvme0n1"),
        ("03:00.0/1", "nvme0"),
    ] {
        disks.refused(2, &["copy", "--machine", "two-ssds", from, to]);
    }
}

#[test]
fn one_file_is_not_both_ends() {
    let disks = Disks::new();
    fs::hard_link(disks.path("a.img"), disks.path("hard.img")).expect("a link");
    std::os::unix::fs::symlink("a.img", disks.path("soft.img")).expect("a link");
    for other in ["a.img", "hard.img", "soft.img", "./a.img"] {
        let (from, to) = (disks.image("nvme0n1", "a.img"), disks.image("nvme1n1", other));
        for pair in [[&from, &to], [&to, &from]] {
            let arguments = [
                "copy",
                "--machine",
                "two-ssds",
                "nvme0n1",
                "nvme1n1",
                "--image",
                pair[0],
                "--image",
                pair[1],
            ];
            disks.refused(2, &arguments);
        }
    }
}

#[test]
fn files_that_are_no_images_are_refused() {
    let disks = Disks::new();
    fs::write(disks.path("odd.img"), [1; 1000]).expect("it is written");
    fs::write(disks.path("empty.img"), []).expect("it is written");
    fs::create_dir(disks.path("folder")).expect("a folder");
    for namespace in ["nvme0n1", "nvme1n1"] {
        for name in ["missing.img", "odd.img", "empty.img", "folder"] {
            let image = disks.image(namespace, name);
            disks.refused(
                2,
                &[
                    "copy",
                    "--machine",
                    "two-ssds",
                    "nvme0n1",
                    "nvme1n1",
                    "--image",
                    &image,
                ],
            );
        }
        for words in [
            "",
            namespace,
            "nvme0n1=",
            "=x",
            "nvme9n1=/dev/null",
            "nvme0n1=/dev/null",
        ] {
            disks.refused(
                2,
                &[
                    "copy",
                    "--machine",
                    "two-ssds",
                    "nvme0n1",
                    "nvme1n1",
                    "--image",
                    words,
                ],
            );
        }
    }
    let twice = [disks.image("nvme0n1", "a.img"), disks.image("nvme0", "b.img")];
    disks.refused(
        2,
        &[
            "copy",
            "--machine",
            "two-ssds",
            "nvme0n1",
            "nvme1n1",
            "--image",
            &twice[0],
            "--image",
            &twice[1],
        ],
    );
}

#[test]
fn amounts_that_make_no_sense_are_refused() {
    let disks = Disks::new();
    for arguments in [
        ["--bytes", "0"],
        ["--bytes", "1000"],
        ["--bytes", "65KiB"],
        ["--bytes", "much"],
        ["--bytes", "99999999999T"],
        ["--bytes", "1.5K"],
        ["--lba", "8..8"],
        ["--lba", "9..8"],
        ["--lba", "0..129"],
        ["--lba", "128.."],
        ["--lba", "7"],
        ["--lba", "-1..2"],
        ["--lba", "18446744073709551615+1"],
        ["--to-lba", "1"],
        ["--to-lba", "18446744073709551615"],
        ["--to-lba", "x"],
        ["--chunk", "0"],
        ["--chunk", "100"],
        ["--chunk", "2GiB"],
        ["--chunk", "some"],
        ["--queue-depth", "0"],
        ["--queue-depth", "1025"],
        ["--via", "nvme9"],
        ["--via", "00:01.0"],
        ["--via", ""],
    ] {
        disks.refused_between(&arguments);
    }
}

#[test]
fn what_does_not_fit_the_destination_is_refused() {
    let disks = Disks::new();
    fs::write(disks.path("small.img"), vec![9; IMAGE_BYTES / 2]).expect("it is written");
    let (from, to) = (
        disks.image("nvme0n1", "a.img"),
        disks.image("nvme1n1", "small.img"),
    );
    let arguments = [
        "copy",
        "--machine",
        "two-ssds",
        "nvme0n1",
        "nvme1n1",
        "--image",
        &from,
        "--image",
        &to,
    ];
    let said = disks.refused(2, &arguments);
    assert!(said.contains("65536") && said.contains("32768"), "{said}");
}

#[test]
fn only_ways_without_ram_may_be_asked_for_where_there_is_one() {
    let disks = Disks::new();
    let (from, to) = (disks.image("nvme0n1", "a.img"), disks.image("nvme1n1", "b.img"));
    for machine in ["no-forward", "redirect"] {
        let arguments = [
            "copy",
            "--machine",
            machine,
            "nvme0n1",
            "nvme1n1",
            "--image",
            &from,
            "--image",
            &to,
            "--require-p2p",
        ];
        disks.refused(3, &arguments);
        let (_, said, told) = ended(&[&arguments[..], &["--json"]].concat());
        let object: Value = serde_json::from_str(&(said + &told)).expect("an object");
        let rejected = object["rejected"].as_array().expect("the evidence");
        assert!(!rejected.is_empty());
    }
}

#[test]
fn a_forced_way_that_loses_data_is_never_called_a_success() {
    for machine in ["no-forward", "redirect"] {
        let disks = Disks::new();
        let (from, to) = (disks.image("nvme0n1", "a.img"), disks.image("nvme1n1", "b.img"));
        let arguments = [
            "copy",
            "--machine",
            machine,
            "nvme0n1",
            "nvme1n1",
            "--image",
            &from,
            "--image",
            &to,
            "--force-route",
        ];
        let source = fs::read(disks.path("a.img")).expect("it is there");
        let (exit, said, _) = ended(&arguments);
        assert_eq!(exit, Some(4), "{said}");
        assert!(said.contains("FORCED") && said.contains("NOT PROVEN"), "{said}");
        let (exit, said, told) = ended(&[&arguments[..], &["--json"]].concat());
        assert_eq!(exit, Some(4), "{told}");
        let object: Value = serde_json::from_str(&said).expect("an object");
        assert_eq!(object["forced"], true);
        assert_eq!(object["verified"], false);
        assert!(
            source == fs::read(disks.path("a.img")).expect("it is there"),
            "the source is only read"
        );
    }
}

#[test]
fn a_source_that_may_only_be_read_is_copied_and_a_destination_is_not() {
    let disks = Disks::new();
    let locked = |name: &str| {
        let path = disks.path(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("it is ours");
        File::options().write(true).open(path).is_err()
    };
    let (from, to) = (disks.image("nvme0n1", "a.img"), disks.image("nvme1n1", "b.img"));
    let arguments = [
        "copy",
        "--machine",
        "two-ssds",
        "nvme0n1",
        "nvme1n1",
        "--image",
        &from,
        "--image",
        &to,
    ];
    let is_kept = locked("b.img");
    locked("a.img");
    // The superuser writes what nobody may.
    if is_kept {
        disks.refused(2, &arguments);
    }
    fs::set_permissions(disks.path("b.img"), fs::Permissions::from_mode(0o644)).expect("it is ours");
    let output = support::peerdma(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let file = |name| fs::read(disks.path(name)).expect("it is there");
    assert!(file("a.img") == file("b.img"));
}

#[test]
fn the_memory_of_an_end_may_be_named_as_the_way() {
    for via in ["nvme0", "nvme1"] {
        let (exit, said, told) = ended(&[
            "copy",
            "--machine",
            "two-ssds",
            "nvme0n1",
            "nvme1n1",
            "--bytes",
            "64KiB",
            "--json",
            "--via",
            via,
        ]);
        match exit {
            Some(0) => {
                let object: Value = serde_json::from_str(&said).expect("an object");
                assert_eq!(object["verified"], true);
            }
            _ => assert_eq!(exit, Some(2), "{told}"),
        }
    }
}
