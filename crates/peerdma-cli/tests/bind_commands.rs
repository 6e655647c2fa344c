//! `bind` and `unbind` over a machine that is made of a description, in a folder of its own: a tree of links that lead to each other has no
//! place in a repository. `TRYCMD=overwrite` as in `commands`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Makes the files and links that the description names.
fn make(root: &Path, description: &str) {
    let lines = description.lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let whole = |path: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
            path
        };
        if let Some((path, target)) = line.split_once(" -> ") {
            symlink(target, whole(path)).expect("it is made");
        } else if let Some((path, text)) = line.split_once(" =") {
            let text = text
                .strip_prefix(' ')
                .map_or(String::new(), |text| format!("{text}\n"));
            fs::write(whole(path), text).expect("it is written");
        } else {
            panic!("{line} is neither a file nor a link");
        }
    }
}

#[test]
fn bind_and_unbind_print_what_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    make(folder.path(), include_str!("bind/machine.txt"));
    // Commands run where the test does; there is no other test here.
    std::env::set_current_dir(folder.path()).expect("it is there");
    trycmd::TestCases::new()
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .case(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bind/commands.trycmd"));
}
