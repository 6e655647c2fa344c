//! The files that a blueprint names, which hold namespaces of NVMe controllers. Nothing is opened here.
//!
//! Whoever reads a machine file says where relative paths begin; the machine asks which files there are before it is made.

use super::{Blueprint, DeviceKind, NamespaceKind};
use crate::device::nvme::NvmeError;
use crate::fabric::BuildError;
use crate::machine::Files;
use peerdma::addr::Bdf;
use std::collections::BTreeSet;
use std::path::Path;

impl Blueprint {
    /// Lets relative paths of files begin at `folder`: that of the machine file which names them.
    pub fn find_files_in(&mut self, folder: &Path) {
        for namespace in self.namespaces_mut() {
            namespace.file = namespace.file.take().map(|path| folder.join(path));
        }
    }

    /// Holds all namespaces in memory, empty, for a machine that is only looked at.
    pub fn forget_files(&mut self) {
        for namespace in self.namespaces_mut() {
            namespace.file = None;
        }
    }

    /// May the files be opened, and is each only one namespace's?
    ///
    /// # Errors
    /// [`BuildError::Nvme`] with [`NvmeError::FileNotAllowed`] or [`NvmeError::SharedFile`].
    pub(crate) fn check_files(&self, files: Files) -> Result<(), BuildError> {
        let mut taken = BTreeSet::new();
        for (function, namespace, path) in self.files() {
            let path = path.to_owned();
            let source = match files {
                Files::Refuse => NvmeError::FileNotAllowed { namespace, path },
                // A path that leads nowhere is told of when it is opened.
                Files::Open => match identity(&path) {
                    Ok(real) if taken.contains(&real) => NvmeError::SharedFile { namespace, path },
                    Ok(real) => {
                        taken.insert(real);
                        continue;
                    }
                    Err(_) => continue,
                },
            };
            return Err(BuildError::Nvme { function, source });
        }
        Ok(())
    }

    /// Function, namespace, path.
    fn files(&self) -> impl Iterator<Item = (Bdf, u32, &Path)> {
        self.devices
            .iter()
            .filter_map(|(bdf, kind)| match kind {
                DeviceKind::Nvme(nvme) => Some((*bdf, &nvme.namespaces)),
                _ => None,
            })
            .flat_map(|(bdf, namespaces)| {
                let numbered = (1..).zip(namespaces);
                numbered
                    .filter_map(move |(number, namespace)| Some((bdf, number, namespace.file.as_deref()?)))
            })
    }

    fn namespaces_mut(&mut self) -> impl Iterator<Item = &mut NamespaceKind> {
        self.devices.values_mut().flat_map(|kind| match kind {
            DeviceKind::Nvme(nvme) => nvme.namespaces.iter_mut(),
            _ => [].iter_mut(),
        })
    }
}

/// What two paths to one file have in common, also where they are hard links.
#[cfg(unix)]
fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = path.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// What two paths to one file have in common.
#[cfg(not(unix))]
fn identity(path: &Path) -> std::io::Result<std::path::PathBuf> {
    std::fs::canonicalize(path)
}
