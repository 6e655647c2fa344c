//! `--image NAMESPACE=FILE`: a file in the place of a namespace's medium.

use crate::error::Problem;
use crate::ground::{End, Place};
use peerdma::topology::Topology;
use peerdma_sim::blueprint::{Blueprint, DeviceKind, Protection};
use std::path::Path;

/// Puts a file in the place of a namespace's medium, opened for reading alone unless it is `destination`'s. Gives the namespace.
///
/// # Errors
/// A [`Problem`] where the words make no sense, or the file is none or does not fit.
pub(super) fn attach(
    blueprint: &mut Blueprint,
    topology: &Topology,
    words: &str,
    destination: &End,
) -> Result<End, Problem> {
    let Some((name, path)) = words.split_once('=').filter(|(_, path)| !path.is_empty()) else {
        return Err(Problem::new(
            format_args!("--image {words} names no file"),
            "there is nothing after a =",
            "give NAMESPACE=FILE, for example --image nvme0n1=disk.img",
        ));
    };
    let end = End::of_blueprint(blueprint, topology, name)?;
    let path = Path::new(path);
    let bad = |why: &dyn std::fmt::Display, fix: &str| {
        Problem::new(
            format_args!("{} cannot be the medium of {name}", path.display()),
            why,
            fix,
        )
    };
    let metadata = path
        .metadata()
        .map_err(|error| bad(&error, "check the path and its permissions"))?;
    if !metadata.is_file() {
        return Err(bad(
            &"it is no regular file",
            "give a file; one can be made with `truncate -s 1G FILE`",
        ));
    }
    let Some(kind) = end.kind(blueprint) else {
        return Err(bad(&"the machine has no such namespace", "name another"));
    };
    let block_bytes = u64::from(kind.block_bytes);
    if metadata.len() == 0 || !metadata.len().is_multiple_of(block_bytes) {
        let why = format!(
            "it has {} bytes, which is no whole number of blocks of {block_bytes}",
            metadata.len()
        );
        return Err(bad(
            &why,
            "make its length a multiple of the block, for example with `truncate -s %4096 FILE`",
        ));
    }
    kind.blocks = metadata.len() / block_bytes;
    kind.file = Some(path.to_owned());
    kind.protection = match end.is(destination) {
        true => Protection::None,
        false => Protection::WriteProtected,
    };
    Ok(end)
}

/// Refuses the files that a machine file itself names: it may come from anybody, and `--image` allows those alone that it names.
///
/// # Errors
/// A [`Problem`] where there is one.
pub(super) fn refuse_others(blueprint: &Blueprint, images: &[End]) -> Result<(), Problem> {
    let controllers = blueprint.devices.iter().filter_map(|(bdf, kind)| match kind {
        DeviceKind::Nvme(nvme) => Some((*bdf, nvme)),
        _ => None,
    });
    for (controller, nvme) in controllers {
        for (namespace, kind) in (1_u32..).zip(&nvme.namespaces) {
            let is_it = |end: &End| end.initiator == controller && end.place == Place::Namespace(namespace);
            if let Some(path) = kind.file.as_ref().filter(|_| !images.iter().any(is_it)) {
                return Err(Problem::new(
                    format_args!("{} is not opened", path.display()),
                    format_args!(
                        "the machine file wants it for namespace {namespace} of {controller}, and a machine file may come from anybody"
                    ),
                    "give --allow-files if it may be read and overwritten, or another file with --image",
                ));
            }
        }
    }
    Ok(())
}
