//! Where in a tree the folders lie.
//!
//! The root may be the folder that holds `sys` and `proc`, a folder around it (archives often nest
//! everything in one), `sys` itself, or `sys/bus/pci`, as `lspci -O sysfs.path=` has it.

use super::{SysfsError, path};
use crate::tree::{EntryKind, Gap, Listing, Tree};

/// The folders that a machine is read from.
pub(super) struct Place<F> {
    /// Where functions are found.
    pub(super) devices: Devices<F>,
    /// `sys`, where it is there.
    pub(super) sys: Option<F>,
    /// `proc`, where it is there and belongs to the same machine.
    pub(super) proc: Option<F>,
}

/// The folder of functions, in one of its two forms.
pub(super) enum Devices<F> {
    /// `sys/bus/pci/devices`: one entry a function.
    Listed(F),
    /// `sys/devices`: nested as the bridges are.
    Nested(F),
}

/// How many folders at the root are looked into.
const MOST_FOLDERS: usize = 256;

/// Finds the folders.
pub(super) fn find<T: Tree>(tree: &T) -> Result<Place<T::Folder>, SysfsError> {
    let root = tree.root();
    if let Some(place) = around(tree, root)? {
        return Ok(place);
    }
    if let Some(place) = inside(tree, root)? {
        return Ok(place);
    }
    let mut listing = Listing::default();
    tree.list(root, &mut listing)
        .map_err(|gap| SysfsError::Unreadable { gap })?;
    let mut folders: Vec<&[u8]> = listing
        .iter()
        .filter(|(_, kind)| *kind != EntryKind::File && *kind != EntryKind::Link)
        .map(|(name, _)| name)
        .take(MOST_FOLDERS)
        .collect();
    folders.sort_unstable();
    let mut found = None;
    for name in folders {
        if let Ok(folder) = tree.folder(root, name)
            && let Some(place) = around(tree, &folder)?
            && found.replace(place).is_some()
        {
            return Err(SysfsError::Several);
        }
    }
    found.ok_or(SysfsError::NoDevices)
}

/// `base` holds `sys`.
fn around<T: Tree>(tree: &T, base: &T::Folder) -> Result<Option<Place<T::Folder>>, SysfsError> {
    let Some(sys) = open(tree, base, b"sys")? else {
        return Ok(None);
    };
    let devices = match open(tree, &sys, b"bus/pci/devices")? {
        Some(devices) => Devices::Listed(devices),
        None => match nested(tree, &sys)? {
            Some(devices) => devices,
            None => return Ok(None),
        },
    };
    Ok(Some(Place {
        devices,
        sys: Some(sys),
        proc: tree.folder(base, b"proc").ok(),
    }))
}

/// `base` is `sys`, or `sys/bus/pci`.
fn inside<T: Tree>(tree: &T, base: &T::Folder) -> Result<Option<Place<T::Folder>>, SysfsError> {
    // What lies above may belong to another machine (the one that runs): it counts only where the
    // way back down leads here.
    let above = |up: &[u8], down: &[u8], wanted: &[u8]| {
        let back = tree.folder(base, &[up, down].concat()).ok()?;
        match tree.same(&back, base) {
            true => tree.folder(base, &[up, wanted].concat()).ok(),
            false => None,
        }
    };
    let devices = match open(tree, base, b"bus/pci/devices")? {
        Some(devices) => Some(Devices::Listed(devices)),
        None => nested(tree, base)?,
    };
    if let Some(devices) = devices {
        return Ok(Some(Place {
            devices,
            sys: tree.folder(base, b".").ok(),
            proc: above(b"../", b"sys", b"proc"),
        }));
    }
    let Some(devices) = open(tree, base, b"devices")? else {
        return Ok(None);
    };
    Ok(
        holds(tree, &devices, |name| path::address(name).is_some())?.then(|| Place {
            devices: Devices::Listed(devices),
            sys: above(b"../../", b"bus/pci", b"."),
            proc: above(b"../../../", b"sys/bus/pci", b"proc"),
        }),
    )
}

/// `devices` below `sys`, if it holds root buses.
fn nested<T: Tree>(tree: &T, sys: &T::Folder) -> Result<Option<Devices<T::Folder>>, SysfsError> {
    match open(tree, sys, b"devices")? {
        Some(devices) if holds(tree, &devices, path::is_root_bus)? => Ok(Some(Devices::Nested(devices))),
        _ => Ok(None),
    }
}

/// Does a folder hold an entry of such a name?
fn holds<T: Tree>(tree: &T, folder: &T::Folder, wanted: fn(&[u8]) -> bool) -> Result<bool, SysfsError> {
    let mut listing = Listing::default();
    tree.list(folder, &mut listing)
        .map_err(|gap| SysfsError::Unreadable { gap })?;
    Ok(listing.iter().any(|(name, _)| wanted(name)))
}

/// The folder, if it is there.
fn open<T: Tree>(tree: &T, at: &T::Folder, path: &[u8]) -> Result<Option<T::Folder>, SysfsError> {
    match tree.folder(at, path) {
        Ok(folder) => Ok(Some(folder)),
        Err(gap @ Gap::AccessDenied) => Err(SysfsError::Unreadable { gap }),
        Err(_) => Ok(None),
    }
}
