//! The binary under test, the machine that ships with the repository, and changes of it that no shipped
//! machine has. Used by the tests beside it.

// Each of them uses its part.
#![allow(dead_code)]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) const SERVER: &str = "machines/captured/two-socket-gpu.lspci.txt";

pub(crate) fn peerdma(arguments: &[&str]) -> Output {
    in_columns("100", arguments)
}

pub(crate) fn in_columns(columns: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_peerdma"))
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .env("COLUMNS", columns)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .expect("the binary under test starts")
}

pub(crate) fn stdout(arguments: &[&str]) -> String {
    String::from_utf8(peerdma(arguments).stdout).expect("UTF-8")
}

pub(crate) fn stderr(arguments: &[&str]) -> String {
    String::from_utf8(peerdma(arguments).stderr).expect("UTF-8")
}

/// Text without its line breaks: how it is wrapped is no part of the promise.
pub(crate) fn unwrapped(text: &str) -> String {
    text.split_whitespace()
        .filter(|word| *word != "│")
        .collect::<Vec<_>>()
        .join(" ")
}

/// The shipped machine with a change, in a file that lives as long as the folder.
pub(crate) struct Changed {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Changed {
    pub(crate) fn new(change: impl FnOnce(&mut Value)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("machine.json");
        let text = stdout(&["snapshot", "-q", "--no-config", "--from", SERVER]);
        let mut machine: Value = serde_json::from_str(&text).expect("a snapshot is JSON");
        change(&mut machine["snapshot"]);
        std::fs::write(&path, machine.to_string()).expect("it is written");
        Self {
            _folder: folder,
            path,
        }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().expect("a plain path")
    }
}

pub(crate) fn functions(snapshot: &mut Value) -> &mut Vec<Value> {
    snapshot["functions"].as_array_mut().expect("functions")
}

pub(crate) fn function<'v>(snapshot: &'v mut Value, bdf: &str) -> &'v mut Value {
    functions(snapshot)
        .iter_mut()
        .find(|function| function["bdf"] == bdf)
        .expect("the shipped machine has it")
}
