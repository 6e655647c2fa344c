//! What makes two copies the same copy: by what their ends mean, not by how they are spelled. Asked for `--resume`.

use super::request::Request;
use crate::args::CopyArgs;
use crate::ground::{End, Pattern, Place};
use peerdma::addr::Bdf;
use peerdma_linux::ring::Identity;
use std::borrow::Cow;
use std::fs;
use std::path::Path;

/// What makes two copies the same copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Same<'a> {
    pub(super) machine: Cow<'a, str>,
    pub(super) source: Meant<'a>,
    pub(super) destination: Meant<'a>,
    /// Where each begins, in bytes.
    pub(super) offsets: [u64; 2],
    pub(super) bytes: u64,
    pub(super) seed: Option<u64>,
}

/// An end: one place has many names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meant<'a> {
    /// As the command line named it.
    pub(super) name: &'a str,
    /// What the name meant.
    pub(super) is: String,
    /// The file that keeps its content, in full.
    pub(super) file: Option<String>,
    /// By what its block device is known.
    pub(super) device: Identity,
}

/// What makes it the same copy.
pub(super) fn same<'a>(args: &'a CopyArgs, request: &'a Request) -> Same<'a> {
    let [source_file, destination_file] = request.files.each_ref().map(|file| whole(file.as_deref()));
    Same {
        machine: match &args.machine {
            Some(machine) => whole_machine(&machine.to_string_lossy()).into_owned().into(),
            None => args.machine_name(),
        },
        source: meant(&request.source, source_file),
        destination: meant(&request.destination, destination_file),
        offsets: [request.source_offset, request.destination_offset],
        bytes: request.len_bytes,
        seed: match request.pattern {
            Some(Pattern::Seeded(seed)) => Some(seed),
            _ => None,
        },
    }
}

fn meant(end: &End, file: Option<String>) -> Meant<'_> {
    Meant {
        name: &end.name,
        is: match (end.place, &file) {
            (Place::Namespace(number), _) => format!("{}/{number}", end.initiator),
            (Place::Own(_), Some(path)) => path.clone(),
            (Place::Own(_), None) => end.name.clone(),
        },
        device: match (end.place, &file) {
            (Place::Own(_), Some(path)) => Identity::of(Path::new(path)),
            _ => Identity::NoDevice,
        },
        file,
    }
}

/// The path of a file in full; as it is where there is no such file. Nothing for what is no file: the address of a controller that our driver
/// has, which stands for what it keeps.
pub(super) fn whole(file: Option<&str>) -> Option<String> {
    let file = file?;
    let is_controller = file
        .split('/')
        .next()
        .is_some_and(|name| name.parse::<Bdf>().is_ok());
    if is_controller {
        return None;
    }
    let path = fs::canonicalize(file).ok();
    let path = path.and_then(|path| Some(path.to_str()?.to_owned()));
    Some(path.unwrap_or_else(|| file.to_owned()))
}

/// The path of a machine file in full, or the name of a machine that ships.
pub(super) fn whole_machine(machine: &str) -> Cow<'_, str> {
    match Path::new(machine).is_file() {
        true => whole(Some(machine)).map_or(Cow::Borrowed(machine), Cow::Owned),
        false => Cow::Borrowed(machine),
    }
}
