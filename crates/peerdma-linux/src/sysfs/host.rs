//! Processor, kernel and IOMMU, from `proc` and `sys/kernel/iommu_groups`.

use super::groups::Groups;
use super::place::Place;
use crate::tree::{Gap, Listing, Tree};
use peerdma::fact::{Fact, Unread};
use peerdma::snapshot::{Cpu, Function, Host, IommuMode, KernelVersion};

/// What the first processor says of itself fits in this many bytes; later ones say the same.
const FIRST_CPU_BYTES: usize = 4096;
/// How much of `/proc/cpuinfo` is read at most.
const CPUINFO_BYTES: usize = 64 << 10;
/// The longest kernel command line of any architecture, and more.
const LINE_BYTES: usize = 16 << 10;

/// What `proc` tells of processor and kernel.
pub(super) fn read<T: Tree>(tree: &T, place: &Place<T::Folder>) -> Host {
    Host {
        cpu: cpu(tree, place),
        kernel: text(tree, place, b"version", LINE_BYTES).map_or_else(unread, |text| {
            KernelVersion::from_proc_version(&text).map_or(Fact::Unknown(Unread::Contradictory), Fact::Known)
        }),
        iommu: Fact::NOT_IN_SOURCE,
        ..Host::default()
    }
}

/// What the IOMMU does by default: the groups' word first, then the proven absence of groups (a function that
/// an IOMMU serves is in one), then the kernel's command line. Which mode a kernel takes without being told depends on how it was built, so that groups
/// without types stay unknown.
pub(super) fn iommu<T: Tree>(
    tree: &T,
    place: &Place<T::Folder>,
    groups: &Groups,
    functions: &[Function],
    cpu: &Fact<Cpu>,
) -> Fact<IommuMode> {
    let told = |wanted: fn(&str) -> bool| {
        groups
            .types()
            .any(|domain| matches!(domain, Fact::Known(domain) if wanted(domain)))
    };
    // "DMA" and "DMA-FQ" (drivers/iommu/iommu.c, `iommu_group_show_type`).
    if told(|domain| domain.starts_with("DMA")) {
        return Fact::Known(IommuMode::Translating);
    }
    if told(|domain| domain == "identity") {
        return Fact::Known(IommuMode::Passthrough);
    }
    if functions
        .iter()
        .all(|function| function.os.iommu_group == Fact::Known(None))
    {
        return Fact::Known(IommuMode::Off);
    }
    let mut why = match any_group(tree, place) {
        Ok(Some(false)) => return Fact::Known(IommuMode::Off),
        Ok(_) => Unread::NotInSource,
        Err(gap) => gap.unread(),
    };
    let some_group = groups.types().next().is_some();
    match text(tree, place, b"cmdline", LINE_BYTES) {
        Ok(line) => {
            if let Some(mode) = from_command_line(&line, cpu)
                && (mode == IommuMode::Off) != some_group
            {
                return Fact::Known(mode);
            }
        }
        Err(gap) => why = gap.unread(),
    }
    Fact::Unknown(why)
}

/// Does the kernel show any group? Nothing where the tree does not hold their folder.
fn any_group<T: Tree>(tree: &T, place: &Place<T::Folder>) -> Result<Option<bool>, Gap> {
    let Some(sys) = &place.sys else {
        return Ok(None);
    };
    let mut listing = Listing::default();
    match tree
        .folder(sys, b"kernel/iommu_groups")
        .and_then(|folder| tree.list(&folder, &mut listing))
    {
        Ok(()) => Ok(Some(listing.iter().next().is_some())),
        Err(Gap::Missing) => Ok(None),
        Err(gap) => Err(gap),
    }
}

/// What the kernel was told (Documentation/admin-guide/kernel-parameters.txt); later words win.
fn from_command_line(line: &str, cpu: &Fact<Cpu>) -> Option<IommuMode> {
    let made_by = |vendor: &str| matches!(cpu, Fact::Known(cpu) if cpu.vendor == vendor);
    let mut mode = None;
    for word in line.split_ascii_whitespace() {
        let Some((key, value)) = word.split_once('=') else {
            continue;
        };
        for value in value.split(',') {
            match (key, value) {
                ("iommu", "off") => return Some(IommuMode::Off),
                ("intel_iommu", "off") if made_by("GenuineIntel") => return Some(IommuMode::Off),
                ("amd_iommu", "off") if made_by("AuthenticAMD") => return Some(IommuMode::Off),
                ("iommu", "pt") | ("iommu.passthrough", "1") => mode = Some(IommuMode::Passthrough),
                ("iommu", "nopt") | ("iommu.passthrough", "0") => mode = Some(IommuMode::Translating),
                _ => {}
            }
        }
    }
    mode
}

fn cpu<T: Tree>(tree: &T, place: &Place<T::Folder>) -> Fact<Cpu> {
    let parse = |most| text(tree, place, b"cpuinfo", most).map(|text| Cpu::from_proc_cpuinfo(&text));
    match parse(FIRST_CPU_BYTES) {
        Ok(Some(cpu)) => Fact::Known(cpu),
        // Some architectures name the machine at the end.
        Ok(None) => match parse(CPUINFO_BYTES) {
            Ok(Some(cpu)) => Fact::Known(cpu),
            Ok(None) => Fact::Unknown(Unread::Contradictory),
            Err(gap) => unread(gap),
        },
        Err(gap) => unread(gap),
    }
}

/// The whole lines at the start of a file in `proc`.
fn text<T: Tree>(tree: &T, place: &Place<T::Folder>, name: &[u8], most: usize) -> Result<String, Gap> {
    let proc = place.proc.as_ref().ok_or(Gap::Missing)?;
    let mut buffer = vec![0; most];
    let length = tree.read(proc, name, &mut buffer)?;
    buffer.truncate(length);
    if length == most {
        let whole = buffer.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        buffer.truncate(whole);
    }
    Ok(String::from_utf8_lossy(&buffer).into_owned())
}

fn unread<T>(gap: Gap) -> Fact<T> {
    Fact::Unknown(gap.unread())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_tells_what_the_kernel_was_told_and_no_more() {
        let amd = Fact::Known("AuthenticAMD:0x19".parse().unwrap());
        let intel = Fact::Known("GenuineIntel:6".parse().unwrap());
        for (line, cpu, expected) in [
            ("quiet iommu=pt", &amd, Some(IommuMode::Passthrough)),
            (
                "intel_iommu=on,sm_on iommu=pt",
                &intel,
                Some(IommuMode::Passthrough),
            ),
            (
                "iommu.passthrough=1 iommu.passthrough=0",
                &amd,
                Some(IommuMode::Translating),
            ),
            ("iommu=off", &Fact::NOT_IN_SOURCE, Some(IommuMode::Off)),
            ("intel_iommu=off", &intel, Some(IommuMode::Off)),
            ("intel_iommu=off", &amd, None),
            ("amd_iommu=off", &amd, Some(IommuMode::Off)),
            ("intel_iommu=on", &intel, None),
            ("xiommu=pt", &intel, None),
            ("", &intel, None),
        ] {
            assert_eq!(from_command_line(line, cpu), expected, "{line}");
        }
    }
}
