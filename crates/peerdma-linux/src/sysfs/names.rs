//! What the driver made of a function: `nvme/nvme0`, `net/eth0`, and in kernels before 2.6.26 links
//! named `net:eth0`.

use crate::tree::{EntryKind, Listing, Tree};

/// The classes whose names an operator knows a function by, in the order in which they are told.
const CLASSES: [&[u8]; 6] = [b"nvme", b"net", b"infiniband", b"drm", b"accel", b"block"];

/// More names than a function has.
const MOST_NAMES: usize = 1024;

/// Adds the names below `folder` to `names`; `listing` holds the folder's entries and is used up.
pub(super) fn collect<T: Tree>(tree: &T, folder: &T::Folder, listing: &mut Listing, names: &mut Vec<String>) {
    // A virtio function's driver makes one more device, of which the names hang.
    let virtio = listing
        .iter()
        .find(|(name, kind)| *kind == EntryKind::Folder && is_virtio(name))
        .and_then(|(name, _)| tree.folder(folder, name).ok());
    collect_here(tree, folder, listing, names);
    if let Some(folder) = virtio
        && tree.list(&folder, listing).is_ok()
    {
        collect_here(tree, &folder, listing, names);
    }
}

/// Is this a virtio device, `virtio0`?
fn is_virtio(name: &[u8]) -> bool {
    name.strip_prefix(b"virtio")
        .is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

fn collect_here<T: Tree>(tree: &T, folder: &T::Folder, listing: &mut Listing, names: &mut Vec<String>) {
    let mut found = [false; CLASSES.len()];
    for (name, kind) in listing.iter() {
        for (class, found) in CLASSES.iter().zip(&mut found) {
            match name.strip_prefix(*class) {
                Some([]) => *found = kind != EntryKind::File,
                Some([b':', old @ ..]) if !old.is_empty() => add(names, old),
                _ => {}
            }
        }
    }
    for (class, _) in CLASSES.iter().zip(found).filter(|(_, found)| *found) {
        let listed = tree
            .folder(folder, class)
            .and_then(|folder| tree.list(&folder, listing));
        if listed.is_ok() {
            let start = names.len();
            for (name, kind) in listing.iter() {
                // DRM's folder holds nothing else; others hold at most files beside the names.
                if kind != EntryKind::File {
                    add(names, name);
                }
            }
            if let Some(new) = names.get_mut(start..) {
                new.sort_unstable_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
            }
        }
    }
}

fn add(names: &mut Vec<String>, name: &[u8]) {
    if names.len() < MOST_NAMES {
        names.push(String::from_utf8_lossy(name).into_owned());
    }
}
