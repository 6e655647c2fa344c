//! Which kernel of Debian boots, what it consists of, and its modules as files that can be loaded.
//!
//! Called by [`super`].

use super::Root;
use super::apt::Apt;
use crate::chore::Failure;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The series whose rules `peerdma matrix --policy linux` is compared with.
const SERIES: &str = "7.2";
const FLAVOUR: &str = "-cloud-amd64";

/// A release of the kernel, as `uname -r` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version(String);

/// The newest of the series that the archive has with its headers.
pub(super) fn newest(apt: &Apt) -> Result<Option<Version>, Failure> {
    let prefix = "linux-headers-";
    let names = apt.names(&format!("{prefix}{SERIES}."))?;
    let versions = names
        .iter()
        .filter_map(|name| Version::read(name.strip_prefix(prefix)?));
    Ok(versions.max_by_key(Version::numbers))
}

impl Version {
    /// Reads `7.2.12+deb13-cloud-amd64`; nothing that is not of the series and flavour.
    pub(super) fn read(name: &str) -> Option<Self> {
        let of_series = name.strip_prefix(SERIES)?.starts_with('.') && name.ends_with(FLAVOUR);
        let harmless = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".+-~".contains(&byte));
        (of_series && harmless).then(|| Self(name.to_owned()))
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// The packages that have its image, its modules, and what compiles more.
    pub(super) fn packages(&self, apt: &Apt) -> Result<Vec<String>, Failure> {
        let mut packages = vec![format!("linux-headers-{}", self.0)];
        // An image that is signed depends on scripts and, with them, on half a system.
        for prefix in ["linux-binary-", "linux-modules-", "linux-image-unsigned-"] {
            let name = format!("{prefix}{}", self.0);
            let unsigned = prefix.ends_with("unsigned-");
            if (!unsigned || packages.len() == 1) && apt.names(&name)?.contains(&name) {
                packages.push(name);
            }
        }
        if packages.len() == 1 {
            packages.push(format!("linux-image-{}", self.0));
        }
        Ok(packages)
    }

    /// Where the image lies in the unpacked packages.
    pub(super) fn image(&self) -> String {
        format!("usr/lib/modules/{}/vmlinuz", self.0)
    }

    fn numbers(&self) -> Vec<u32> {
        let digits = |part: &str| part.parse().ok();
        self.0
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(digits)
            .collect()
    }
}

/// The modules that the guest may load, unpacked into `folder`; those that this kernel has.
pub(super) fn modules(
    root: &Root,
    version: &Version,
    folder: &Path,
) -> Result<BTreeMap<String, PathBuf>, Failure> {
    fs::create_dir_all(folder).map_err(Failure::io(folder.display()))?;
    let mut found = BTreeMap::new();
    let tree = root.path(format!("usr/lib/modules/{}/kernel", version.name()));
    let mut folders = vec![tree];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(&next) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let file = entry.file_name().to_string_lossy().into_owned();
            let Some((name, packing)) = file.split_once(".ko") else {
                continue;
            };
            if super::KERNEL_MODULES.contains(&name) {
                let loadable = folder.join(format!("{name}.ko"));
                if loose(root, &path, packing, &loadable)? {
                    found.insert(name.to_owned(), loadable);
                }
            }
        }
    }
    Ok(found)
}

/// Writes a module as the loader wants it; false for a packing that busybox does not know.
fn loose(root: &Root, packed: &Path, packing: &str, to: &Path) -> Result<bool, Failure> {
    let applet = match packing {
        "" => {
            fs::copy(packed, to).map_err(Failure::io(packed.display()))?;
            return Ok(true);
        }
        ".xz" => "xzcat",
        ".gz" => "zcat",
        _ => return Ok(false),
    };
    let out = fs::File::create(to).map_err(Failure::io(to.display()))?;
    let status = Command::new(root.path("usr/bin/busybox"))
        .arg(applet)
        .arg(packed)
        .stdin(Stdio::null())
        .stdout(out)
        .status()
        .map_err(Failure::io("busybox"))?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn the_newest_is_found_by_number_and_not_by_spelling() {
        let names = [
            "7.2.9+deb13-cloud-amd64",
            "7.2.12+deb13-cloud-amd64",
            "7.2.2+deb13-cloud-amd64",
            "7.2.30+deb13-amd64",
            "7.20.1+deb13-cloud-amd64",
            "7.2.99;x-cloud-amd64",
        ];
        let versions = names.iter().filter_map(|name| Version::read(name));
        let newest = versions.max_by_key(Version::numbers).unwrap();
        assert_eq!(newest.name(), "7.2.12+deb13-cloud-amd64");
    }
}
