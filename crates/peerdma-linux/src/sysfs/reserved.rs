//! `sys/kernel/iommu_groups/NUMBER/reserved_regions`: what the devices of a group must not be made to map.
//!
//! Called for the address space of a process that drives devices by VFIO; everybody may read the file. One line a region
//! (`iommu_group_show_resv_regions` in drivers/iommu/iommu.c): first address, last address, kind.

use super::number;
use crate::tree::{Gap, LiveTree, Tree};
use peerdma::addr::{Address, Iova, Span};
use std::path::Path;

/// A range of I/O addresses that a group's devices must not use for anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReservedRegion {
    /// The range, both ends included.
    pub span: Span<Iova>,
    /// What it is.
    pub kind: ReservedKind,
}

/// Why a range is reserved (`iommu_group_resv_type_string`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReservedKind {
    /// Firmware demands that it stays mapped one to one (RMRR, IVMD).
    Direct,
    /// As [`Self::Direct`], and the kernel knows that a driver of its own may drop it (USB, graphics).
    DirectRelaxable,
    /// Never translated, or not usable.
    Reserved,
    /// Where interrupts go.
    Msi,
    /// A kind that this peerdma does not know: treated as the others.
    Other,
}

/// Regions in a file that are taken in.
const MOST_BYTES: usize = 1 << 20;

/// The reserved regions of a group, in the machine below `root` (`/` for the one at hand), in the kernel's order.
///
/// # Errors
/// [`Gap`] where there is no such group, the file cannot be read, or it is not of the known form: then nothing is known
/// to be free.
pub fn reserved_regions(root: &Path, group: u32) -> Result<Vec<ReservedRegion>, Gap> {
    const INVALID: i32 = 22;
    let tree = LiveTree::open(root)?;
    let path = format!("sys/kernel/iommu_groups/{group}/reserved_regions");
    let text = tree.read_whole(tree.root(), path.as_bytes(), MOST_BYTES)?;
    parse(&text).ok_or(Gap::Failed(INVALID))
}

fn parse(text: &[u8]) -> Option<Vec<ReservedRegion>> {
    let lines = number::trimmed(text).split(|byte| *byte == b'\n');
    lines.filter(|line| !line.is_empty()).map(region).collect()
}

fn region(line: &[u8]) -> Option<ReservedRegion> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let first = number::hexadecimal(words.next()?)?;
    let last = number::hexadecimal(words.next()?)?;
    let kind = match words.next()? {
        b"direct" => ReservedKind::Direct,
        b"direct-relaxable" => ReservedKind::DirectRelaxable,
        b"reserved" => ReservedKind::Reserved,
        b"msi" => ReservedKind::Msi,
        _ => ReservedKind::Other,
    };
    let span = Span::new(Iova::from_u64(first), Iova::from_u64(last)).ok()?;
    words.next().is_none().then_some(ReservedRegion { span, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_read_as_the_kernel_prints_them_or_nothing_is() {
        let text =
            b"0x00000000000a0000 0x00000000000bffff direct\n0x00000000fee00000 0x00000000feefffff msi\n";
        let regions = parse(text).unwrap();
        assert_eq!(regions.len(), 2);
        assert_eq!(regions[0].kind, ReservedKind::Direct);
        assert_eq!(regions[1].span.first(), Iova::from_u64(0xfee0_0000));
        assert_eq!(regions[1].span.last(), Iova::from_u64(0xfeef_ffff));
        assert_eq!(parse(b""), Some(Vec::new()));
        for text in ["0x0", "0x2 0x1 msi", "0x1 0x2", "0x1 0x2 msi more", "1 2 msi"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
