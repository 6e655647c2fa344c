//! Which members of an archive are kept: those that [`crate::sysfs`] asks for, by their place and name.

use crate::sysfs::IOMEM_BYTES;

/// How much of a member is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// Nothing: it says nothing about PCI.
    None,
    /// That it is there.
    Presence,
    /// Its content, up to this many bytes.
    Content(usize),
}

/// Files that are read, each no longer than a configuration space.
const FILES: [&[u8]; 19] = [
    b"config",
    b"resource",
    b"numa_node",
    b"vendor",
    b"device",
    b"class",
    b"revision",
    b"subsystem_vendor",
    b"subsystem_device",
    b"current_link_speed",
    b"current_link_width",
    b"max_link_speed",
    b"max_link_width",
    b"type",
    b"size",
    b"available",
    b"published",
    b"driver_override",
    b"local_cpulist",
];

const LINKS: [&[u8]; 4] = [b"driver", b"physfn", b"iommu_group", b"subsystem"];

/// Folders whose entries are names of devices.
const CLASSES: [&[u8]; 6] = [b"nvme", b"net", b"infiniband", b"drm", b"accel", b"block"];

const SMALL_BYTES: usize = 4096;
const PROC_BYTES: usize = 64 << 10;

/// What is kept of the member at `parts`.
pub(super) fn interest(parts: &[&[u8]], kind: MemberKind) -> Interest {
    let Some((name, above)) = parts.split_last() else {
        return Interest::None;
    };
    if above.last() == Some(&&b"proc"[..]) {
        return match (kind, *name) {
            (MemberKind::File, b"cpuinfo" | b"version" | b"cmdline") => Interest::Content(PROC_BYTES),
            (MemberKind::File, b"iomem") => Interest::Content(IOMEM_BYTES),
            _ => Interest::None,
        };
    }
    if !in_place(parts) {
        return Interest::None;
    }
    let named = name.contains(&b':') || above.last().is_some_and(|above| CLASSES.contains(above));
    match kind {
        MemberKind::File if FILES.contains(name) => Interest::Content(SMALL_BYTES),
        MemberKind::File => Interest::None,
        MemberKind::Link if named || LINKS.contains(name) => Interest::Presence,
        MemberKind::Link => Interest::None,
        // Empty ones count: no entry in iommu_groups means no IOMMU.
        MemberKind::Folder if named || matches!(*name, b"iommu_groups" | b"devices") => Interest::Presence,
        MemberKind::Folder => Interest::None,
    }
}

/// The deepest folder above `parts` that is kept: archives need not name folders beside their files.
pub(super) fn kept_above<'a, 'b>(parts: &'b [&'a [u8]]) -> Option<&'b [&'a [u8]]> {
    let mut above = parts;
    while let Some((_, rest)) = above.split_last() {
        above = rest;
        if interest(above, MemberKind::Folder) == Interest::Presence {
            return Some(above);
        }
    }
    None
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A link.
    Link,
}

/// Does it lie in `bus/pci/devices`, below `devices/.../pci0000:00`, or in `kernel/iommu_groups`?
fn in_place(parts: &[&[u8]]) -> bool {
    let pair = |one: &[u8], two: &[u8]| parts.windows(2).any(|pair| pair == [one, two]);
    pair(b"bus", b"pci")
        || pair(b"kernel", b"iommu_groups")
        || parts
            .iter()
            .position(|part| *part == b"devices")
            .and_then(|at| parts.get(at..))
            .is_some_and(|below| {
                below
                    .iter()
                    .any(|part| part.starts_with(b"pci") && part.contains(&b':'))
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_about_pci_is_not_kept() {
        let ask = |path: &str, kind| {
            let parts: Vec<&[u8]> = path.split('/').map(str::as_bytes).collect();
            interest(&parts, kind)
        };
        for path in [
            "box/sys/devices/pci0000:00/0000:00:01.0/config",
            "sys/bus/pci/devices/0000:00:01.0/resource",
            "sys/devices/platform/4000.pcie/pci0000:00/0000:00:00.0/class",
            "sys/kernel/iommu_groups/3/type",
        ] {
            assert_eq!(
                ask(path, MemberKind::File),
                Interest::Content(SMALL_BYTES),
                "{path}"
            );
        }
        assert_eq!(
            ask("box/proc/cpuinfo", MemberKind::File),
            Interest::Content(PROC_BYTES)
        );
        for path in [
            "box/proc/self/cmdline",
            "box/sys/devices/system/cpu/cpu0/type",
            "box/sys/devices/pci0000:00/0000:00:01.0/uevent",
            "box/etc/passwd",
            "config",
        ] {
            assert_eq!(ask(path, MemberKind::File), Interest::None, "{path}");
        }
        for path in [
            "sys/devices/pci0000:00/0000:00:01.0/0000:00:01.0:pcie001",
            "sys/devices/pci0000:00/0000:00:01.0/nvme/nvme0",
            "sys/kernel/iommu_groups",
        ] {
            assert_eq!(ask(path, MemberKind::Folder), Interest::Presence, "{path}");
        }
    }
}
