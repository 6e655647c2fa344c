//! Copies with files in the place of media: which are opened, which are written, and when.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use support::ended;

const IMAGE_BYTES: usize = 1 << 20;

/// A file of bytes that no pattern has.
fn image(folder: &Path, name: &str, first: u8) -> (PathBuf, Vec<u8>) {
    let path = folder.join(name);
    let bytes: Vec<u8> = (0..IMAGE_BYTES).map(|at| (at % 251) as u8 ^ first).collect();
    fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

fn is(namespace: &str, path: &Path) -> String {
    format!("{namespace}={}", path.display())
}

/// Two SSDs below one switch, with little RAM; a namespace of either may be a file of the machine's own.
fn machine(folder: &Path, ram: &str, files: [&str; 2]) -> String {
    let device = |name: &str, file: &str| {
        let namespace = match file {
            "" => String::new(),
            file => format!(", namespace = [{{ size = \"1 MiB\", file = \"{file}\" }}]"),
        };
        format!(
            "[[bridge.port.switch.port]]\ndevice = {{ kind = \"nvme\", name = \"{name}\", cmb = {{ size = \"4 MiB\" }}{namespace} }}\n"
        )
    };
    let text = format!(
        "ram = [{{ from = 0, size = \"{ram}\" }}]\n[[bridge]]\n[[bridge.port]]\n[bridge.port.switch]\n{}{}",
        device("nvme0", files[0]),
        device("nvme1", files[1])
    );
    let path = folder.join("machine.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_copy_that_is_refused_leaves_the_destination_s_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = image(folder.path(), "to.img", 7);
    let to = is("nvme1n1", &path);
    for (machine, refused, code) in [
        ("redirect", &["--require-p2p"][..], 3),
        ("redirect", &["--via", "gpu0"], 2),
        ("two-ssds", &["--chunk", "513"], 2),
    ] {
        let run = ["copy", "--machine", machine, "nvme0n1", "nvme1n1", "--image", &to];
        let (ended, _, errors) = ended(&[&run[..], refused].concat());
        assert_eq!(ended, Some(code), "{refused:?}: {errors}");
        assert!(fs::read(&path).unwrap() == bytes, "{refused:?} has written");
    }
}

#[test]
fn an_image_allows_no_other_file_to_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (from, _) = image(folder.path(), "from.img", 1);
    let (victim, bytes) = image(folder.path(), "victim.img", 2);
    let machine = machine(folder.path(), "64 MiB", ["", "victim.img"]);
    let from = is("nvme0n1", &from);
    let run = [
        "copy",
        "--machine",
        &machine,
        "nvme0n1",
        "nvme1n1",
        "--image",
        &from,
    ];
    let (code, _, errors) = ended(&run);
    assert_eq!(code, Some(2), "{errors}");
    assert!(
        errors.contains("victim.img") && errors.contains("--allow-files"),
        "{errors}"
    );
    assert!(fs::read(&victim).unwrap() == bytes);
}

#[test]
fn the_file_of_a_source_is_copied_and_never_filled_with_a_pattern() {
    let folder = tempfile::tempdir().unwrap();
    let (from, bytes) = image(folder.path(), "from.img", 3);
    let (to, _) = image(folder.path(), "to.img", 4);
    let machine = machine(folder.path(), "64 MiB", ["from.img", "to.img"]);
    let run = [
        "copy",
        "--machine",
        &machine,
        "nvme0n1",
        "nvme1n1",
        "--allow-files",
    ];
    let (code, _, errors) = ended(&run);
    assert_eq!(code, Some(0), "{errors}");
    assert!(fs::read(&from).unwrap() == bytes, "the source was written");
    assert!(
        fs::read(&to).unwrap() == bytes,
        "the destination is not the source"
    );
}

#[test]
fn two_names_of_one_file_are_not_copied_onto_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (from, bytes) = image(folder.path(), "from.img", 5);
    let hard = folder.path().join("hard.img");
    fs::hard_link(&from, &hard).unwrap();
    let (from_is, to_is) = (is("nvme0n1", &from), is("nvme1n1", &hard));
    let run = [
        "copy",
        "--machine",
        "two-ssds",
        "nvme0n1",
        "nvme1n1",
        "--image",
        &from_is,
        "--image",
        &to_is,
        "--lba",
        "0..8",
        "--to-lba",
        "4",
    ];
    let (code, _, errors) = ended(&run);
    assert_eq!(code, Some(2), "{errors}");
    assert!(fs::read(&from).unwrap() == bytes);
}

#[test]
fn little_ram_ends_no_copy_that_has_begun() {
    let folder = tempfile::tempdir().unwrap();
    let machine = machine(folder.path(), "8 MiB", ["", ""]);
    for more in [
        &[][..],
        &["--chunk", "1MiB", "--queue-depth", "4"],
        &["--via-ram"],
    ] {
        let run = [
            "copy",
            "--machine",
            &machine,
            "nvme0n1",
            "nvme1n1",
            "--bytes",
            "4MiB",
        ];
        let (code, _, errors) = ended(&[&run[..], more].concat());
        assert_eq!(code, Some(0), "{more:?}: {errors}");
    }
}

#[test]
fn a_copy_does_not_go_on_from_what_another_file_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (from, _) = image(folder.path(), "from.img", 6);
    let (to, bytes) = image(folder.path(), "to.img", 7);
    let resume = folder.path().join("resume.json");
    let state = serde_json::json!({
        "schema": "peerdma.copy-resume/1", "machine": "two-ssds", "source": "nvme0n1", "destination": "nvme1n1",
        "source_file": from, "destination_file": folder.path().join("other.img"), "source_offset": 0,
        "destination_offset": 0, "bytes": IMAGE_BYTES, "seed": null, "done_bytes": 4096,
    });
    fs::write(&resume, state.to_string()).unwrap();
    let (from_is, to_is) = (is("nvme0n1", &from), is("nvme1n1", &to));
    let run = [
        "copy",
        "--machine",
        "two-ssds",
        "nvme0n1",
        "nvme1n1",
        "--image",
        &from_is,
        "--image",
        &to_is,
        "--resume",
        resume.to_str().unwrap(),
    ];
    let (code, _, errors) = ended(&run);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("other.img"), "{errors}");
    assert!(fs::read(&to).unwrap() == bytes);
}
