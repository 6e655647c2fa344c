//! Machine files that name other files: only a script with `--allow-files` opens them.

mod support;

use std::fs;
use std::path::Path;
use support::ended;

const SCRIPT: &str =
    "[[transfer]]\nfrom = \"ssd:cmb\"\nto = \"ram+0x20000000\"\nbytes = 4096\nby = \"ssd\"\n";

/// A machine and a script in a folder; `file` holds the namespace of 64 KiB.
fn machine(folder: &Path, file: &str) -> [String; 2] {
    let machine = format!(
        "[[bridge]]\nport = {{ device = {{ kind = \"nvme\", name = \"ssd\", cmb = {{ size = \"64 KiB\" }}, namespace = [{{ size = \"64 KiB\", file = \"{file}\" }}] }} }}\n"
    );
    [("machine.toml", machine.as_str()), ("script.toml", SCRIPT)].map(|(name, text)| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    })
}

#[test]
fn only_a_script_that_is_allowed_to_opens_the_files_of_a_machine() {
    let folder = tempfile::tempdir().unwrap();
    let [machine, script] = machine(folder.path(), "image");
    // There is no such file: whoever opens it fails.
    for arguments in [
        &["simulate", &machine][..],
        &["topo", "--machine", &machine],
        &["matrix", "--machine", &machine],
    ] {
        let (code, _, errors) = ended(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {errors}");
    }
    let run = ["simulate", &machine, "--script", &script];
    let (code, _, errors) = ended(&run);
    assert_eq!(code, Some(2));
    assert!(
        errors.contains("add --allow-files") && errors.contains("image"),
        "{errors}"
    );
    let allowed = [&run[..], &["--allow-files"]].concat();
    let (code, _, errors) = ended(&allowed);
    assert_eq!(code, Some(2));
    assert!(
        errors.contains("image") && errors.contains("relative paths") && errors.contains("machine.toml:2:19"),
        "{errors}"
    );
    fs::write(folder.path().join("image"), [0; 64 << 10]).unwrap();
    let (code, _, errors) = ended(&allowed);
    assert_eq!(code, Some(0), "{errors}");
}

#[test]
#[cfg(unix)]
fn a_pipe_or_an_endless_device_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for name in ["pipe", "/dev/zero"] {
        let [machine, script] = machine(folder.path(), name);
        let (code, _, errors) = ended(&["simulate", &machine, "--script", &script, "--allow-files"]);
        assert_eq!(code, Some(2));
        assert!(errors.contains("no regular file"), "{errors}");
    }
}
