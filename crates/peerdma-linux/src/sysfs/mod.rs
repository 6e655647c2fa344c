//! Discovery from sysfs: the running machine, or a copy of its tree.
//!
//! [`read`] is called by [`crate::source`] and works on any [`Tree`]. Paths, names and their meaning
//! follow Documentation/ABI/testing/sysfs-bus-pci and drivers/pci/pci-sysfs.c of Linux. One file here
//! holds one thing that sysfs tells: `place` where the folders are, `path` who sits below whom,
//! `survey` what a function's folder holds, `function` what it means, `resource`, `link` and `port`
//! single entries of it, `groups` IOMMU groups, `host` the rest of the machine, `iomem` the memory map, `reserved` what
//! IOMMU groups must not map.

mod function;
mod groups;
mod host;
mod iomem;
mod link;
mod names;
mod number;
mod path;
mod place;
mod port;
pub(crate) mod registers;
mod reserved;
pub(crate) mod resource;
mod survey;

use crate::keep::KeepConfig;
use crate::shown::Shown;
use crate::tree::{EntryKind, Gap, Listing, Tree};
use function::Reader;
pub(crate) use iomem::MOST_BYTES as IOMEM_BYTES;
pub(crate) use path::leads_outside;
use peerdma::addr::Bdf;
use peerdma::fact::{Fact, Unread};
use peerdma::snapshot::{Function, Snapshot, Warnings};
use place::Devices;
pub(crate) use reserved::reserved_regions;
use std::fmt;

/// A tree from which no machine can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SysfsError {
    /// It holds no list of PCI functions.
    NoDevices,
    /// It holds folders of several machines.
    Several,
    /// The list is there and cannot be read.
    Unreadable {
        /// What prevents it.
        gap: Gap,
    },
    /// The list is there and names no function.
    Empty,
    /// It has more functions than are ever taken in.
    TooMany,
}

/// More functions than any machine has.
pub(crate) const MOST_FUNCTIONS: usize = 1 << 18;

/// How deep bridges may be nested in a tree that has to be walked.
const DEEPEST: usize = 64;

/// Reads a machine.
///
/// # Errors
/// [`SysfsError`] where the tree holds no PCI functions. What is wrong with single functions becomes a
/// warning and an unknown fact.
pub fn read<T: Tree>(tree: &T, warnings: &mut Warnings, keep: KeepConfig) -> Result<Snapshot, SysfsError> {
    let place = place::find(tree)?;
    let mut machine = Machine {
        reader: Reader::new(tree, keep),
        sys: place.sys.as_ref(),
        functions: Vec::new(),
        warnings,
    };
    match &place.devices {
        Devices::Listed(devices) => machine.read_listed(devices)?,
        Devices::Nested(devices) => machine.read_nested(devices)?,
    }
    let Machine {
        reader,
        mut functions,
        ..
    } = machine;
    if functions.is_empty() {
        return Err(SysfsError::Empty);
    }
    let mut host = host::read(tree, &place);
    let groups = reader.finish(&mut functions, host.kernel);
    host.iommu = host::iommu(tree, &place, &groups, &functions, &host.cpu);
    iomem::fill(tree, &place, &functions, &mut host, warnings);
    Ok(Snapshot::new(host, functions, warnings))
}

/// A machine that is being read.
struct Machine<'a, 't, T: Tree> {
    reader: Reader<'t, T>,
    sys: Option<&'a T::Folder>,
    functions: Vec<Function>,
    warnings: &'a mut Warnings,
}

impl<T: Tree> Machine<'_, '_, T> {
    /// Reads every function that `sys/bus/pci/devices` lists.
    fn read_listed(&mut self, devices: &T::Folder) -> Result<(), SysfsError> {
        let tree = self.reader.tree;
        let mut listing = Listing::default();
        tree.list(devices, &mut listing)
            .map_err(|gap| SysfsError::Unreadable { gap })?;
        let mut target = [0; 4096];
        for (name, kind) in listing.iter() {
            let Some(bdf) = path::address(name) else {
                self.warnings
                    .push(Shown(name), "not the address of a PCI function; skipped");
                continue;
            };
            let link = match kind {
                EntryKind::Folder => Err(Gap::NotALink),
                _ => tree.link(devices, name, &mut target),
            };
            let upstream =
                match link.map(|length| path::upstream(bdf, target.get(..length).unwrap_or_default())) {
                    Ok(Ok(upstream)) => Fact::Known(upstream),
                    Ok(Err(defect)) => {
                        self.warnings.push(bdf, defect);
                        if defect == path::PathDefect::Outside {
                            continue;
                        }
                        Fact::Unknown(Unread::Contradictory)
                    }
                    // The tree was copied without its links: the bus numbers of bridges have to tell.
                    Err(gap) => Fact::Unknown(gap.unread()),
                };
            self.take(devices, name, bdf, upstream)?;
        }
        Ok(())
    }

    /// Reads every function below `sys/devices/pci*`, for a tree without `sys/bus/pci/devices`.
    fn read_nested(&mut self, devices: &T::Folder) -> Result<(), SysfsError> {
        let tree = self.reader.tree;
        let mut listing = Listing::default();
        tree.list(devices, &mut listing)
            .map_err(|gap| SysfsError::Unreadable { gap })?;
        let mut above: Vec<(Vec<u8>, Option<Bdf>)> = listing
            .iter()
            .filter(|(name, _)| path::is_root_bus(name))
            .map(|(name, _)| (name.to_vec(), None))
            .collect();
        while let Some((path, bridge)) = above.pop() {
            let listed = tree
                .folder(devices, &path)
                .and_then(|folder| tree.list(&folder, &mut listing));
            if let Err(gap) = listed {
                self.warnings.push(Shown(&path), gap);
                continue;
            }
            let deepest = path.iter().filter(|byte| **byte == b'/').count() >= DEEPEST;
            for (name, _) in listing.iter().filter(|(_, kind)| *kind != EntryKind::Link) {
                let bdf = path::address(name);
                if bdf.is_none() && !path::is_root_bus(name) {
                    continue;
                }
                if deepest {
                    self.warnings
                        .push(Shown(&path), "nested deeper than any PCI hierarchy; skipped");
                    break;
                }
                let child = [&path[..], b"/", name].concat();
                if let Some(bdf) = bdf {
                    self.take(devices, &child, bdf, Fact::Known(bridge))?;
                }
                above.push((child, bdf));
            }
        }
        Ok(())
    }

    /// Reads the function whose folder is `path` below `at`.
    fn take(
        &mut self,
        at: &T::Folder,
        path: &[u8],
        bdf: Bdf,
        upstream: Fact<Option<Bdf>>,
    ) -> Result<(), SysfsError> {
        if self.functions.len() >= MOST_FUNCTIONS {
            return Err(SysfsError::TooMany);
        }
        let folder = self.reader.tree.folder(at, path);
        let mut function = self.reader.read(folder, self.sys, bdf, self.warnings);
        function.upstream = upstream;
        self.functions.push(function);
        Ok(())
    }
}

impl fmt::Display for SysfsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SysfsError::NoDevices => f.write_str(
                "found neither sys/bus/pci/devices nor sys/devices/pci*; name the folder that holds sys and \
                 proc, or sys itself",
            ),
            SysfsError::Several => f.write_str("several folders in it hold a machine each; name one of them"),
            SysfsError::Unreadable { gap } => write!(f, "the list of PCI functions cannot be read: {gap}"),
            SysfsError::Empty => {
                f.write_str("the list of PCI functions is empty: no PCI bus, or a partial copy")
            }
            SysfsError::TooMany => write!(f, "more than {MOST_FUNCTIONS} PCI functions"),
        }
    }
}

impl std::error::Error for SysfsError {}
