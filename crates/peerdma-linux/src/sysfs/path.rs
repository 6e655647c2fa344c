//! Names and paths of functions in sysfs: `devices/pci0000:00/0000:00:01.0/0000:01:00.0`.

use peerdma::addr::Bdf;
use std::fmt;

/// What is wrong with the path that an entry of `sys/bus/pci/devices` leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathDefect {
    /// It leads out of the tree.
    Outside,
    /// It does not end at the function that the entry is named after.
    OtherFunction,
    /// Above the function is neither a function nor a root bus.
    NoParent,
}

/// How far below the root of a tree `sys/bus/pci/devices` lies.
const DEPTH: usize = 4;

/// The address that a folder is named after, in the form the kernel prints: domain always there.
pub(super) fn address(name: &[u8]) -> Option<Bdf> {
    let domain = name.iter().position(|byte| *byte == b':')?;
    match Bdf::split_from(name)? {
        (bdf, []) if domain >= 4 && name.len() == domain + 8 => Some(bdf),
        _ => None,
    }
}

/// Is this the folder of a root bus, `pci0000:00` or (Intel VMD) `pci10000:00`?
pub(super) fn is_root_bus(name: &[u8]) -> bool {
    name.strip_prefix(b"pci")
        .and_then(|rest| rest.split_at_checked(rest.len().checked_sub(3)?))
        .is_some_and(|(domain, bus)| {
            (4..=8).contains(&domain.len())
                && domain.iter().all(u8::is_ascii_hexdigit)
                && matches!(bus, [b':', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
        })
}

/// The bridge above `bdf`, from the target of its link in `sys/bus/pci/devices`; `None` on a root bus.
pub(super) fn upstream(bdf: Bdf, target: &[u8]) -> Result<Option<Bdf>, PathDefect> {
    if leads_outside(target, DEPTH) {
        return Err(PathDefect::Outside);
    }
    let mut parts = target
        .rsplit(|byte| *byte == b'/')
        .filter(|part| !part.is_empty());
    if parts.next().and_then(address) != Some(bdf) {
        return Err(PathDefect::OtherFunction);
    }
    let above = parts.next().unwrap_or_default();
    match address(above) {
        Some(above) => Ok(Some(above)),
        None if is_root_bus(above) => Ok(None),
        None => Err(PathDefect::NoParent),
    }
}

/// Does a link's target leave the tree, seen from a folder `depth` steps below its root?
pub(crate) fn leads_outside(target: &[u8], depth: usize) -> bool {
    let mut depth = depth;
    if target.starts_with(b"/") {
        return true;
    }
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return true,
            },
            _ => depth += 1,
        }
    }
    false
}

impl fmt::Display for PathDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PathDefect::Outside => "its link leads out of the tree; skipped",
            PathDefect::OtherFunction => "its link leads to another place; the bridge above it is unknown",
            PathDefect::NoParent => {
                "its path names neither a bridge nor a root bus above it; the bridge above it is unknown"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bdf(text: &str) -> Bdf {
        text.parse().unwrap()
    }

    #[test]
    fn the_folder_above_a_function_is_its_bridge_or_a_root_bus() {
        for (address, target, expected) in [
            (
                "0000:00:01.0",
                "../../../devices/pci0000:00/0000:00:01.0",
                Ok(None),
            ),
            (
                "0000:01:00.0",
                "../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0",
                Ok(Some(bdf("0000:00:01.0"))),
            ),
            (
                "10000:00:02.0",
                "../../../devices/pci0000:00/0000:00:0e.0/pci10000:00/10000:00:02.0",
                Ok(None),
            ),
            (
                "0001:00:00.0",
                "../../../devices/platform/40000000.pcie/pci0001:00/0001:00:00.0",
                Ok(None),
            ),
            (
                "0000:00:01.0",
                "../../../devices/pci0000:00/0000:00:02.0",
                Err(PathDefect::OtherFunction),
            ),
            (
                "0000:00:01.0",
                "../../../devices/0000:00:01.0",
                Err(PathDefect::NoParent),
            ),
            (
                "0000:00:01.0",
                "../../../../../etc/0000:00:01.0",
                Err(PathDefect::Outside),
            ),
            (
                "0000:00:01.0",
                "/sys/devices/pci0000:00/0000:00:01.0",
                Err(PathDefect::Outside),
            ),
        ] {
            assert_eq!(upstream(bdf(address), target.as_bytes()), expected, "{target}");
        }
    }

    #[test]
    fn only_names_that_the_kernel_gives_are_functions() {
        for name in ["00:01.0", "0000:00:01.0:pcie001", "0000:0:1.0", "slots", ""] {
            assert_eq!(address(name.as_bytes()), None, "{name}");
        }
        assert!(address(b"ffffffff:ff:1f.7").is_some());
        assert!(!is_root_bus(b"pci_bus"));
        assert!(is_root_bus(b"pci10000:e0"));
    }
}
