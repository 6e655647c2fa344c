//! `sys/kernel/iommu_groups/NUMBER/reserved_regions`: what the devices of a group must not be made to map.
//!
//! Called for the address spaces of a process that drives devices by VFIO; everybody may read the file. One line a region
//! (`iommu_group_show_resv_regions` in drivers/iommu/iommu.c): first address, last address, kind. Of all kinds the process stays away, so
//! that the third word is not looked at.

use super::number;
use crate::tree::{Gap, LiveTree, Tree};
use peerdma::addr::{Address, Iova, Span};
use std::path::Path;

/// Bytes of a file that are taken in: the kernel writes no more than a page.
const MOST_BYTES: usize = 1 << 20;

/// The reserved regions of a group, from the folder in which the kernel tells of groups, in the kernel's order. Lines of an unknown form say
/// nothing: what the others say holds all the same.
///
/// # Errors
/// [`Gap`] where there is no such group, or the file cannot be read.
pub(crate) fn reserved_regions(groups: &Path, group: u32) -> Result<Vec<Span<Iova>>, Gap> {
    let tree = LiveTree::open(groups)?;
    let path = format!("{group}/reserved_regions");
    let text = tree.read_whole(tree.root(), path.as_bytes(), MOST_BYTES)?;
    Ok(parse(&text))
}

fn parse(text: &[u8]) -> Vec<Span<Iova>> {
    text.split(|byte| *byte == b'\n').filter_map(region).collect()
}

fn region(line: &[u8]) -> Option<Span<Iova>> {
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let first = number::hexadecimal(words.next()?)?;
    let last = number::hexadecimal(words.next()?)?;
    Span::new(Iova::from_u64(first), Iova::from_u64(last)).ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn ends(regions: &[Span<Iova>]) -> Vec<(u64, u64)> {
        let ends = |region: &Span<Iova>| (region.first().to_u64(), region.last().to_u64());
        regions.iter().map(ends).collect()
    }

    #[test]
    fn what_one_line_does_not_say_the_others_do() {
        let text = b"0x00000000000a0000 0x00000000000bffff direct\n0x00000000fee00000 0x00000000feefffff msi\n\n0x2 0x1 direct\n\
            0x10 0x1f\nnonsense\n0xg 0x1\n1 2 msi\n0x0 \xff\n0x20 0x2f a-kind-to-come of more words\n";
        assert_eq!(
            ends(&parse(text)),
            [
                (0xa_0000, 0xb_ffff),
                (0xfee0_0000, 0xfeef_ffff),
                (0x10, 0x1f),
                (0x20, 0x2f)
            ]
        );
        assert_eq!(parse(b""), []);
    }

    #[test]
    fn a_file_that_is_not_there_is_told_from_one_that_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let write = |group: u32, text: &[u8]| {
            std::fs::create_dir(folder.path().join(group.to_string())).unwrap();
            std::fs::write(folder.path().join(format!("{group}/reserved_regions")), text).unwrap();
        };
        write(1, b"");
        write(2, b"0x1000 0x1fff direct\n");
        let read = |group| reserved_regions(folder.path(), group);
        assert_eq!(read(0).unwrap_err(), Gap::Missing);
        assert_eq!(read(1).unwrap(), []);
        assert_eq!(ends(&read(2).unwrap()), [(0x1000, 0x1fff)]);
    }
}
